"""Estimates stand apart: for replies without a cost, where asked for, never in what was reported."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import openai
import pytest

from or_instrument import Call, ConfigError, Reply, Request, Usage, is_instrumented, track
from or_instrument.testing import Answer, FakeOpenRouter

ESTIMATED = "openrouter.usage.estimated_cost"
ASK: Any = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@pytest.fixture
def estimate() -> Callable[[Call], Call]:
    """Return the estimator."""
    pytest.importorskip("genai_prices")
    from or_instrument._money.estimate import estimator  # noqa: PLC0415 - after the check for its extra

    return estimator()


def call(model: str, provider: str = "openrouter", *, answered: str | None = None, **usage: Any) -> Call:
    """Return a call of 1,000 and 100 tokens."""
    told = Usage(**{"input_tokens": 1000, "output_tokens": 100, **usage})
    started = 1_760_000_000 * 10**9
    return Call(
        1, Request("chat", provider, model, "h", 443), Reply(model=answered, usage=told), "complete", started, 1.0
    )


def test_answer_without_a_cost_is_estimated(
    instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """An old answer with tokens and no cost gets an estimate of its own, and its cost stays missing."""
    pytest.importorskip("genai_prices")
    telemetry = instrumented(estimate=True)
    fake.script(Answer(usage=TOKENS))
    with track() as cost:
        client.chat.completions.create(**ASK)
    attributes = telemetry.span()
    assert attributes["openrouter.usage.source"] == "estimate"
    assert attributes[ESTIMATED] == telemetry.total(ESTIMATED) > 0
    assert "gen_ai.usage.cost" not in {*attributes, *telemetry.metrics()}
    assert telemetry.total("openrouter.usage.missing", openrouter__missing__reason="no_cost") == 1
    assert (cost.total_usd, cost.unknown) == (0, 1)


def test_reported_cost_is_never_estimated(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """Where the service reports a cost there is no estimate."""
    pytest.importorskip("genai_prices")
    telemetry = instrumented(estimate=True)
    client.chat.completions.create(**ASK)
    assert ESTIMATED not in {*telemetry.span(), *telemetry.metrics()}


def test_other_hosts_are_estimated(
    estimate: Callable[[Call], Call],
) -> None:
    """Providers of the GenAI conventions are found under the names of the price lists."""
    for provider, model in [("openai", "gpt-4o"), ("azure.ai.openai", "gpt-4o"), ("x_ai", "grok-4")]:
        estimated = estimate(call(model, provider)).usage
        assert estimated is not None
        assert estimated.estimated_cost is not None
        assert (estimated.source, estimated.cost, estimated.spend) == ("estimate", None, None)


def test_the_model_that_answered_is_priced(estimate: Callable[[Call], Call]) -> None:
    """A router's choice is what costs; a variant, which may be free, is not taken for the plain model."""
    plain = estimate(call("openai/gpt-4o")).usage
    assert plain is not None
    assert estimate(call("openrouter/auto", answered="openai/gpt-4o")).usage == plain
    assert estimate(call("openai/gpt-4o:free", answered="openai/gpt-4o")).usage != plain


@pytest.mark.parametrize(
    "unpriced",
    [
        call("no/such-model"),
        call("gpt-4o", "some.host"),
        call("openai/gpt-4o", input_tokens=None),
        call("gpt-4o", "openai", input_tokens=1, cache_read_tokens=5),
        call("openai/gpt-4o", cost=0.0),
        call("openai/gpt-4o")._replace(reply=Reply()),
    ],
)
def test_what_cannot_be_priced_stays_as_it_is(unpriced: Call, estimate: Callable[[Call], Call]) -> None:
    """No price list, no tokens, contradicting tokens or a reported cost: no estimate."""
    assert estimate(unpriced) is unpriced


def test_without_the_extra_the_option_is_refused(
    instrumented: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked for in code, a missing extra is a ConfigError that names it; asked for by a variable, one warning."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("or_instrument._extras.import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'or-instrument\[prices\]'"):
        instrumented(estimate=True)
    assert not is_instrumented()
    monkeypatch.setenv("OR_INSTRUMENT_ESTIMATE", "true")
    with caplog.at_level(logging.WARNING):
        instrumented()
    assert is_instrumented()
    assert "Nothing is estimated" in caplog.text
