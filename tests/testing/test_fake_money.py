"""The books of the fake are exact: what it says it charged is what its bodies told the clients."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_instrument.testing import Answer, FakeOpenRouter, Received

PATHS = [
    "chat/completions",
    "responses",
    "messages",
    "completions",
    "embeddings",
    "rerank",
    "audio/transcriptions",
    "images",
    "systemone",
]


def ask(fake: FakeOpenRouter, path: str = "chat/completions", **body: Any) -> Any:
    """Return the JSON body that a POST gets."""
    data = json.dumps({"model": "a/model", **body}).encode()
    return json.loads(fake.reply(Received.of("POST", f"/api/v1/{path}", {}, data)).steps[0].data)


@pytest.mark.parametrize("path", PATHS)
def test_default_cost_is_charged_as_told(path: str) -> None:
    """On every endpoint the cost in the body is, to the last digit, what is charged."""
    fake = FakeOpenRouter(prices={"a/model": ("0.00000012", "0.00000037")})
    told = [Decimal(str(ask(fake, path, input="some words", n=2)["usage"]["cost"])) for _ in range(3)]
    assert fake.charged_usd == sum(told) > 0


def test_default_cost_is_tokens_times_price() -> None:
    """The default cost is exactly tokens times price, split into the prompt's and the completion's."""
    fake = FakeOpenRouter(prices={"a/model": ("0.000001", "0.00001")})
    fake.script(Answer(prompt_tokens=7, completion_tokens=3))
    usage = ask(fake)["usage"]
    assert fake.charged_usd == Decimal("0.000037")
    assert usage["cost_details"] == {
        "upstream_inference_cost": 3.7e-05,
        "upstream_inference_prompt_cost": 7e-06,
        "upstream_inference_completions_cost": 3e-05,
    }


def test_variant_can_have_its_own_price() -> None:
    """A model asked for with a suffix is charged at the price of that suffix where there is one."""
    fake = FakeOpenRouter(prices={"a/model": ("1", "1"), "a/model:free": ("0", "0")})
    ask(fake, model="a/model:free")
    assert fake.charged_usd == 0
    ask(fake, model="a/model:nitro")
    assert fake.charged_usd > 0


def test_byok_is_charged_a_fee_and_spent_in_full() -> None:
    """A BYOK answer costs 5 % of the list price, and its upstream cost is spent but not charged."""
    fake = FakeOpenRouter(prices={"a/model": ("0.5", "0.5")})
    fake.script(Answer(byok=True, prompt_tokens=1, completion_tokens=1), Answer(cost=2, upstream=9))
    ask(fake)
    assert (fake.charged_usd, fake.spend_usd) == (Decimal("0.05"), Decimal("1.05"))
    ask(fake)
    assert (fake.charged_usd, fake.spend_usd) == (Decimal("2.05"), Decimal("3.05"))


def test_failed_answer_costs_nothing_unless_told() -> None:
    """An answer that fails is not charged, except where its cost is given."""
    fake = FakeOpenRouter()
    broken = {"code": 502, "message": "gone"}
    fake.script(Answer(choice_error=broken), Answer(choice_error=broken, cost=0.5))
    assert [ask(fake)["usage"]["cost"] for _ in range(2)] == [0, 0.5]
    assert fake.charged_usd == Decimal("0.5")


@pytest.mark.parametrize("cost", [None, True, "nan", -1, "soon", [1]])
def test_scripted_usage_without_an_amount_charges_nothing(cost: object) -> None:
    """A scripted usage whose cost is no amount of money leaves the books alone."""
    fake = FakeOpenRouter()
    fake.script(Answer(usage={"cost": cost}))
    assert ask(fake)["usage"] == {"cost": cost}
    assert fake.charged_usd == 0


@given(st.lists(st.floats(min_value=0, max_value=1000, allow_nan=False), max_size=20))
def test_charges_add_up_without_rounding(costs: list[float]) -> None:
    """The charge is the exact decimal sum of the costs as they are written on the wire."""
    fake = FakeOpenRouter()
    fake.script(*(Answer(cost=cost) for cost in costs))
    told = [Decimal(repr(ask(fake)["usage"]["cost"])) for _ in costs]
    assert fake.charged_usd == sum(told, Decimal(0))


def test_reset_forgets_everything() -> None:
    """After reset() nothing is left of requests, scripts, charges and generations."""
    fake = FakeOpenRouter()
    ask(fake)
    fake.script(Answer(content="old"))
    fake.reset()
    assert (fake.requests, fake.generations, fake.charged_usd, fake.spend_usd) == ([], {}, 0, 0)
    assert ask(fake)["choices"][0]["message"]["content"] == Answer().content
