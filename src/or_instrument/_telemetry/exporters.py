"""Makes SDK providers with the official exporters from the standard `OTEL_*` variables.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/ say which variables there are; the SDK and its exporters
read all of them themselves but the choice of the protocol, and `none` for a signal that is not wanted.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import uuid4

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SDKMeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExportResult,
)
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from or_instrument._calls.worker import is_exiting
from or_instrument._extras import require
from or_instrument._telemetry.forks import without_fork_hooks
from or_instrument._telemetry.undelivered import UNDELIVERED
from or_instrument._telemetry.variables import without_empty_variables

_log = logging.getLogger("or_instrument")
Exporter: TypeAlias = Callable[..., Any]

_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_DEFAULT_PROTOCOL: Final = "http/protobuf"
_PACKAGES: Final[Mapping[str, str]] = {
    _DEFAULT_PROTOCOL: "opentelemetry.exporter.otlp.proto.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}


class Exporters(NamedTuple):
    """How to make the providers of one exporter; each call makes a new one, with threads of its own."""

    tracer_provider: Callable[[], TracerProvider]
    meter_provider: Callable[[], MeterProvider]


def load(exporter: str) -> Exporters:
    """Import what the exporter (`otlp` or `console`) needs, and no more: nothing is started.

    Raises:
        MissingExtra: a package is not installed; the text names the extra.

    """
    if exporter == "console":
        return Exporters(
            lambda: _tracer_provider(lambda: SimpleSpanProcessor(ConsoleSpanExporter())),
            lambda: _meter_provider(ConsoleMetricExporter()),
        )
    spans, metrics = span_exporter(), metric_exporter()
    return Exporters(
        lambda: _tracer_provider(lambda: _batched(spans)) if spans else NoOpTracerProvider(),
        lambda: _meter_provider(_told(metrics)) if metrics else NoOpMeterProvider(),
    )


def span_exporter() -> Exporter | None:
    """Return how to make the OTLP span exporter, `None` where `OTEL_TRACES_EXPORTER` is `none`.

    Raises:
        MissingExtra: its package is not installed.

    """
    return _otlp("TRACES", "trace_exporter", "OTLPSpanExporter")


def metric_exporter() -> Exporter | None:
    """Return how to make the OTLP metric exporter, likewise."""
    return _otlp("METRICS", "metric_exporter", "OTLPMetricExporter")


def protocol(signal: str) -> str:
    """Return the OTLP protocol of a signal (`TRACES` or `METRICS`): `http/protobuf` or `grpc`."""
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", _PROTOCOL):
        value = os.environ.get(variable, "").strip().lower()
        if value in _PACKAGES:
            return value
        if value:
            allowed = " or ".join(_PACKAGES)
            _log.warning("%s=%r is not allowed (allowed: %s); %s is used", variable, value, allowed, _DEFAULT_PROTOCOL)
            return _DEFAULT_PROTOCOL
    return _DEFAULT_PROTOCOL


def _otlp(signal: str, module: str, name: str) -> Exporter | None:
    variable = f"OTEL_{signal}_EXPORTER"
    named = os.environ.get(variable, "").strip().lower()
    if named == "none":
        return None
    if named and "otlp" not in named:
        _log.warning("%s=%r is ignored by or_instrument, whose exporter is otlp (allowed: otlp, none)", variable, named)
    exporter: Exporter = getattr(require(f"{_PACKAGES[protocol(signal)]}.{module}", "otlp"), name)
    return without_empty_variables()(exporter)


def _tracer_provider(processor: Callable[[], SpanProcessor]) -> TracerProvider:
    with without_fork_hooks(), without_empty_variables():
        provider = SDKTracerProvider(resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(processor())
    return provider


def _meter_provider(exporter: MetricExporter) -> MeterProvider:
    interval_ms = math.inf if is_exiting() else None
    with without_fork_hooks(), without_empty_variables():
        reader = PeriodicExportingMetricReader(exporter, interval_ms)
        return SDKMeterProvider([reader], _resource() or Resource.create(), shutdown_on_exit=False)


# At the interpreter's exit no thread starts any more: each call is exported when it ends, and of the resource there is
# what the SDK finds out without threads.
def _batched(make: Exporter) -> SpanProcessor:
    exporter = UNDELIVERED.watched(make(), SpanExportResult.FAILURE)
    return SimpleSpanProcessor(exporter) if is_exiting() else BatchSpanProcessor(exporter)


def _told(make: Exporter) -> MetricExporter:
    exporter: MetricExporter = UNDELIVERED.watched(make(), MetricExportResult.FAILURE)
    return exporter


def _resource() -> Resource | None:
    if not is_exiting():
        return None
    default = Resource({SERVICE_NAME: "unknown_service", SERVICE_INSTANCE_ID: str(uuid4())})
    return default.merge(OTELResourceDetector().detect())
