"""LangChain on OpenRouter: it talks through the OpenAI SDK, so nothing changes.

python examples/langchain_chain.py
"""

from __future__ import annotations

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter


def main() -> None:
    calls: list[or_instrument.Call] = []
    or_instrument.instrument(hosts=["127.0.0.1"], sinks=[calls.append])
    with FakeOpenRouter() as fake:
        fake.default = Answer(content="Onions, butter, broth and bread.", provider="Anthropic")
        model = ChatOpenAI(
            model="anthropic/claude-sonnet-4.5", base_url=fake.base_url, api_key="sk-or-fake", use_responses_api=False
        )
        chain = ChatPromptTemplate.from_template("What goes into {dish}?") | model | StrOutputParser()
        with or_instrument.attributes(step="invoke"):
            chain.invoke({"dish": "onion soup"})
        with or_instrument.attributes(step="stream"):
            for _text in chain.stream({"dish": "ramen"}):
                pass
        with or_instrument.attributes(step="batch"):
            chain.batch([{"dish": "tea"}, {"dish": "toast"}])
        for call in calls:
            streamed = "  streamed" if call.request.stream else ""
            print(f"{call.request.attributes['step']:10} {call.request.model}  ${call.spend:.6f}{streamed}")
        print(f"charged by the service: ${fake.spend_usd}")


if __name__ == "__main__":
    main()
