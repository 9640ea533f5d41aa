"""Telemetry that is kept in memory, on providers of its own."""

from __future__ import annotations

import gc
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import or_instrument

HOSTS = ("127.0.0.1", "openrouter.ai")


class Telemetry:
    """What has been recorded so far, on providers of its own."""

    def __init__(self) -> None:
        self.calls: list[or_instrument.Call] = []
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def settle(self) -> Telemetry:
        """Collect garbage and record what finalisers have left over."""
        gc.collect()
        or_instrument.flush()
        return self

    def spans(self) -> list[ReadableSpan]:
        """Return the finished spans, oldest first."""
        return list(self._exporter.get_finished_spans())

    def span(self) -> dict[str, Any]:
        """Return the attributes of the only span."""
        (span,) = self.spans()
        return dict(span.attributes or {})

    def metrics(self) -> dict[str, list[Any]]:
        """Return the data points of every metric, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def total(self, name: str, **labels: Any) -> float:
        """Return the sum over the points of a metric that carry these labels (dots written as two underscores)."""
        wanted = {key.replace("__", "."): value for key, value in labels.items()}
        points = [p for p in self.metrics().get(name, []) if wanted.items() <= dict(p.attributes).items()]
        return sum(point.sum if hasattr(point, "sum") else point.value for point in points)
