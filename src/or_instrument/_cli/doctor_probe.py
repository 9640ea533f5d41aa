"""Sends a test span and an empty export of metrics to the OTLP endpoint of the environment; tells what came of them."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from or_instrument._telemetry.exporters import load, metric_exporter, protocol, span_exporter
from or_instrument._telemetry.undelivered import plain
from or_instrument._version import __version__

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


class Sent(NamedTuple):
    """What became of an export."""

    endpoint: str
    protocol: str
    is_accepted: bool
    reason: str


class _Heard(logging.Handler):
    """Keeps the first thing that the exporter says about a failure, instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = self.said or " ".join(record.getMessage().split())


def send_test_span(timeout_s: float) -> Sent | None:
    """Send a span named `or-instrument doctor`; return `None` where no span is to be exported.

    Raises `MissingExtra` where the exporter is not installed.
    """
    make = span_exporter()
    return None if make is None else _sent("TRACES", make(timeout=timeout_s), _span(), timeout_s)


def send_no_metrics(timeout_s: float) -> Sent | None:
    """Send an empty export of metrics, to see whether its path is there; return and raise likewise."""
    make = metric_exporter()
    return None if make is None else _sent("METRICS", make(timeout=timeout_s), MetricsData([]), timeout_s)


def refused_settings() -> Iterator[tuple[str, str]]:
    """Yield each signal that OpenTelemetry makes no exporter for here, with what it says against the settings.

    Raises `MissingExtra` where the exporter is not installed.
    """
    exporters = load("otlp")
    for signal, make in (("spans", exporters.tracer_provider), ("metrics", exporters.meter_provider)):
        try:
            provider: Any = make()
        except Exception as exc:  # noqa: BLE001 - whatever it is, a process of the user's has it too
            yield signal, f"{type(exc).__qualname__}: {exc}"
        else:
            getattr(provider, "shutdown", lambda: None)()


def _sent(signal: str, exporter: Any, data: object, timeout_s: float) -> Sent:
    heard, results = _Heard(), []
    log = logging.getLogger("opentelemetry")
    was_propagated, log.propagate = log.propagate, False
    log.addHandler(heard)
    try:
        # The exporter's own deadline does not cover resolving a name.
        thread = threading.Thread(target=lambda: results.append(exporter.export(data)), daemon=True)
        thread.start()
        thread.join(timeout_s + 1.0)
    finally:
        log.removeHandler(heard)
        log.propagate = was_propagated
    is_accepted = bool(results) and results[0].name == "SUCCESS"
    endpoint, spoken = str(getattr(exporter, "_endpoint", "the endpoint")), protocol(signal)
    if is_accepted:
        return Sent(endpoint, spoken, True, "")
    is_plain_grpc = spoken == "grpc" and bool(getattr(exporter, "_insecure", False))
    return Sent(endpoint, spoken, False, _reason(endpoint, heard.said, timeout_s, is_plain_grpc))


def _reason(endpoint: str, said: str, timeout_s: float, is_plain_grpc: bool) -> str:
    # An exporter that has no time for a second attempt does not say why the first one failed.
    address = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        with socket.create_connection((address.hostname or "", port), timeout_s) as connection:
            if is_plain_grpc and _answers_in_text(connection):
                return "HTTP/1 is spoken there, not the HTTP/2 of gRPC"
    except ConnectionRefusedError:
        return "connection refused"
    except (OSError, ValueError):
        pass
    return plain(said) or f"no answer within {timeout_s:g} seconds"


def _answers_in_text(connection: socket.socket) -> bool:
    # gRPC's own message depends on whether it reads the answer before the connection is reset. HTTP/2 answers with a
    # SETTINGS frame, which begins with a length in binary (RFC 9113, sections 3.4 and 4.1), TLS with a binary alert.
    connection.sendall(_PREFACE)
    begin = connection.recv(4)
    return begin.isascii() and begin.decode("ascii").isprintable() and bool(begin)


def _span() -> Any:
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.get_tracer("or_instrument", __version__).start_span("or-instrument doctor").end()
    return kept.get_finished_spans()
