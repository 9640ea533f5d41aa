"""The same telemetry pipeline for every subject: a real SDK that batches spans, counts them and throws them away."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON


class CountingExporter(SpanExporter):
    """Counts the spans, and keeps the names of the last one's attributes."""

    def __init__(self) -> None:
        self.spans = 0
        self.attributes: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count them and forget them."""
        self.spans += len(spans)
        self.attributes = sorted(spans[-1].attributes or ())
        return SpanExportResult.SUCCESS


class Pipeline:
    """The providers of one subject. `drain` empties them, between two measurements, never inside one."""

    def __init__(self, subject: str) -> None:
        self.exporter = CountingExporter()
        self._processor = BatchSpanProcessor(self.exporter)
        self._reader = InMemoryMetricReader()
        if subject == "logfire":
            self._configure_logfire()
        else:
            sampler = ALWAYS_OFF if subject.endswith("not sampled") else ALWAYS_ON
            tracers = TracerProvider(sampler=sampler)
            tracers.add_span_processor(self._processor)
            trace.set_tracer_provider(tracers)
            metrics.set_meter_provider(MeterProvider([self._reader]))

    def _configure_logfire(self) -> None:
        logfire = importlib.import_module("logfire")
        readers = logfire.MetricsOptions(additional_readers=[self._reader])
        logfire.configure(
            send_to_logfire=False,
            console=False,
            additional_span_processors=[self._processor],
            metrics=readers,
        )

    def drain(self) -> int:
        """Export what is batched, and collect the metrics. Returns how many metric records there were so far."""
        self._processor.force_flush()
        data = self._reader.get_metrics_data()
        return sum(
            point.count if isinstance(point, HistogramDataPoint) else int(point.value)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            # Of the counters, those that count calls: each record adds 1.
            if isinstance(point, HistogramDataPoint) or (isinstance(point, NumberDataPoint) and metric.unit == "{call}")
        )
