"""A FastAPI service that knows what each of its customers costs.

python examples/fastapi_tenants.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header, Request
from openai import AsyncOpenAI
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest

import or_instrument
from or_instrument.testing import FakeOpenRouter


async def of_tenant(x_tenant: Annotated[str, Header()]) -> AsyncIterator[None]:
    """Every call made while the request is handled is that tenant's."""
    with or_instrument.attributes(tenant=x_tenant):
        yield


app = FastAPI()


@app.post("/summary", dependencies=[Depends(of_tenant)])
async def summary(request: Request) -> str:
    text = (await request.body()).decode()
    reply = await request.app.state.client.chat.completions.create(
        model="openai/gpt-5-mini", messages=[{"role": "user", "content": f"In one sentence: {text}"}]
    )
    return reply.choices[0].message.content or ""


@app.get("/metrics")
async def scraped() -> str:
    return generate_latest().decode()


@asynccontextmanager
async def visitor() -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the app, whose LLM calls go to the fake service."""
    with FakeOpenRouter() as fake:
        async with (
            AsyncOpenAI(base_url=fake.base_url, api_key="sk-or-fake") as app.state.client,
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
        ):
            yield client


async def main() -> None:
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    # Each tenant becomes a label of the metrics, so there must not be too many of them.
    or_instrument.instrument(hosts=["127.0.0.1"], metric_attributes=["tenant"])

    async with visitor() as client:
        asked = {"acme": "A short text.", "umbrella": "A long text. " * 200}
        requests = [client.post("/summary", content=text, headers={"X-Tenant": name}) for name, text in asked.items()]
        await asyncio.gather(*requests)
        for line in (await client.get("/metrics")).json().splitlines():
            if line.startswith("gen_ai_usage_cost_USD_sum"):
                tenant = line.partition('tenant="')[2].partition('"')[0]
                print(f"{tenant:10} ${float(line.rpartition(' ')[2]):.6f}")


if __name__ == "__main__":
    asyncio.run(main())
