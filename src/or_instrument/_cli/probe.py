"""Sends one test span to the OTLP endpoint that the environment names, and tells what came of it."""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from or_instrument._telemetry.exporters import protocol, span_exporter
from or_instrument._version import __version__


class Sent(NamedTuple):
    """What became of the test span."""

    endpoint: str
    protocol: str
    is_accepted: bool
    reason: str


class _Heard(logging.Handler):
    """Keeps what the exporter says about a failure, instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = " ".join(record.getMessage().split())


def send_test_span(timeout_s: float) -> Sent | None:
    """Send a span named `or-instrument doctor`; return `None` where no span is to be exported.

    Raises `MissingExtra` where the exporter is not installed.
    """
    make = span_exporter()
    if make is None:
        return None
    exporter, heard, results = make(timeout=timeout_s), _Heard(), []
    log = logging.getLogger("opentelemetry")
    was_propagated, log.propagate = log.propagate, False
    log.addHandler(heard)
    try:
        # The exporter's own deadline does not cover resolving a name.
        thread = threading.Thread(target=lambda: results.append(exporter.export(_span())), daemon=True)
        thread.start()
        thread.join(timeout_s + 1.0)
    finally:
        log.removeHandler(heard)
        log.propagate = was_propagated
    is_accepted = results == [SpanExportResult.SUCCESS]
    reason = "" if is_accepted else heard.said or f"no answer within {timeout_s:g} seconds"
    return Sent(str(getattr(exporter, "_endpoint", "the endpoint")), protocol("TRACES"), is_accepted, reason)


def _span() -> Any:
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.get_tracer("or_instrument", __version__).start_span("or-instrument doctor").end()
    return kept.get_finished_spans()
