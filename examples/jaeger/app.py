"""A traced FastAPI service: the span of a request holds those of its LLM calls, and says what they cost in all.

python examples/jaeger/app.py    on the fake service; sends OTLP to localhost:4318, see examples/compose.yaml
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI, Request
from openai import AsyncOpenAI
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

PLANNER, WRITER = "openai/gpt-5-mini", "anthropic/claude-sonnet-4.5"
JAEGER = "http://localhost:16686"

app = FastAPI()


async def ask(client: AsyncOpenAI, model: str, question: str) -> str:
    reply = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    return reply.choices[0].message.content or ""


@app.get("/recipe")
async def recipe(request: Request, dish: str) -> dict[str, str]:
    client = request.app.state.client
    span = trace.get_current_span()
    with or_instrument.track(span=span) as cost:
        plan, wine = await asyncio.gather(
            ask(client, PLANNER, f"List the ingredients of {dish}."),
            ask(client, PLANNER, f"Which wine goes with {dish}?"),
        )
        text = await ask(client, WRITER, f"Write a recipe of {dish} from {plan}; suggest {wine}.")
    # Jaeger's list of traces shows the name of the root span and no tags. Rounded, the names stay few.
    span.update_name(f"GET /recipe ${cost.total_usd:.3f}")
    return {"recipe": text, "cost_usd": str(cost.total_usd)}


@asynccontextmanager
async def running(fake: FakeOpenRouter) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the app, whose LLM calls go to the fake service."""
    async with (
        AsyncOpenAI(api_key="sk-or-fake", base_url=fake.base_url) as app.state.client,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as visitor,
    ):
        yield visitor


def set_up_telemetry() -> None:
    """Set up the service's own providers, which or_instrument writes to as well."""
    os.environ.setdefault("OTEL_SERVICE_NAME", "shop")
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))


def need_collector() -> None:
    """End where nobody listens, instead of trying again and again."""
    url = urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318")
    try:
        socket.create_connection((url.hostname, url.port or 80), timeout=3).close()
    except OSError as error:
        start = "docker compose -f examples/compose.yaml up -d, or set OTEL_EXPORTER_OTLP_ENDPOINT"
        raise SystemExit(f"no collector at {url.geturl()} ({error}): {start}") from None


async def main() -> None:
    need_collector()
    set_up_telemetry()
    or_instrument.instrument(hosts=["127.0.0.1"])
    FastAPIInstrumentor.instrument_app(app)
    prices = {PLANNER: ("0.00000025", "0.000002"), WRITER: ("0.000003", "0.000015")}
    with FakeOpenRouter(prices=prices) as fake:
        async with running(fake) as visitor:
            for dish in ("onion soup", "ramen"):
                fake.script(Answer(provider="OpenAI"), Answer(provider="Azure"))
                fake.script(Answer(provider="Anthropic", byok=dish == "ramen", completion_tokens=400))
                answer = await visitor.get("/recipe", params={"dish": dish})
                print(f"{dish}: ${answer.json()['cost_usd']}")
    or_instrument.flush()
    print(f"See them at {JAEGER}/search?service=shop")


if __name__ == "__main__":
    asyncio.run(main())
