"""Owns the instruments; records a finished `Call` on them, in the context of its span."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeGuard

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from or_instrument._records import PENDING, AttributeValue, Call, Usage
from or_instrument._telemetry import names
from or_instrument._telemetry.enrich import theirs_in

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
        self.of = _reader(key)
        self._limit = limit
        self._seen: set[AttributeValue] = set()
        self._is_full = False

    def fold(self, value: object) -> AttributeValue | None:
        if value is None:
            return None
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
        labels, usage, recovered = self._labels(call), call.reply.usage, call.recovers is not None
        theirs = theirs_in(context)
        # Others record no tokens of a call that ended without usage.
        is_theirs = theirs is not None and theirs.has_metrics and not recovered
        if not recovered and not is_theirs:
            self._record_times(call, labels.common, context)
        if usage is not None:
            self._record_usage(usage, labels, context, with_tokens=not is_theirs)
        missing = call.missing
        if missing is None:
            spend = None if usage is None else usage.spend
            if spend is not None:
                self._cost.record(spend, labels.common, context)
        elif missing != PENDING:
            self._missing.add(1, {**labels.common, names.MISSING_REASON: missing}, context)

    def _record_times(self, call: Call, common: _Labels, context: Context | None) -> None:
        failure, first_chunk = call.reply.failure, call.time_to_first_chunk_s
        if first_chunk is not None:
            self._first_chunk.record(first_chunk, common, context)
        if failure is not None:
            common = {**common, names.ERROR_TYPE: failure.type}
        self._duration.record(call.duration_s, common, context)

    def _record_usage(self, usage: Usage, labels: _LabelSet, context: Context | None, *, with_tokens: bool) -> None:
        if with_tokens:
            if usage.input_tokens is not None:
                self._tokens.record(usage.input_tokens, labels.input, context)
            if usage.output_tokens is not None:
                self._tokens.record(usage.output_tokens, labels.output, context)
        if usage.cache_read_tokens:
            self._cache_read.add(usage.cache_read_tokens, labels.common, context)
        if usage.is_byok and usage.upstream_cost is not None:
            self._upstream.add(usage.upstream_cost, labels.common, context)
        if usage.estimated_cost is not None:
            self._estimated.add(usage.estimated_cost, labels.common, context)

    def _labels(self, call: Call) -> _LabelSet:
        request, reply = call.request, call.reply
        usage = reply.usage
        allowed: tuple[AttributeValue | None, ...] = ()
        if self._allowed:
            allowed = tuple([values.fold(values.of(call)) for values in self._allowed])
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


def _reader(key: str) -> Callable[[Call], object]:
    if key == names.SERVICE_TIER:
        return lambda call: call.reply.service_tier
    if key == names.CLIENT:
        return lambda call: call.request.parameters.get(key)
    return lambda call: call.request.attributes.get(key)


def _is_label(value: object) -> TypeGuard[AttributeValue]:
    # Anything else can be no key of a cache, or would cost an exporter its whole batch.
    scalars = value if isinstance(value, tuple) else (value,)
    return all(isinstance(scalar, (str, bool, int, float)) for scalar in scalars)


def _histogram(meter: Meter, name: str, unit: str, description: str, boundaries: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)
