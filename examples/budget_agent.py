"""An agent that stops when the budget of its task is spent.

python examples/budget_agent.py
"""

from __future__ import annotations

from openai import OpenAI

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

MODEL = "anthropic/claude-sonnet-4.5"
BUDGET_USD = "0.02"


def work_on(client: OpenAI, task: str) -> str:
    """Return the agent's answer, or why it stopped. Each turn sends the whole conversation, so turns get dearer."""
    messages = [{"role": "user", "content": task}]
    with or_instrument.track(task, limit_usd=BUDGET_USD) as cost:
        try:
            while True:
                reply = client.chat.completions.create(model=MODEL, messages=messages)
                said = reply.choices[0].message.content or ""
                print(f"turn {cost.calls}: ${cost.total_usd} spent")
                if "DONE" in said:
                    return said
                messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "Go on."}]
        except or_instrument.BudgetExceeded as stop:
            # The call was not sent: nothing was charged for it.
            return f"stopped: {stop}"


def main() -> None:
    or_instrument.instrument(hosts=["127.0.0.1"])
    with (
        FakeOpenRouter(prices={MODEL: ("0.000003", "0.000015")}) as fake,
        OpenAI(base_url=fake.base_url, api_key="sk-or-fake") as client,
    ):
        fake.default = Answer(content="Hm, let me think about that a little longer. " * 20)
        print(work_on(client, "Prove that P = NP"))
        fake.script(Answer(content="DONE: 4"))
        print(work_on(client, "Add 2 and 2"))
        print(f"charged by the service: ${fake.spend_usd}")


if __name__ == "__main__":
    main()
