"""The way to Jaeger: what the traced FastAPI example sends by OTLP, as a real receiver gets it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from prometheus_server import EXAMPLES
from served import free_port

pytest.importorskip("fastapi")
pytest.importorskip("opentelemetry.instrumentation.fastapi")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
pytest.importorskip("opentelemetry.proto")

from otlp_receiver import Received, http_receiver

APP = EXAMPLES / "jaeger" / "app.py"
SERVER, CLIENT = 2, 3
"""Span kinds of OTLP."""


class Span(NamedTuple):
    """A span as it came over the wire."""

    service: str
    name: str
    kind: int
    id: bytes
    parent: bytes
    trace: bytes
    attributes: dict[str, Any]


def spans_of(received: Received) -> list[Span]:
    """Return every span, the service's own included."""
    return [
        Span(
            values(resource.resource.attributes)["service.name"],
            span.name,
            span.kind,
            span.span_id,
            span.parent_span_id,
            span.trace_id,
            values(span.attributes),
        )
        for request in received._traces
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


def run_app(url: str) -> subprocess.CompletedProcess[str]:
    """Run the example, with its OTLP sent there."""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    command = [sys.executable, str(APP)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def ran() -> Iterator[tuple[Received, str]]:
    """Return what was received after the example has run, and what it printed."""
    with http_receiver() as received:
        done = run_app(received.url)
        assert done.returncode == 0, done.stdout + done.stderr
        yield received, done.stdout


def requests(spans: list[Span]) -> list[Span]:
    """Return the spans of the service's own requests."""
    return [span for span in spans if span.kind == SERVER]


def calls_of(request: Span, spans: list[Span]) -> list[Span]:
    """Return the spans of the LLM calls directly under a request's."""
    return [span for span in spans if span.kind == CLIENT and (span.trace, span.parent) == (request.trace, request.id)]


def test_request_span_holds_the_spans_of_its_calls(ran: tuple[Received, str]) -> None:
    """Both requests have their three LLM calls, and only those, in their own trace."""
    spans = spans_of(ran[0])

    assert len(requests(spans)) == 2
    for request in requests(spans):
        calls = calls_of(request, spans)
        assert sorted(call.attributes["gen_ai.request.model"] for call in calls) == [
            "anthropic/claude-sonnet-4.5",
            "openai/gpt-5-mini",
            "openai/gpt-5-mini",
        ]
        assert {span.service for span in (request, *calls)} == {"shop"}


def test_request_says_what_its_calls_cost(ran: tuple[Received, str]) -> None:
    """The cost on the request's span, in its name and in what the example prints is the sum of its calls' spend."""
    received, printed = ran
    spans = spans_of(received)

    for request in requests(spans):
        spend = sum(call.attributes["openrouter.usage.spend"] for call in calls_of(request, spans))
        assert request.attributes["openrouter.tracked.spend"] == pytest.approx(spend, rel=1e-9)
        assert request.name == f"GET /recipe ${spend:.3f}"
        assert f"${request.attributes['openrouter.tracked.spend']}" in printed


def test_tags_that_are_searched_for_are_there(ran: tuple[Received, str]) -> None:
    """Model, BYOK and cost are tags with the types that a search needs."""
    spans = spans_of(ran[0])
    byok = [span for span in spans if span.attributes.get("openrouter.usage.is_byok") is True]

    assert len(byok) == 1
    assert byok[0].attributes["gen_ai.request.model"] == "anthropic/claude-sonnet-4.5"
    assert isinstance(byok[0].attributes["gen_ai.usage.cost"], float)


def test_metrics_go_the_same_way(ran: tuple[Received, str]) -> None:
    """The receiver gets the cost histogram, which adds up to the spans' spend."""
    received, _ = ran
    spend = sum(span.attributes.get("openrouter.usage.spend", 0) for span in spans_of(received))

    assert received.total("gen_ai.usage.cost") == pytest.approx(spend, rel=1e-9)


def test_nothing_that_was_said_is_sent(ran: tuple[Received, str]) -> None:
    """No prompt and no answer leaves the service."""
    received, _ = ran
    sent = b"".join(request.SerializeToString() for request in (*received._traces, *received._metrics))

    assert b"openai/gpt-5-mini" in sent
    assert b"Which wine" not in sent
    assert b"never sleeps" not in sent


def test_where_nobody_listens_it_ends_with_one_line() -> None:
    """It says where it looked and what to start; the exit code is 1."""
    url = f"http://127.0.0.1:{free_port()}"
    done = run_app(url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"no collector at {url}" in done.stderr
    assert "examples/compose.yaml" in done.stderr
