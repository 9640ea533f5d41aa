"""Starts a span from a `Request`; writes a finished `Call` on it and ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from or_instrument._records import AttributeValue, Call, Failure, Reply, Request, Usage
from or_instrument._routing_records import Routing
from or_instrument._telemetry import names

if TYPE_CHECKING:
    from or_instrument._telemetry.backends import Backend


class Spans:
    """The span sink: one CLIENT span a call, and one more inside for a cost that was looked up afterwards."""

    def __init__(
        self,
        tracer: Tracer,
        cost_aliases: Sequence[str] = (),
        *,
        link_broadcast: bool = False,
        backend: Backend | None = None,
    ) -> None:
        self._tracer = tracer
        self._links_broadcast = link_broadcast
        self._backend = backend
        self.spend_names = (names.SPEND, names.SPEND_ALIAS, *cost_aliases)

    def open(self, request: Request, started_ns: int, context: Context | None = None) -> Context:
        """Start a span and return the context that holds it; the caller makes it current or not."""
        context = get_current() if context is None else context
        operation, model = request.operation, request.model
        span = self._tracer.start_span(
            f"{operation} {model}" if model else operation,
            context,
            SpanKind.CLIENT,
            attributes=start_attributes(request),
            start_time=started_ns,
        )
        return set_span_in_context(span, context)

    def __call__(self, call: Call) -> None:
        """Write the call on its span and end it."""
        if call.recovers is not None:
            self._recovered(call)
            return
        span = get_current_span(call.context)  # type: ignore[arg-type]
        try:
            if span.is_recording():
                self.write(span, call, end_attributes(call, self.spend_names))
        finally:
            span.end(call.started_ns + int(call.duration_s * 1e9))

    def _link(self, span: Span, call: Call) -> None:
        # To the span that OpenRouter's Broadcast exports of the same generation.
        from or_instrument._openrouter.broadcast import broadcast_span  # noqa: PLC0415 - few ask for it

        generation_id = call.generation_id
        if generation_id is not None:
            theirs = broadcast_span(generation_id, call.request.trace_id)
            span.add_link(SpanContext(*theirs, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))

    def write(self, span: Span, call: Call, attributes: Mapping[str, AttributeValue]) -> None:
        """Write the attributes of a call on a span, and its failure, and the link where that is on."""
        span.set_attributes(attributes)
        if self._backend is not None:
            span.set_attributes(absent(span, self._backend.of_call(call)))
        if self._links_broadcast:
            self._link(span, call)
        failure = call.reply.failure
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR, describe(failure)))

    def _recovered(self, call: Call) -> None:
        if call.usage is None:
            return
        model = call.request.model or call.reply.model
        span = self._tracer.start_span(
            f"generation {model}" if model else "generation",
            call.context,  # type: ignore[arg-type]
            attributes=recovered_attributes(call, self.spend_names),
            start_time=call.started_ns,
        )
        if self._backend is not None:
            span.set_attributes(absent(span, self._backend.of_call(call)))
        span.end(call.started_ns + int(call.duration_s * 1e9))


def start_attributes(request: Request) -> dict[str, AttributeValue]:
    """Return what is known before the call: samplers see it."""
    operation, provider, model, host, port, stream, parameters, given, *_ = request
    attributes: dict[str, AttributeValue] = {
        names.OPERATION: operation,
        names.PROVIDER: provider,
        names.SERVER_ADDRESS: host,
        names.SERVER_PORT: port,
    }
    if model is not None:
        attributes[names.REQUEST_MODEL] = model
    if stream:
        attributes[names.REQUEST_STREAM] = True
    if parameters:
        attributes.update(parameters)
    if given:
        attributes.update(given)
    return attributes


def end_attributes(call: Call, spend_names: Sequence[str]) -> dict[str, AttributeValue]:
    """Return what the call brought."""
    _, request, reply, outcome, _, _, first_chunk_s, *_ = call
    attributes = _reply_attributes(reply, spend_names)
    failure = reply.failure
    if failure is not None:
        attributes.update(_named(names.FAILURE_ATTRIBUTES, failure))
        if reply.status_code is not None:
            attributes[names.HTTP_STATUS] = reply.status_code
    if call.provider_switched is not None:
        attributes[names.PROVIDER_SWITCHED] = call.provider_switched
    if request.stream:
        attributes[names.STREAM_OUTCOME] = outcome
        if first_chunk_s is not None:
            attributes[names.TIME_TO_FIRST_CHUNK] = first_chunk_s
    return attributes


def recovered_attributes(call: Call, spend_names: Sequence[str]) -> dict[str, AttributeValue]:
    """Return what a look-up brought. Without an operation: the call itself is not to be counted twice."""
    request = call.request
    attributes: dict[str, AttributeValue] = {names.PROVIDER: request.provider, names.SERVER_ADDRESS: request.host}
    if request.model is not None:
        attributes[names.REQUEST_MODEL] = request.model
    return {**attributes, **request.attributes, **_reply_attributes(call.reply, spend_names)}


def absent(span: Span, attributes: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
    """Return those attributes that the span does not have: what somebody else wrote for a backend stays."""
    there: Mapping[str, object] = getattr(span, "attributes", None) or {}
    return {name: value for name, value in attributes.items() if name not in there}


def describe(failure: Failure) -> str:
    """Return a short status description: the failure's code, and what that code means."""
    number = failure.code or (str(failure.status_code) if failure.status_code else None)
    if number is None or failure.type != number:
        return failure.type if number is None else f"{number} {failure.type}"
    from http import HTTPStatus  # noqa: PLC0415 - only a failure needs it

    try:
        return f"{number} {HTTPStatus(int(number)).phrase}"
    except ValueError:
        return number


def _reply_attributes(reply: Reply, spend_names: Sequence[str]) -> dict[str, AttributeValue]:
    usage = reply.usage
    # First of all, for pages that show the first few.
    spend = None if usage is None else usage.spend
    attributes: dict[str, AttributeValue] = {} if spend is None else dict.fromkeys(spend_names, spend)
    for name, value in zip(names.REPLY_ATTRIBUTES, reply, strict=False):
        if value:
            attributes[name] = value  # type: ignore[assignment]
    if reply.cache_status is not None:
        attributes.update(_named(names.CACHE_ATTRIBUTES, (reply.cache_status, reply.cache_age_s, reply.cache_ttl_s)))
    generation_id = reply.generation_id
    if generation_id is not None and generation_id != reply.id:
        attributes[names.GENERATION_ID] = generation_id
    if usage is not None:
        _add_usage(attributes, usage)
    if reply.routing is not None:
        attributes.update(_routing_attributes(reply.routing))
    return attributes


def _routing_attributes(routing: Routing) -> Mapping[str, AttributeValue]:
    attempts = tuple(_words(attempt.provider, attempt.status) for attempt in routing.attempts)
    pipeline = tuple(stage.name or stage.type or "" for stage in routing.pipeline)
    told = (
        routing.strategy,
        routing.region,
        routing.attempt,
        attempts or None,
        pipeline or None,
        routing.pipeline_cost,
        routing.generation_time_s,
    )
    return _named(names.ROUTING_ATTRIBUTES, told)


def _words(*told: object) -> str:
    return " ".join(str(word) for word in told if word is not None)


def _add_usage(attributes: dict[str, AttributeValue], usage: Usage) -> None:
    for name, value in zip(names.USAGE_ATTRIBUTES, usage, strict=False):
        if value is not None:
            attributes[name] = value  # type: ignore[assignment]
    *_, details, source, estimated_cost, is_lower_bound = usage
    if details:
        attributes.update(details)
    attributes[names.USAGE_SOURCE] = source
    if estimated_cost is not None:
        attributes[names.ESTIMATED_COST] = estimated_cost
    if is_lower_bound:
        attributes[names.LOWER_BOUND] = True


def _named(keys: Sequence[str], values: Sequence[object]) -> Mapping[str, AttributeValue]:
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}  # type: ignore[misc]
