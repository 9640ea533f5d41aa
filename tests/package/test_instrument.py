"""Facts about switching on and off, on real clients and a real service on loopback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import openai
import pytest
from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import or_instrument
from or_instrument import ConfigError
from or_instrument._calls import shield as _shield
from or_instrument.testing import Answer, FakeOpenRouter

Factory = Callable[..., Any]


def ask(client: openai.OpenAI) -> Any:
    """Make one chat call."""
    return client.chat.completions.create(model="acme/large", messages=[{"role": "user", "content": "hello"}])


def patched() -> bool:
    """Return whether the SDK's clients are wrapped."""
    return "request" in vars(openai.OpenAI)


@pytest.fixture(autouse=True)
def _unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no failure reported and no option set."""
    monkeypatch.setattr(_shield, "_reported", set())
    for variable in ("OR_INSTRUMENT_ENABLED", "OTEL_SDK_DISABLED", "OR_INSTRUMENT_HOSTS", "OR_INSTRUMENT_METRICS"):
        monkeypatch.delenv(variable, raising=False)


def test_a_call_leaves_one_span_one_record_and_its_points(telemetry: Any, client: openai.OpenAI) -> None:
    """From one call of `instrument()`, also for a client made before or after."""
    ask(client)
    (span,), (call,) = telemetry.spans(), telemetry.calls
    assert span.instrumentation_scope.name == "or_instrument"
    assert span.instrumentation_scope.version == or_instrument.__version__
    assert span.attributes["openrouter.usage.cost"] == call.usage.cost
    assert telemetry.total("gen_ai.usage.cost") == call.spend


def test_switched_on_and_off_is_told() -> None:
    """`is_instrumented()` says which, and the SDK is as it was."""
    assert not or_instrument.is_instrumented()
    or_instrument.instrument()
    assert or_instrument.is_instrumented()
    assert patched()
    or_instrument.uninstrument()
    assert not or_instrument.is_instrumented()
    assert not patched()


def test_switching_off_what_is_off_is_nothing() -> None:
    """Twice is as good as once."""
    or_instrument.uninstrument()
    or_instrument.uninstrument()
    assert not patched()


def test_after_uninstrument_nothing_is_recorded(telemetry: Any, client: openai.OpenAI) -> None:
    """Of a client that was recorded before."""
    ask(client)
    or_instrument.uninstrument()
    ask(client)
    assert len(telemetry.calls) == len(telemetry.spans()) == 1


def test_it_can_be_switched_on_again(instrumented: Factory, client: openai.OpenAI) -> None:
    """With other options."""
    instrumented()
    or_instrument.uninstrument()
    second = instrumented(spans="off")
    ask(client)
    assert (len(second.calls), second.spans()) == (1, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": "https://openrouter.ai"},
        {"spans": "none"},
        {"metrics": "perhaps"},
        {"inject_usage": 3},
        {"metric_attributes": 7},
        {"sinks": ["print"]},
        {"span": "own"},
    ],
    ids=str,
)
def test_a_wrong_option_raises_and_patches_nothing(wrong: dict[str, Any]) -> None:
    """The error names the option, the value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        or_instrument.instrument(**wrong)
    ((name, value),) = wrong.items()
    assert name in str(caught.value)
    assert repr(value).strip("[]") in str(caught.value)
    assert "allowed: " in str(caught.value)
    assert not patched()
    assert not or_instrument.is_instrumented()


def test_a_wrong_variable_warns_and_instruments_with_the_default(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts."""
    monkeypatch.setenv("OR_INSTRUMENT_METRICS", "perhaps")
    or_instrument.instrument()
    assert patched()
    assert [record.args[0] for record in caplog.records if record.args] == ["OR_INSTRUMENT_METRICS"]


def test_a_second_call_with_the_same_options_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Two libraries may both switch it on."""
    sink = print
    or_instrument.instrument(metrics=False, sinks=[sink], hosts="a.example")
    or_instrument.instrument(metrics=False, sinks=(sink,), hosts=["a.example"])
    assert caplog.records == []
    or_instrument.uninstrument()
    assert not patched()


def test_a_second_call_with_other_options_changes_nothing_and_warns(
    telemetry: Any, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """It says how to change them."""
    or_instrument.instrument(spans="off", metrics=False)
    ask(client)
    assert len(telemetry.spans()) == len(telemetry.calls) == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "uninstrument() first" in record.getMessage()


def test_the_master_switch_off_instruments_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Production can switch off what the code switches on, and reads why in the log."""
    monkeypatch.setenv("OR_INSTRUMENT_ENABLED", "false")
    with caplog.at_level(logging.INFO, "or_instrument"):
        or_instrument.instrument()
    assert not patched()
    assert not or_instrument.is_instrumented()
    assert "OR_INSTRUMENT_ENABLED is false" in caplog.text


@pytest.mark.parametrize("value", ["true", "", "perhaps"])
def test_the_master_switch_else_instruments(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Only `false` switches off."""
    monkeypatch.setenv("OR_INSTRUMENT_ENABLED", value)
    or_instrument.instrument()
    assert patched()


@pytest.mark.parametrize(("value", "is_off"), [("true", True), (" TRUE ", True), ("false", False), ("1", False)])
def test_a_disabled_opentelemetry_sdk_gets_nothing(
    instrumented: Factory, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, value: str, is_off: bool
) -> None:
    """Only `true` disables it, says the specification; the user's own sinks still get their calls."""
    provider_before = instrumented  # its providers are made before the variable is set
    monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
    made = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    telemetry = provider_before(tracer_provider=made)
    ask(client)
    (call,) = telemetry.calls
    assert (call.context == context.get_current()) is is_off
    assert (telemetry.metrics() == {}) is is_off


@pytest.mark.parametrize(
    "key",
    [_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation", "suppress_language_model_instrumentation"],
    ids=["OpenTelemetry's", "older", "of language models"],
)
def test_suppressed_calls_are_not_recorded(telemetry: Any, client: openai.OpenAI, key: str) -> None:
    """By OpenTelemetry's key, its older name, and the one of other LLM instrumentations."""
    token = context.attach(context.set_value(key, True))
    try:
        ask(client)
    finally:
        context.detach(token)
    assert telemetry.calls == telemetry.spans() == []
    ask(client)
    assert len(telemetry.calls) == 1


def test_a_sink_may_make_calls_that_are_suppressed(
    instrumented: Factory, client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """It is told of the call that it is for, and not of its own, of which it would make another each time."""
    told = []

    def sink(call: or_instrument.Call) -> None:
        told.append(call)
        with suppress_instrumentation():
            ask(client)

    instrumented(sinks=[sink])
    ask(client)
    assert (len(told), len(fake.requests)) == (1, 2)


def test_a_suppress_key_that_is_false_suppresses_nothing(telemetry: Any, client: openai.OpenAI) -> None:
    """Somebody switched it on again further in."""
    token = context.attach(context.set_value("suppress_instrumentation", False))
    try:
        ask(client)
    finally:
        context.detach(token)
    assert len(telemetry.calls) == 1


def test_spans_can_be_off(instrumented: Factory, client: openai.OpenAI) -> None:
    """Metrics and sinks go on."""
    telemetry = instrumented(spans="off")
    ask(client)
    assert telemetry.spans() == []
    assert telemetry.total("gen_ai.usage.cost") == telemetry.calls[0].spend


def test_metrics_can_be_off(instrumented: Factory, client: openai.OpenAI) -> None:
    """Spans and sinks go on."""
    telemetry = instrumented(metrics=False)
    ask(client)
    assert telemetry.metrics() == {}
    assert len(telemetry.spans()) == len(telemetry.calls) == 1


def test_metrics_are_complete_where_the_trace_is_not_sampled(instrumented: Factory, client: openai.OpenAI) -> None:
    """A sampled-out call costs as much as any other."""
    telemetry = instrumented(tracer_provider=TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))
    for _ in range(3):
        ask(client)
    assert telemetry.spans() == []
    assert telemetry.total("gen_ai.usage.cost") == pytest.approx(sum(call.spend for call in telemetry.calls), rel=1e-12)
    assert len(telemetry.calls) == 3


def test_usage_is_asked_for_unless_switched_off(
    instrumented: Factory, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """It is the only thing that changes on the wire."""
    ask(client)
    instrumented()
    ask(client)
    or_instrument.uninstrument()
    instrumented(inject_usage=False)
    ask(client)
    plain, asked, off = (request.json for request in fake.requests)
    assert isinstance(plain, dict)
    assert asked == {**plain, "usage": {"include": True}}
    assert off == plain


def test_other_hosts_are_recorded_under_the_star_without_the_usage_option(
    instrumented: Factory, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """Another service may refuse an option that it does not know."""
    telemetry = instrumented(hosts="*")
    ask(client)
    assert "usage" not in fake.requests[0].json  # type: ignore[operator]
    assert telemetry.calls[0].request.provider == "127.0.0.1"


def test_hosts_that_are_not_named_are_not_recorded(instrumented: Factory, client: openai.OpenAI) -> None:
    """By default only OpenRouter's are."""
    telemetry = instrumented(hosts=None)
    ask(client)
    assert telemetry.calls == []


def test_allowed_attributes_become_labels(instrumented: Factory, client: openai.OpenAI) -> None:
    """A list among them too; the others are on the span only."""
    telemetry = instrumented(metric_attributes=["feature", "tags"])
    with or_instrument.attributes(feature="search", tags=["a", "b"], customer="c-1"):
        ask(client)
    (point,) = telemetry.metrics()["gen_ai.usage.cost"]
    labels = dict(point.attributes)
    assert (labels["feature"], labels["tags"]) == ("search", ("a", "b"))
    assert "customer" not in labels
    assert telemetry.span()["customer"] == "c-1"


def test_attributes_change_nothing_that_was_recorded(
    instrumented: Factory, client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """A call without a cost gets none by a name of ours, and keeps its model."""
    telemetry = instrumented()
    fake.script(Answer(omit_usage=True))
    given = {"gen_ai.usage.cost": 5, "openrouter.usage.spend": 7, "gen_ai.request.model": "ZZ", "feature": "search"}
    with or_instrument.attributes(**given):
        ask(client)
    span = telemetry.span()
    assert "gen_ai.usage.cost" not in span
    assert "openrouter.usage.spend" not in span
    assert (span["gen_ai.request.model"] != "ZZ", span["feature"]) == (True, "search")


def test_cost_aliases_come_from_their_variable(
    instrumented: Factory, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For backends that read another name."""
    monkeypatch.setenv("OR_INSTRUMENT_COST_ALIASES", "operation.cost")
    telemetry = instrumented()
    ask(client)
    assert telemetry.span()["operation.cost"] == telemetry.span()["openrouter.usage.spend"]


class Provider(TracerProvider):
    """A provider whose `force_flush` does what a test wants."""

    def __init__(self, answer: Any) -> None:
        super().__init__(shutdown_on_exit=False)
        self._answer = answer
        self.timeouts: list[int] = []

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Note the timeout, then answer or raise."""
        self.timeouts.append(timeout_millis)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(("answer", "expected"), [(True, True), (None, True), (False, False), (ValueError(), False)])
def test_flush_tells_whether_all_went_out(instrumented: Factory, answer: object, expected: bool) -> None:
    """A provider that fails is logged, not raised; one that says nothing has done it."""
    provider = Provider(answer)
    instrumented(tracer_provider=provider)
    assert or_instrument.flush(timeout_s=2.0) is expected
    assert len(provider.timeouts) == 1
    assert 0 < provider.timeouts[0] <= 2000


def test_flush_never_gives_a_negative_timeout(instrumented: Factory) -> None:
    """Without time left a provider is still asked."""
    provider = Provider(True)
    instrumented(tracer_provider=provider)
    assert or_instrument.flush(timeout_s=0) in (True, False)
    assert provider.timeouts == [0]


@pytest.mark.parametrize("timeout_s", ["x", None, True, -1, float("nan"), float("inf"), 1e300])
def test_flush_refuses_what_cannot_be_waited_for(timeout_s: Any) -> None:
    """A time that is negative says neither "at once" nor "for ever"."""
    with pytest.raises(ConfigError, match=r"timeout_s=.* is not allowed; allowed: seconds, at least 0 and finite"):
        or_instrument.flush(timeout_s)


def test_flush_without_providers_has_nothing_to_do() -> None:
    """The API's own do nothing, and cannot fail."""
    assert or_instrument.flush() is True
    or_instrument.instrument(sinks=[print])
    assert or_instrument.flush() is True
