"""Writing onto the span that another instrumentation made: its rules, with spans made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from opentelemetry.context import attach, detach, set_value
from opentelemetry.trace import SpanKind, use_span

from or_instrument._telemetry.enrich import SUPPRESS_KEYS
from or_instrument.testing import FakeOpenRouter, errors

MESSAGES: Any = [{"role": "user", "content": "hi"}]
DATA_KEY = "opentelemetry.genai.client.inference.context"
CHAT = {"gen_ai.operation.name": "chat"}


def _ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(model="vendor/model", messages=MESSAGES, **options)


@contextmanager
def _in_context(key: str, value: object) -> Iterator[None]:
    token = attach(set_value(key, value))
    try:
        yield
    finally:
        detach(token)


def _span_of_another(telemetry: Any, attributes: dict[str, Any], scope: str = "somebody") -> Any:
    tracer = telemetry.tracer_provider.get_tracer(scope)
    return tracer.start_as_current_span("theirs", kind=SpanKind.CLIENT, attributes=attributes)


@pytest.mark.parametrize(
    "attributes",
    [CHAT, {"openinference.span.kind": "LLM"}, {"llm.request.type": "chat"}],
    ids=lambda it: next(iter(it)),
)
def test_the_cost_is_on_their_span(
    attributes: dict[str, Any], instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """A current span that calls itself one of an inference gets our attributes; there is none of ours."""
    telemetry = instrumented(spans="enrich")
    with _span_of_another(telemetry, attributes):
        _ask(client)
    assert telemetry.span()["openrouter.usage.cost"] == float(fake.charged_usd)
    assert [call.spend for call in telemetry.calls] == [float(fake.charged_usd)]


def test_a_stream_is_written_when_it_ends(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Their span may be current only while the request is made: it is held until the stream ends."""
    telemetry = instrumented(spans="enrich")
    theirs = telemetry.tracer_provider.get_tracer("somebody").start_span("theirs", attributes=CHAT)

    with use_span(theirs, end_on_exit=False):
        stream = _ask(client, stream=True)
    list(stream)
    theirs.end()
    assert telemetry.span()["openrouter.usage.cost"] == float(fake.charged_usd)
    assert telemetry.span()["openrouter.stream.outcome"] == "complete"


def test_without_such_a_span_the_spend_is_on_one_of_ours(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Enrich mode with nothing to enrich: a billed call is on a span all the same, with its own times."""
    telemetry = instrumented(spans="enrich")
    _ask(client)
    (span,) = telemetry.spans()
    (call,) = telemetry.calls
    assert (span.name, span.start_time) == ("chat vendor/model", call.started_ns)
    assert span.attributes["openrouter.usage.spend"] == float(fake.charged_usd)
    assert [call.spend for call in telemetry.calls] == [float(fake.charged_usd)]
    assert telemetry.total("gen_ai.usage.cost") == float(fake.charged_usd)
    assert telemetry.total("gen_ai.client.token.usage") > 0


def test_a_span_that_ends_before_the_cost_is_known_gets_a_child_with_it(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """An instrumentation that ends its span before a stream is read: the spend is on a span of ours, in its trace."""
    telemetry = instrumented(spans="enrich")
    with _span_of_another(telemetry, CHAT):
        stream = _ask(client, stream=True)
    list(stream)
    theirs, ours = telemetry.spans()
    assert "openrouter.usage.spend" not in theirs.attributes
    assert ours.attributes["openrouter.usage.spend"] == float(fake.charged_usd)
    assert ours.parent.span_id == theirs.context.span_id


def test_each_of_two_calls_inside_one_span_of_theirs_has_its_spend_on_a_span(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """A sum over spans is the bill: the second call has a span of its own."""
    telemetry = instrumented(spans="enrich")
    with _span_of_another(telemetry, CHAT):
        _ask(client)
        _ask(client)
    spends = [span.attributes.get("openrouter.usage.spend") for span in telemetry.spans()]
    assert len(spends) == 2
    assert sum(spends) == pytest.approx(float(fake.charged_usd))


def test_a_call_that_was_not_billed_makes_no_span_in_enrich_mode(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """There is no spend to carry."""
    telemetry = instrumented(spans="enrich")
    fake.script(errors.insufficient_credits())
    with pytest.raises(openai.APIStatusError):
        _ask(client)
    assert telemetry.spans() == []
    assert len(telemetry.calls) == 1


@pytest.mark.parametrize("attributes", [{}, {"gen_ai.operation.name": "invoke_agent"}, {"http.route": "/chat"}])
def test_other_spans_are_left_alone(
    attributes: dict[str, Any], instrumented: Callable[..., Any], client: openai.OpenAI
) -> None:
    """A span around several calls, such as an agent's or a web request's, gets nothing of one of them."""
    telemetry = instrumented(spans="enrich")
    with _span_of_another(telemetry, attributes):
        _ask(client)
    ours, around = telemetry.spans()
    assert (ours.name, around.attributes) == ("chat vendor/model", attributes)


@pytest.mark.parametrize("mode", ["own", "enrich"])
def test_inference_data_is_written_into(
    mode: str, instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Where util-genai's data is in the context there is no second span in either mode, and the cost is in the data."""
    telemetry, data = instrumented(spans=mode), SimpleNamespace(attributes={})
    with _in_context(DATA_KEY, data):
        _ask(client)
    assert telemetry.spans() == []
    assert data.attributes["openrouter.usage.cost"] == float(fake.charged_usd)
    assert set(telemetry.metrics()) == {"gen_ai.usage.cost"}


def test_data_of_another_operation_is_not_ours(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """An embeddings call inside an inference is a call of its own."""
    telemetry, data = instrumented(), SimpleNamespace(attributes={})
    with _in_context(DATA_KEY, data):
        client.embeddings.create(model="vendor/model", input="hi")
    assert [span.name for span in telemetry.spans()] == ["embeddings vendor/model"]
    assert data.attributes == {}


def test_an_error_is_told_on_their_span(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """OpenRouter's error is on their span, with its status."""
    telemetry = instrumented(spans="enrich")
    fake.script(errors.insufficient_credits())
    with pytest.raises(openai.APIStatusError), _span_of_another(telemetry, CHAT):
        _ask(client)
    assert telemetry.span()["openrouter.error.code"] == "402"


@pytest.mark.parametrize("key", SUPPRESS_KEYS, ids=lambda key: key.partition("-")[0] + str(len(key)))
@pytest.mark.parametrize("mode", ["own", "enrich", "off"])
def test_suppression_by_the_user_is_honoured(
    mode: str, key: str, instrumented: Callable[..., Any], client: openai.OpenAI
) -> None:
    """Suppressed code records nothing at all."""
    telemetry = instrumented(spans=mode)
    with _in_context(key, value=True):
        _ask(client)
    assert (telemetry.spans(), telemetry.metrics(), telemetry.calls) == ([], {}, [])


@pytest.mark.parametrize("mode", ["own", "enrich"])
def test_suppression_inside_their_span_is_no_second_span(
    mode: str, instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """An instrumentation that suppresses all others inside its span, as Logfire does, gets the cost on that span."""
    telemetry = instrumented(spans=mode)
    with _span_of_another(telemetry, CHAT), _in_context(SUPPRESS_KEYS[0], value=True):
        _ask(client)
    assert telemetry.span()["openrouter.usage.cost"] == float(fake.charged_usd)
    assert len(telemetry.calls) == 1
