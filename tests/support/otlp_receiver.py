"""Real OTLP receivers on loopback, over HTTP and gRPC, that keep what they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

from handled import handled
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Span(NamedTuple):
    """A span as received."""

    name: str
    scope: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class Received:
    """What has been received so far."""

    def __init__(self) -> None:
        self.url = ""
        self.headers: list[Mapping[str, str]] = []
        self._traces: list[ExportTraceServiceRequest] = []
        self._metrics: list[ExportMetricsServiceRequest] = []

    def add(self, request: ExportTraceServiceRequest | ExportMetricsServiceRequest) -> None:
        """Keep an export."""
        kept: list[Any] = self._traces if isinstance(request, ExportTraceServiceRequest) else self._metrics
        kept.append(request)

    def spans(self, scope: str = "or_instrument") -> list[Span]:
        """Return the spans of an instrumentation scope."""
        return [
            Span(span.name, scope, _attributes(span.attributes), _attributes(resource.resource.attributes))
            for request in list(self._traces)
            for resource in request.resource_spans
            for scoped in resource.scope_spans
            if scoped.scope.name == scope
            for span in scoped.spans
        ]

    def total(self, name: str) -> float:
        """Return the sum of a cumulative metric over all processes: the last point of each series counts."""
        last: dict[Any, tuple[int, float]] = {}
        for resource, point in self._points(name):
            series = (resource, point.start_time_unix_nano, repr(sorted(_attributes(point.attributes).items())))
            value = point.sum if hasattr(point, "bucket_counts") else point.as_double or point.as_int
            last[series] = max(last.get(series, (0, 0.0)), (point.time_unix_nano, value))
        return sum(value for _at, value in last.values())

    def _points(self, name: str) -> Iterator[tuple[str, Any]]:
        for request in list(self._metrics):
            for resource in request.resource_metrics:
                who = repr(sorted(_attributes(resource.resource.attributes).items()))
                for scoped in resource.scope_metrics:
                    for metric in scoped.metrics:
                        if metric.name == name:
                            told = getattr(metric, metric.WhichOneof("data"))
                            yield from ((who, point) for point in told.data_points)


@contextmanager
def http_receiver(metrics_status: int = 200) -> Iterator[Received]:
    """Receive OTLP over HTTP with protobuf bodies; answer exports of metrics with a status."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kind = ExportTraceServiceRequest if self.path.endswith("/traces") else ExportMetricsServiceRequest
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            received.add(kind.FromString(body))
            self.send_response(200 if kind is ExportTraceServiceRequest else metrics_status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    with handled(Handler) as port:
        received.url = f"http://127.0.0.1:{port}"
        yield received


@contextmanager
def grpc_receiver() -> Iterator[Received]:
    """Receive OTLP over gRPC, without TLS. Needs grpcio."""
    import grpc  # noqa: PLC0415
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (  # noqa: PLC0415
        MetricsServiceServicer,
        add_MetricsServiceServicer_to_server,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (  # noqa: PLC0415
        TraceServiceServicer,
        add_TraceServiceServicer_to_server,
    )

    received = Received()

    class Traces(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
            received.add(request)
            return ExportTraceServiceResponse()

    class Metrics(MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
            received.add(request)
            return ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Traces(), server)
    add_MetricsServiceServicer_to_server(Metrics(), server)
    received.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
