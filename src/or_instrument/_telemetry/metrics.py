"""Owns the instruments; records a finished `Call` on them, in the context of its span."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from or_instrument._openrouter.paths import JOBS
from or_instrument._records import PENDING, Call, Usage
from or_instrument._telemetry import names
from or_instrument._telemetry.enrich import theirs_in
from or_instrument._telemetry.labels import Labels, LabelSet, LabelSets


class Metrics:
    """The metric sink."""

    def __init__(self, meter: Meter, metric_attributes: Sequence[str] = (), values_limit: int = 100) -> None:
        self._labels = LabelSets(metric_attributes, values_limit)
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
        self._switches = meter.create_counter(
            names.PROVIDER_SWITCHES, "{call}", "Calls whose session went to another provider and lost its prompt cache."
        )
        self._missing = meter.create_counter(names.MISSING, "{call}", "Calls whose cost never became known.")

    def __call__(self, call: Call) -> None:
        """Record the call; where another instrumentation records the convention's metrics of it, only its cost."""
        context: Context | None = call.context  # type: ignore[assignment]
        labels, usage, recovered = self._labels.of(call), call.reply.usage, call.recovers is not None
        theirs = theirs_in(context)
        # Others record no tokens of a call that ended without usage.
        is_theirs = theirs is not None and theirs.has_metrics and not recovered
        if not recovered and not is_theirs:
            self._record_times(call, labels.common, context)
        # What a pending call told is told once more by the call that recovers it.
        if usage is not None and call.missing != PENDING:
            self._record_usage(usage, labels, context, with_tokens=not is_theirs)
        if call.provider_switched and not recovered:
            self._switches.add(1, labels.common, context)
        missing = call.missing
        if missing is None:
            spend = None if usage is None else usage.spend
            if spend is not None:
                self._cost.record(spend, labels.common, context)
        elif missing != PENDING:
            self._missing.add(1, {**labels.common, names.MISSING_REASON: missing}, context)

    def _record_times(self, call: Call, common: Labels, context: Context | None) -> None:
        failure, first_chunk = call.reply.failure, call.time_to_first_chunk_s
        if first_chunk is not None:
            self._first_chunk.record(first_chunk, common, context)
        if failure is not None:
            common = self._labels.with_error(common, failure)
        if call.request.operation not in JOBS:  # its times are those of the poll that found it done
            self._duration.record(call.duration_s, common, context)

    def _record_usage(self, usage: Usage, labels: LabelSet, context: Context | None, *, with_tokens: bool) -> None:
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


def _histogram(meter: Meter, name: str, unit: str, description: str, boundaries: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)
