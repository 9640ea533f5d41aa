"""Owns the instruments; records a finished `Call` on them, in the context of its span."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeGuard

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from or_instrument import _semconv as names
from or_instrument._enrich import theirs_in
from or_instrument._records import PENDING, AttributeValue, Call, Usage

_log = logging.getLogger("or_instrument")
_Labels = Mapping[str, AttributeValue]
_CACHE_LIMIT: Final = 1024
_OTHER: Final = "other"


class _LabelSet(NamedTuple):
    """The labels of a kind of call, made once."""

    common: _Labels
    input: _Labels
    output: _Labels


class _Values:
    """The values that one metric attribute has had; those above the limit are folded: an id as a label is dear."""

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self._limit = limit
        self._seen: set[AttributeValue] = set()
        self._is_full = False

    def fold(self, value: object) -> AttributeValue | None:
        if isinstance(value, list):
            value = tuple(value)
        if not _is_label(value):
            return None
        if value in self._seen:
            return value
        if len(self._seen) < self._limit:
            self._seen.add(value)
            return value
        if not self._is_full:
            self._is_full = True
            _log.warning(
                "the metric attribute %s has had %d values; further ones are counted as %r. Raise metric_values_limit, "
                "or leave the attribute out of metric_attributes",
                self.key,
                self._limit,
                _OTHER,
            )
        return _OTHER


class Metrics:
    """The metric sink."""

    def __init__(self, meter: Meter, metric_attributes: Sequence[str] = (), values_limit: int = 100) -> None:
        self._allowed = tuple(_Values(key, values_limit) for key in metric_attributes)
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
        self._cache_read = meter.create_counter(
            names.CACHE_READ_TOKENS, "{token}", "Input tokens that were read from a prompt cache."
        )
        self._upstream = meter.create_counter(names.UPSTREAM_COST, "USD", "The provider's own bill for BYOK calls.")
        self._estimated = meter.create_counter(
            names.ESTIMATED_COST, "USD", "What calls without a reported cost cost at list prices: a guess."
        )
        self._missing = meter.create_counter(names.MISSING, "{call}", "Calls whose cost never became known.")

    def __call__(self, call: Call) -> None:
        """Record the call; where another instrumentation records the convention's metrics of it, only its cost."""
        context: Context | None = call.context  # type: ignore[assignment]
        labels = self._labels(call)
        theirs = theirs_in(context)
        has_theirs = theirs is not None and theirs.has_metrics
        if call.recovers is None and not has_theirs:
            self._record_times(call, labels, context)
        common, usage = labels.common, call.usage
        if usage is not None:
            # Others record no tokens of a call that ended without usage.
            if call.recovers is not None or not has_theirs:
                self._record_tokens(usage, labels, context)
            if usage.cache_read_tokens:
                self._cache_read.add(usage.cache_read_tokens, common, context)
            if usage.is_byok and usage.upstream_cost is not None:
                self._upstream.add(usage.upstream_cost, common, context)
            if usage.estimated_cost is not None:
                self._estimated.add(usage.estimated_cost, common, context)
        if call.missing == PENDING:
            return
        if call.missing is not None:
            self._missing.add(1, {**common, names.MISSING_REASON: call.missing}, context)
        elif (spend := call.spend) is not None:
            self._cost.record(spend, common, context)

    def _record_times(self, call: Call, labels: _LabelSet, context: Context | None) -> None:
        common, failure = labels.common, call.failure
        if failure is None:
            self._duration.record(call.duration_s, common, context)
        else:
            self._duration.record(call.duration_s, {**common, names.ERROR_TYPE: failure.type}, context)
        if call.time_to_first_chunk_s is not None:
            self._first_chunk.record(call.time_to_first_chunk_s, common, context)

    def _record_tokens(self, usage: Usage, labels: _LabelSet, context: Context | None) -> None:
        if usage.input_tokens is not None:
            self._tokens.record(usage.input_tokens, labels.input, context)
        if usage.output_tokens is not None:
            self._tokens.record(usage.output_tokens, labels.output, context)

    def _labels(self, call: Call) -> _LabelSet:
        request, reply, usage = call.request, call.reply, call.usage
        given = request.attributes
        allowed = tuple(values.fold(given.get(values.key)) for values in self._allowed) if given else ()
        byok = None if usage is None else usage.is_byok
        key = (request.operation, request.provider, request.model, reply.model, reply.provider, byok, allowed)
        labels = self._cache.get(key)
        if labels is None:
            labels = self._made(call, byok, allowed)
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = labels
        return labels

    def _made(self, call: Call, byok: bool | None, allowed: Sequence[AttributeValue | None]) -> _LabelSet:
        request, reply = call.request, call.reply
        values: dict[str, AttributeValue | None] = {
            names.OPERATION: request.operation,
            names.PROVIDER: request.provider,
            names.REQUEST_MODEL: request.model,
            names.RESPONSE_MODEL: reply.model,
            names.SERVED_BY: reply.provider,
            names.IS_BYOK: byok,
            **{values.key: value for values, value in zip(self._allowed, allowed, strict=False)},
        }
        common = {key: value for key, value in values.items() if value is not None}
        return _LabelSet(common, {**common, names.TOKEN_TYPE: "input"}, {**common, names.TOKEN_TYPE: "output"})


def _is_label(value: object) -> TypeGuard[AttributeValue]:
    # Anything else can be no key of a cache, or would cost an exporter its whole batch.
    scalars = value if isinstance(value, tuple) else (value,)
    return all(isinstance(scalar, (str, bool, int, float)) for scalar in scalars)


def _histogram(meter: Meter, name: str, unit: str, description: str, boundaries: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)
