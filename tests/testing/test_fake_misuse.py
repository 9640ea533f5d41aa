"""The fake used wrongly: whoever tests is told what was wrong, never that the connection broke."""

from __future__ import annotations

import importlib
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from or_instrument.testing import Answer, FakeOpenRouter, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
NO_ANSWERS: dict[str, Any] = {
    "list": [Answer(), Answer()],
    "text": "hello",
    "function": errors.rate_limit,
    "None": None,
}
NO_PAIRS: dict[str, Any] = {
    "one price as text": {"m": "0.1"},
    "one price": {"m": 0.1},
    "half a pair": {"m": (1,)},
    "no amounts": {"m": ("a", "b")},
    "negative": {"m": (-1, 1)},
    "no model": {5: (1, 1)},
}
BROKEN: dict[str, Any] = {
    "no answer": "hello",
    "text as body": Answer(body="text"),  # type: ignore[arg-type]
    "word as status": Answer(status="x"),  # type: ignore[arg-type]
    "word as delay": Answer(delay_s="x"),  # type: ignore[arg-type]
    "number as gate": Answer(gate=5),  # type: ignore[arg-type]
    "header beyond latin-1": Answer(headers={"X-Mood": "☃"}),
    "no JSON": Answer(extra={"a": object()}),
}


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a served fake."""
    with FakeOpenRouter() as served:
        yield served


def ask(client: openai.OpenAI) -> Any:
    """Return the error that one call meets."""
    with client, pytest.raises(openai.APIError) as caught:
        client.chat.completions.create(model="m", messages=[])
    return caught.value


def client_of(fake: FakeOpenRouter) -> openai.OpenAI:
    """Return a client of the served fake."""
    return openai.OpenAI(base_url=fake.base_url, api_key="k")


@pytest.mark.parametrize("given", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_refused_when_it_is_scripted(given: Any) -> None:
    """And none of those beside it is kept, so that the next call is not answered with half of them."""
    fake = FakeOpenRouter()
    with pytest.raises(TypeError, match=r"script\(\) got a \w+; allowed: Answers, .* of a list, script\(\*answers\)"):
        fake.script(Answer(), given)
    assert not fake._scripted


@pytest.mark.parametrize("given", [1234, None, "now"])
def test_a_clock_that_is_no_function_is_refused_when_it_is_set(given: Any) -> None:
    """The one before goes on."""
    fake = FakeOpenRouter()
    with pytest.raises(TypeError, match=r"now is .*; allowed: a function that returns Unix seconds"):
        fake.now = given
    assert fake.now is time.time


@pytest.mark.parametrize("given", NO_PAIRS.values(), ids=NO_PAIRS)
def test_what_are_no_two_prices_is_refused_by_the_constructor(given: Any) -> None:
    """It names the model; prices that are no amounts cost nothing otherwise."""
    with pytest.raises(ValueError, match=r"prices has ('m'|5): .*; allowed: a mapping from model to USD"):
        FakeOpenRouter(prices=given)


@pytest.mark.parametrize("given", [5, [], "m"])
def test_prices_that_are_no_mapping_are_refused_by_the_constructor(given: Any) -> None:
    """Also empty ones."""
    with pytest.raises(TypeError, match=r"prices is .*; allowed: a mapping from model to USD .*, or None"):
        FakeOpenRouter(prices=given)


def test_amounts_of_every_kind_are_prices() -> None:
    """Also in a list."""
    prices: Any = {"a": (0, 0.5), "b": ["1e-6", Decimal(1)]}
    assert FakeOpenRouter(prices=prices).prices == prices


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_fake_while_it_answers_is_an_http_error_that_says_so(answer: Any, fake: FakeOpenRouter) -> None:
    """It is told at the first try."""
    fake.default = answer
    error = ask(client_of(fake))
    assert error.status_code == 500
    assert "The fake OpenRouter failed while it answered: " in error.message
    assert len(fake.requests) == 1


def test_after_it_broke_the_fake_answers_on(fake: FakeOpenRouter) -> None:
    """Such as where a clock that returned no number is set right."""
    fake.now = lambda: "x"  # type: ignore[assignment,return-value]
    assert "ValueError: invalid literal for int()" in ask(client_of(fake)).message
    fake.now = time.time
    with client_of(fake) as client:
        assert client.chat.completions.create(model="m", messages=[]).choices


def test_what_breaks_the_fake_is_told_through_a_mock_transport_too() -> None:
    """Whatever carries the answer."""
    fake = FakeOpenRouter()
    fake.default = "hello"  # type: ignore[assignment]
    carrier = http.Client(transport=http.MockTransport(fake.handler))
    assert ask(openai.OpenAI(api_key="k", http_client=carrier)).status_code == 500
