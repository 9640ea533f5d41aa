"""What the evaluations of a pull request cost: run in CI, written to costs.json.

python examples/cost_per_pr/evals.py && or-instrument cost --by suite costs.json

See workflow.yml beside it for the whole job.
"""

from __future__ import annotations

import sys

from openai import OpenAI

import or_instrument
from or_instrument.testing import FakeOpenRouter

LIMIT_USD = 1
SUITES = {
    "grammar": ["Is this a sentence?", "Where is the verb?"],
    "recipes": ["What goes into onion soup?", "How long does an egg boil?", "Which wine goes with ramen?"],
}


def run_suite(client: OpenAI, questions: list[str]) -> int:
    """Return how many questions were answered well."""
    answers = [
        client.chat.completions.create(model="openai/gpt-5-mini", messages=[{"role": "user", "content": question}])
        for question in questions
    ]
    return sum(bool(answer.choices[0].message.content) for answer in answers)


def main() -> None:
    or_instrument.instrument(hosts=["127.0.0.1"])
    with (
        FakeOpenRouter() as fake,
        OpenAI(base_url=fake.base_url, api_key="sk-or-fake") as client,
        or_instrument.track("evaluations", limit_usd=LIMIT_USD) as cost,
    ):
        for suite, questions in SUITES.items():
            with or_instrument.attributes(suite=suite):
                print(f"{suite}: {run_suite(client, questions)} of {len(questions)} passed")
        print(f"charged by the service: ${fake.spend_usd}")
    cost.export_json("costs.json")
    print(cost.summary())
    if cost.unknown:
        sys.exit(f"the cost of {cost.unknown} calls is unknown")


if __name__ == "__main__":
    main()
