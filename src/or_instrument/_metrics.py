"""Owns the instruments; records a finished `Call` on them, in the context of its span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from or_instrument import _semconv as names
from or_instrument._records import AttributeValue, Call

_Labels = Mapping[str, AttributeValue]
_CACHE_LIMIT: Final = 1024


class _LabelSet(NamedTuple):
    """The labels of a kind of call, made once."""

    common: _Labels
    input: _Labels
    output: _Labels


class Metrics:
    """The metric sink."""

    def __init__(self, meter: Meter, metric_attributes: Sequence[str] = ()) -> None:
        self._allowed = tuple(metric_attributes)
        self._cache: dict[tuple[object, ...], _LabelSet] = {}
        self._duration = _histogram(meter, names.DURATION, "s", "Duration of a call.", names.SECONDS_BUCKETS)
        self._first_chunk = _histogram(
            meter, names.FIRST_CHUNK, "s", "Time to the first chunk of a stream.", names.SECONDS_BUCKETS
        )
        self._tokens = _histogram(meter, names.TOKENS, "{token}", "Tokens used by a call.", names.TOKEN_BUCKETS)
        self._cost = _histogram(
            meter,
            names.COST,
            "USD",
            "What a call cost, with the provider's bill for BYOK calls.",
            names.USD_BUCKETS,
        )
        self._upstream = meter.create_counter(names.UPSTREAM_COST, "USD", "The provider's own bill for BYOK calls.")
        self._missing = meter.create_counter(names.MISSING, "{call}", "Calls whose cost never became known.")

    def __call__(self, call: Call) -> None:
        """Record the call."""
        context: Context | None = call.context  # type: ignore[assignment]
        labels = self._labels(call)
        common = labels.common
        failure, usage = call.failure, call.usage
        if failure is None:
            self._duration.record(call.duration_s, common, context)
        else:
            self._duration.record(call.duration_s, {**common, names.ERROR_TYPE: failure.type}, context)
        if call.time_to_first_chunk_s is not None:
            self._first_chunk.record(call.time_to_first_chunk_s, common, context)
        if usage is not None:
            if usage.input_tokens is not None:
                self._tokens.record(usage.input_tokens, labels.input, context)
            if usage.output_tokens is not None:
                self._tokens.record(usage.output_tokens, labels.output, context)
            if usage.is_byok and usage.upstream_cost is not None:
                self._upstream.add(usage.upstream_cost, common, context)
        if call.missing is not None:
            self._missing.add(1, {**common, names.MISSING_REASON: call.missing}, context)
        elif (spend := call.spend) is not None:
            self._cost.record(spend, common, context)

    def _labels(self, call: Call) -> _LabelSet:
        request, reply, usage = call.request, call.reply, call.usage
        allowed = tuple(request.attributes.get(key) for key in self._allowed) if request.attributes else ()
        byok = None if usage is None else usage.is_byok
        key = (request.operation, request.provider, request.model, reply.model, reply.provider, byok, allowed)
        labels = self._cache.get(key)
        if labels is None:
            labels = self._made(call, byok)
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = labels
        return labels

    def _made(self, call: Call, byok: bool | None) -> _LabelSet:
        request, reply = call.request, call.reply
        values: dict[str, AttributeValue | None] = {
            names.OPERATION: request.operation,
            names.PROVIDER: request.provider,
            names.REQUEST_MODEL: request.model,
            names.RESPONSE_MODEL: reply.model,
            names.SERVED_BY: reply.provider,
            names.IS_BYOK: byok,
            **{key: request.attributes.get(key) for key in self._allowed},
        }
        common = {key: value for key, value in values.items() if value is not None}
        return _LabelSet(common, {**common, names.TOKEN_TYPE: "input"}, {**common, names.TOKEN_TYPE: "output"})


def _histogram(meter: Meter, name: str, unit: str, description: str, boundaries: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)
