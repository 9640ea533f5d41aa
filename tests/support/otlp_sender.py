"""Makes calls on the fake service and sends their spans by OTLP, as an application does."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import openai
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

KNOWN, UNKNOWN = "openai/gpt-5-mini", "anthropic/claude-sonnet-4.5"
"""Models that MLflow's price table has, and has not."""


def send_calls(url: str, backend: str | None, headers: Mapping[str, str] | None = None) -> dict[str, Decimal]:
    """Make two calls, whose cost is not what a price table says; return the USD of each by its model."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{url}/v1/traces", headers=dict(headers or {}), timeout=60)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    or_instrument.instrument(
        hosts="127.0.0.1", tracer_provider=provider, metrics=False, content="SPAN_ONLY", backend=backend
    )
    try:
        with (
            FakeOpenRouter() as fake,
            openai.OpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0) as client,
        ):
            fake.script(
                Answer(cost="0.123456", provider="Azure", content="Titan."),
                Answer(cost="0.010544", provider="Anthropic", content="Rhea."),
            )
            for model in (KNOWN, UNKNOWN):
                question = {"role": "user", "content": "Name a moon of Saturn."}
                client.chat.completions.create(model=model, messages=[question])  # type: ignore[list-item]
            assert fake.spend_usd == Decimal("0.134000")
    finally:
        or_instrument.uninstrument()
        provider.shutdown()
    return {KNOWN: Decimal("0.123456"), UNKNOWN: Decimal("0.010544")}
