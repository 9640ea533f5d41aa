"""Fills the dashboard and Jaeger: calls of every kind on the fake service, again and again.

python examples/traffic.py                sends OTLP to localhost:4318 (examples/compose.yaml), until Ctrl-C
python examples/traffic.py --port 9464    serves http://localhost:9464/metrics for Prometheus to scrape
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import time
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import openai
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter, errors

MINI, SONNET, FLASH = "openai/gpt-5-mini", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash"
PRICES = {
    MINI: ("0.00000025", "0.000002"),
    SONNET: ("0.000003", "0.000015"),
    FLASH: ("0.0000003", "0.0000025"),
}
"""USD per input token and per output token."""


LABELS = ("tenant", "openrouter.client", "openrouter.response.service_tier")
"""What the dashboard can group by, besides the labels that are always there."""


class Step(NamedTuple):
    """One call: who makes it, which model it asks, what it gets."""

    tenant: str
    model: str
    answer: Answer
    stream: bool = False
    session: str | None = None


ROUND = (
    Step("acme", MINI, Answer(provider="OpenAI", service_tier="flex", prompt_tokens=420, completion_tokens=80)),
    Step("acme", MINI, Answer(provider="Azure", prompt_tokens=390, completion_tokens=70, delay_s=0.03)),
    Step("acme", SONNET, Answer(provider="Anthropic", prompt_tokens=1200, completion_tokens=300, byok=True)),
    Step("acme", SONNET, Answer(provider="Anthropic", prompt_tokens=1100, completion_tokens=250)),
    Step(
        "umbrella",
        SONNET,
        Answer(provider="Amazon Bedrock", prompt_tokens=2500, cached_tokens=2400, cost="0.00129"),
        session="recipes",
    ),
    # The same conversation goes on at another provider, which has no cache of it.
    Step("umbrella", SONNET, Answer(provider="Anthropic", prompt_tokens=2600, completion_tokens=60), session="recipes"),
    Step("umbrella", FLASH, Answer(provider="Google", prompt_tokens=60, pause_s=0.01), stream=True),
    Step("umbrella", FLASH, errors.rate_limit(2)),
    Step("umbrella", FLASH, Answer(provider="Google", prompt_tokens=60, omit_usage=True)),
)


def make_round(client: openai.OpenAI, fake: FakeOpenRouter) -> None:
    for step in ROUND:
        fake.script(step.answer)
        messages = [{"role": "user", "content": "What shall I cook?"}]
        with or_instrument.attributes(tenant=step.tenant), suppress(openai.APIStatusError):
            options = {"session_id": step.session} if step.session else None
            answer = client.chat.completions.create(
                model=step.model, messages=messages, stream=step.stream, extra_body=options
            )
            if step.stream:
                for _chunk in answer:
                    pass


def need_collector() -> None:
    """End where nobody listens, instead of trying again and again."""
    url = urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318")
    try:
        socket.create_connection((url.hostname, url.port or 80), timeout=3).close()
    except OSError as error:
        start = "docker compose -f examples/compose.yaml up -d, or set OTEL_EXPORTER_OTLP_ENDPOINT"
        raise SystemExit(f"no collector at {url.geturl()} ({error}): {start}") from None


def send_otlp() -> None:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SystemExit("OTLP needs its exporter: pip install '.[otlp]'") from None

    need_collector()
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=5000)
    metrics.set_meter_provider(MeterProvider([reader]))


def serve_metrics(port: int) -> None:
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import start_http_server
    except ImportError:
        raise SystemExit("--port needs the Prometheus exporter: pip install '.[prometheus]'") from None

    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    try:
        start_http_server(port, "127.0.0.1")
    except OSError as error:
        raise SystemExit(f"port {port} cannot be had ({error.strerror}); choose another one with --port") from None
    print(f"metrics: http://127.0.0.1:{port}/metrics", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="serve metrics to Prometheus there, instead of sending OTLP")
    parser.add_argument("--rounds", type=int, help="stop after so many rounds of calls; default: go on until Ctrl-C")
    args = parser.parse_args()
    os.environ.setdefault("OTEL_SERVICE_NAME", "traffic")
    if args.port is None:
        send_otlp()
    else:
        serve_metrics(args.port)
    told = or_instrument.CostTracker()
    or_instrument.instrument(hosts=["127.0.0.1"], metric_attributes=LABELS, sinks=[told])
    print("spent, billed: the service's books; told: without calls whose usage was left out, as on the dashboard")
    rounds = range(1, args.rounds + 1) if args.rounds else itertools.count(1)
    with (
        suppress(KeyboardInterrupt),
        FakeOpenRouter(prices=PRICES) as fake,
        openai.OpenAI(api_key="sk-or-fake", base_url=fake.base_url, max_retries=0) as client,
        or_instrument.observe_account(client, every_s=5),
    ):
        fake.key_limit_usd = 5
        for number in rounds:
            make_round(client, fake)
            books = f"${fake.spend_usd} spent, ${fake.charged_usd} of it billed by OpenRouter"
            print(f"round {number}: {books}; ${told.total_usd} told", flush=True)
            if number != args.rounds:
                time.sleep(1)
    or_instrument.flush()


if __name__ == "__main__":
    main()
