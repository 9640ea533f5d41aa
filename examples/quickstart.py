"""One line, one call, and what it cost.

python examples/quickstart.py

It runs on the fake service. For the real one leave `FakeOpenRouter` and `hosts` out, and give the client
base_url="https://openrouter.ai/api/v1" and your key.
"""

from __future__ import annotations

from openai import OpenAI

import or_instrument
from or_instrument.testing import FakeOpenRouter


def show(call: or_instrument.Call) -> None:
    usage = call.reply.usage
    if usage is None:
        print(f"{call.request.model}: cost unknown ({call.missing})")
        return
    print(f"model     {call.reply.model}, served by {call.reply.provider}")
    print(f"tokens    {usage.input_tokens} in, {usage.output_tokens} out")
    print(f"cost      ${usage.spend:.6f}, {'own key (BYOK)' if usage.is_byok else 'billed by OpenRouter'}")


def main() -> None:
    # Spans and metrics go to your OpenTelemetry providers; a sink is handed each call as well.
    or_instrument.instrument(hosts=["127.0.0.1"], sinks=[show])

    with FakeOpenRouter() as fake, OpenAI(base_url=fake.base_url, api_key="sk-or-fake") as client:
        reply = client.chat.completions.create(
            model="openai/gpt-5-mini", messages=[{"role": "user", "content": "Name a moon of Saturn."}]
        )
        print(f"answer    {reply.choices[0].message.content}")


if __name__ == "__main__":
    main()
