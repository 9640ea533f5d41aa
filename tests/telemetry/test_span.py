"""Facts about the span of a call, written from hand-made records."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from or_instrument import Attempt, Call, Failure, Reply, Request, Routing, Stage, Usage
from or_instrument._openrouter.broadcast import broadcast_span
from or_instrument._telemetry.span import Spans, describe, recovered_attributes

REQUEST = Request("chat", "openrouter", "acme/large:nitro", "openrouter.ai", 443)
NO_REPLY = Reply()
STARTED = 1_700_000_000_000_000_000
USAGE = Usage(
    input_tokens=1200,
    output_tokens=0,
    cache_read_tokens=1000,
    cache_creation_tokens=5,
    reasoning_tokens=256,
    cost=0.1,
    is_byok=True,
    upstream_cost=0.2,
    upstream_input_cost=0.15,
    upstream_output_cost=0.05,
    server_tool_cost=0.0,
    details={"openrouter.usage.audio_input_tokens": 5},
)


class Recorder:
    """A span sink on a provider of its own, and the spans it has ended."""

    def __init__(self, *aliases: str, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.provider = provider
        self.spans = Spans(provider.get_tracer("test"), aliases)

    def record(self, reply: Reply = NO_REPLY, request: Request = REQUEST, **fields: Any) -> ReadableSpan:
        """Record one call and return its span."""
        context = self.spans.open(request, STARTED)
        outcome = fields.pop("outcome", "complete")
        self.spans(Call(1, request, reply, outcome, STARTED, fields.pop("duration_s", 1.5), context=context, **fields))
        return self._exporter.get_finished_spans()[-1]

    def attributes(self, reply: Reply = NO_REPLY, request: Request = REQUEST, **fields: Any) -> dict[str, Any]:
        """Record one call; return what its end added to the attributes of its start."""
        attributes = dict(self.record(reply, request, **fields).attributes or {})
        start = dict(self.record(request=request._replace(stream=False)).attributes or {})
        return {key: value for key, value in attributes.items() if key not in start}


def test_a_span_is_a_client_span_named_by_operation_and_model() -> None:
    """As the conventions want it, the model as it was asked for."""
    span = Recorder().record(Reply(model="acme/large"))
    assert (span.name, span.kind) == ("chat acme/large:nitro", SpanKind.CLIENT)


def test_without_a_model_the_operation_is_the_name() -> None:
    """No "chat None"."""
    assert Recorder().record(request=REQUEST._replace(model=None)).name == "chat"


def test_a_span_starts_and_ends_when_the_call_did() -> None:
    """Not when the sink got to it."""
    span = Recorder().record(duration_s=2.25)
    assert (span.start_time, span.end_time) == (STARTED, STARTED + 2_250_000_000)


def test_what_was_asked_is_there_at_the_start() -> None:
    """A sampler sees it."""
    request = REQUEST._replace(
        stream=True, parameters={"gen_ai.request.temperature": 0.5}, attributes={"feature": "search"}
    )
    recorder = Recorder()
    span: Any = get_current_span(recorder.spans.open(request, STARTED))
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": "acme/large:nitro",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "server.address": "openrouter.ai",
        "server.port": 443,
        "feature": "search",
    }
    span.end()


def test_what_was_not_asked_is_not_there() -> None:
    """No model, no stream."""
    assert set(Recorder().record(request=REQUEST._replace(model=None)).attributes or {}) == {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "server.address",
        "server.port",
    }


def test_the_numbers_of_a_call_are_on_its_span() -> None:
    """Every field of the usage under its own name; a reported 0 included."""
    assert Recorder().attributes(Reply(usage=USAGE)) == {
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 0,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 256,
        "openrouter.usage.cost": 0.1,
        "openrouter.usage.is_byok": True,
        "openrouter.usage.cost_details.upstream_inference_cost": 0.2,
        "openrouter.usage.cost_details.upstream_inference_input_cost": 0.15,
        "openrouter.usage.cost_details.upstream_inference_output_cost": 0.05,
        "openrouter.usage.cost_details.server_tool_cost": 0.0,
        "openrouter.usage.audio_input_tokens": 5,
        "openrouter.usage.source": "response",
        "openrouter.usage.spend": 0.3,
        "gen_ai.usage.cost": 0.3,
    }


def test_numbers_that_were_not_reported_are_not_on_the_span() -> None:
    """Absent is not 0; and an unknown spend is not written at all."""
    assert Recorder().attributes(Reply(usage=Usage(input_tokens=1, cost=0.5, is_byok=True))) == {
        "gen_ai.usage.input_tokens": 1,
        "openrouter.usage.cost": 0.5,
        "openrouter.usage.is_byok": True,
        "openrouter.usage.source": "response",
    }


def test_the_spend_stands_under_the_chosen_aliases_too() -> None:
    """Backends read different names."""
    attributes = Recorder("operation.cost", "llm.cost.total").attributes(Reply(usage=Usage(cost=0.0)))
    assert attributes["operation.cost"] == attributes["llm.cost.total"] == attributes["openrouter.usage.spend"] == 0.0


def test_the_spend_comes_first() -> None:
    """Pages that keep the order show the first of a call's attributes and cut off the rest."""
    attributes = Recorder("operation.cost").attributes(Reply(id="gen-1", model="m", usage=USAGE))
    assert list(attributes)[:3] == ["openrouter.usage.spend", "gen_ai.usage.cost", "operation.cost"]


def test_no_other_number_stands_under_the_name_of_the_usage() -> None:
    """Backends add up all numbers under `gen_ai.usage` as tokens."""
    names = {name for name in Recorder().attributes(Reply(usage=USAGE)) if name.startswith("gen_ai.usage.")}
    assert names == {
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.cost",
    }


def test_what_was_answered_is_on_the_span() -> None:
    """Ids, names and reasons."""
    reply = Reply("gen-1", "acme/large", "Acme AI", ("stop", "length"), ("STOP", "MAX"), "flex")
    reply = reply._replace(cache_status="HIT", cache_age_s=12.0, cache_ttl_s=300.0)
    assert Recorder().attributes(reply) == {
        "gen_ai.response.id": "gen-1",
        "gen_ai.response.model": "acme/large",
        "gen_ai.response.finish_reasons": ("stop", "length"),
        "openrouter.provider.name": "Acme AI",
        "openrouter.response.native_finish_reasons": ("STOP", "MAX"),
        "openrouter.response.service_tier": "flex",
        "openrouter.cache.status": "HIT",
        "openrouter.cache.age": 12.0,
        "openrouter.cache.ttl": 300.0,
    }


def test_how_a_call_was_routed_is_on_the_span() -> None:
    """Attempts with their status, and what else was done and charged for."""
    routing = Routing(
        strategy="fallback",
        region="us-east",
        attempt=2,
        attempts=(Attempt("Azure", "acme/large", 429), Attempt("Acme AI", "acme/large", 200), Attempt("None")),
        pipeline=(Stage("plugin", "web", 0.1), Stage("guardrail", None)),
        generation_time_s=1.43,
    )
    assert Recorder().attributes(Reply(routing=routing)) == {
        "openrouter.routing.strategy": "fallback",
        "openrouter.routing.region": "us-east",
        "openrouter.routing.attempt": 2,
        "openrouter.routing.attempts": ("Azure 429", "Acme AI 200", "None"),
        "openrouter.routing.pipeline": ("web", "guardrail"),
        "openrouter.routing.pipeline_cost": 0.1,
        "openrouter.routing.generation_time": 1.43,
    }


def test_the_generation_id_is_there_where_it_is_another_than_the_reply_has() -> None:
    """Mostly the two are the same."""
    recorder = Recorder()
    assert recorder.attributes(Reply("gen-1", generation_id="gen-2"))["openrouter.generation.id"] == "gen-2"
    assert recorder.attributes(Reply(generation_id="gen-2"))["openrouter.generation.id"] == "gen-2"
    assert "openrouter.generation.id" not in recorder.attributes(Reply("gen-1", generation_id="gen-1"))


@pytest.mark.parametrize("outcome", ["complete", "closed", "abandoned", "cancelled"])
def test_a_stream_tells_how_it_ended_and_is_no_error(outcome: str) -> None:
    """Closing, dropping and cancelling are the user's choice."""
    span = Recorder().record(request=REQUEST._replace(stream=True), outcome=outcome, time_to_first_chunk_s=0.25)
    attributes = span.attributes or {}
    assert attributes["openrouter.stream.outcome"] == outcome
    assert attributes["gen_ai.response.time_to_first_chunk"] == 0.25
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes


def test_a_stream_without_a_first_chunk_has_no_time_to_it() -> None:
    """Nothing came, so nothing took time."""
    attributes = Recorder().attributes(request=REQUEST._replace(stream=True))
    assert attributes == {"gen_ai.request.stream": True, "openrouter.stream.outcome": "complete"}


def test_a_call_that_is_no_stream_has_no_outcome() -> None:
    """The attribute is of streams."""
    assert Recorder().attributes(time_to_first_chunk_s=None) == {}


def test_a_failure_is_on_the_span() -> None:
    """All that is known of it, under its own names, and the span's status."""
    failure = Failure(
        "rate_limit_exceeded", "429", "rate_limit_exceeded", "openrouter_key_limit", "Acme AI", 7.0, 429
    )  # fmt: skip
    recorder = Recorder()
    assert recorder.attributes(Reply(failure=failure), outcome="error") == {
        "error.type": "rate_limit_exceeded",
        "openrouter.error.code": "429",
        "openrouter.error.type": "rate_limit_exceeded",
        "openrouter.error.limit_source": "openrouter_key_limit",
        "openrouter.error.provider_name": "Acme AI",
        "openrouter.error.retry_after": 7.0,
        "http.response.status_code": 429,
    }
    status = recorder.record(Reply(failure=failure), outcome="error").status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "429 rate_limit_exceeded")


@pytest.mark.parametrize(
    ("failure", "description"),
    [
        (Failure("server", "502", "server"), "502 server"),
        (Failure("502", status_code=502), "502 Bad Gateway"),
        (Failure("402", "402", status_code=402), "402 Payment Required"),
        (Failure("524", "524"), "524"),
        (Failure("server_error", "server_error"), "server_error"),
        (Failure("builtins.TimeoutError"), "builtins.TimeoutError"),
        (Failure("error"), "error"),
        (Failure("not_found", None, "not_found", status_code=404), "404 not_found"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_status_description_is_the_code_and_what_it_means(failure: Failure, description: str) -> None:
    """Made of codes and the standard phrases alone."""
    assert describe(failure) == description


def test_a_span_that_is_not_sampled_costs_no_attributes_and_ends() -> None:
    """The sampler's word holds, and its span is no memory leak."""
    recorder = Recorder(sampler=ALWAYS_OFF)
    context = recorder.spans.open(REQUEST, STARTED)
    recorder.spans(Call(1, REQUEST, Reply(usage=USAGE), "complete", STARTED, 1.0, context=context))
    assert recorder._exporter.get_finished_spans() == ()


def test_a_span_ends_even_where_writing_on_it_fails() -> None:
    """An attribute that cannot be written loses no span."""
    recorder = Recorder()
    context = recorder.spans.open(REQUEST, STARTED)
    broken = Reply(usage=Usage(details=1))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        recorder.spans(Call(1, REQUEST, broken, "complete", STARTED, 1.0, context=context))
    assert len(recorder._exporter.get_finished_spans()) == 1


@pytest.mark.parametrize(("model", "name"), [("acme/large:nitro", "generation acme/large:nitro"), (None, "generation")])
def test_a_cost_that_was_looked_up_is_a_span_inside_the_call_s(model: str | None, name: str) -> None:
    """With the look-up's own times, and no operation that would count the call twice."""
    recorder = Recorder()
    request = REQUEST._replace(model=model, attributes={"feature": "search"})
    context = recorder.spans.open(request, STARTED)
    reply = Reply("gen-1", usage=Usage(cost=0.5, source="generation"))
    recorder.spans(Call(2, request, reply, "closed", STARTED + 5, 0.25, context=context, recovers=1))
    (span,) = recorder._exporter.get_finished_spans()
    parent: Any = get_current_span(context)
    assert (span.name, span.start_time, span.end_time) == (name, STARTED + 5, STARTED + 250_000_005)
    assert span.parent == parent.get_span_context()
    attributes = span.attributes or {}
    assert attributes["openrouter.usage.spend"] == 0.5
    assert attributes["openrouter.usage.source"] == "generation"
    assert attributes["feature"] == "search"
    assert "gen_ai.operation.name" not in attributes
    parent.end()


def test_a_look_up_that_found_nothing_is_no_span() -> None:
    """There is nothing to write on it."""
    recorder = Recorder()
    recorder.spans(Call(2, REQUEST, Reply(), "closed", STARTED, 0.25, missing="not_found", recovers=1))
    assert recorder._exporter.get_finished_spans() == ()


def test_an_estimate_stands_beside_the_cost_and_is_none() -> None:
    """Under a name of its own."""
    attributes = Recorder().attributes(Reply(usage=Usage(estimated_cost=0.25)))
    assert attributes == {"openrouter.usage.estimated_cost": 0.25, "openrouter.usage.source": "response"}


def test_a_span_is_the_child_of_the_current_one() -> None:
    """And is not made current by being opened."""
    recorder = Recorder()
    with recorder.provider.get_tracer("app").start_as_current_span("parent") as parent:
        span = recorder.record()
        assert get_current_span() is parent
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id


def test_opening_keeps_what_else_is_in_the_context() -> None:
    """Baggage and suppress keys reach what runs below."""
    context = Recorder().spans.open(REQUEST, STARTED)
    assert isinstance(context, Context)
    span = get_current_span(context)
    assert span.is_recording()
    span.end()


def test_a_span_can_be_linked_to_the_one_that_openrouter_exports() -> None:
    """Where that was asked for, and the generation is known."""
    recorder = Recorder()
    recorder.spans = Spans(recorder.provider.get_tracer("test"), link_broadcast=True)
    (link,) = recorder.record(Reply("gen-1")).links
    assert link.context.is_remote
    assert link.context.is_valid
    assert (link.context.trace_id, link.context.span_id) == broadcast_span("gen-1", None)
    assert not recorder.record(Reply("chatcmpl-1")).links


def test_a_span_is_not_linked_where_nobody_asked_for_it() -> None:
    """OpenRouter's export may be off."""
    assert not Recorder().record(Reply("gen-1")).links


def test_what_a_look_up_brought_may_be_names_without_numbers() -> None:
    """No usage is written as none."""
    attributes = recovered_attributes(Call(2, REQUEST, Reply("gen-1"), "closed", 0, 1.0), ())
    assert attributes["gen_ai.response.id"] == "gen-1"
    assert not [name for name in attributes if "usage" in name]
