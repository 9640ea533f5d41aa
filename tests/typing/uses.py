"""Right and wrong uses of the public names, judged by mypy and pyright, never run.

What is right passes both. Each wrong use carries the error that both must find: an ignore that is not needed is itself
an error to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Literal
from uuid import UUID

from openai import AsyncOpenAI, OpenAI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from typing_extensions import assert_type

import or_instrument
from or_instrument import Call, Content, CostTracker, Credits, Failure, Generation, KeyStatus, Reply, Request, Usage


class Plan(Enum):
    """Such as an application has."""

    PRO = "pro"


def bill(call: Call) -> None:
    """Take a call, as a sink does."""


async def post(call: Call) -> None:
    """Take a call where nobody awaits it."""


def right_options(words: Literal["own", "off"]) -> None:
    """Every option in each spelling that is documented."""
    or_instrument.instrument()
    or_instrument.instrument(tracer_provider=TracerProvider(), meter_provider=MeterProvider(), sinks=[bill, print])
    or_instrument.instrument(hosts="openrouter.ai, proxy.example", metric_attributes=("feature", "tenant"))
    or_instrument.instrument(hosts=["openrouter.ai"], metric_attributes="feature,tenant", backend=["mlflow"])
    or_instrument.instrument(spans=words, exporter="otlp", lookup="missing", broadcast="link", backend="mlflow,phoenix")
    or_instrument.instrument(content="SPAN_AND_EVENT", content_limit=4096, redact=str.upper)
    or_instrument.instrument(content="span_and_event", inject_usage=False, metrics=False, estimate=True)
    or_instrument.instrument(router_metadata=True, ledger="costs.db", metric_values_limit=50, logger_provider=None)
    or_instrument.instrument(exporter="console", broadcast="propagate", content="SPAN_ONLY", clients="all")
    or_instrument.instrument(exporter="none", broadcast="off", content="EVENT_ONLY", clients=["openai", "httpx"])
    or_instrument.instrument(spans="enrich", content="NO_CONTENT")
    or_instrument.instrument(content="span_only")
    or_instrument.instrument(content="event_only")
    or_instrument.instrument(content="no_content")


def wrong_options(word: str) -> None:
    """What `instrument()` refuses with a `ConfigError`, the checkers refuse before."""
    or_instrument.instrument(spans="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(spans=word)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(content="Span_Only")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(exporter="jaeger")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(lookup=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(broadcast="on")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(metrics="sometimes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(hosts=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(metric=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(tracer_provider="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(meter_provider=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(sinks=["print"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument(sinks=[post])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    or_instrument.instrument("own")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


def right_records(call: Call) -> None:
    """The records' fields have the types that they are documented with."""
    assert_type(call.request, Request)
    assert_type(call.reply, Reply)
    assert_type(call.usage, Usage | None)
    assert_type(call.failure, Failure | None)
    assert_type(call.content, Content | None)
    assert_type(call.spend, float | None)
    assert_type(call.outcome, Literal["complete", "closed", "abandoned", "cancelled", "error"])
    assert_type(Usage(input_tokens=5).spend_exact, Decimal | None)


def wrong_records(call: Call) -> None:
    """Records are frozen, and have the fields that they have."""
    call.duration_s = 1.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    _ = call.reply.usage.cost  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    Usage(prompt_tokens=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def right_trackers() -> None:
    """A tracker is a context manager and a sink; its amounts are exact."""
    with or_instrument.track("nightly", limit_usd=Decimal("5")) as cost:
        assert_type(cost, CostTracker)
    assert_type(cost.total_usd, Decimal)
    assert_type(cost.limit_usd, Decimal | None)
    assert_type(cost.by("tenant"), dict[str, Decimal])
    or_instrument.instrument(sinks=[cost])


def wrong_trackers() -> None:
    """Amounts are no lists, and options have names."""
    or_instrument.track(limit_usd=[5])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.track("nightly", 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def right_attributes(tenant: UUID, plan: Plan, since: date) -> None:
    """What becomes a text, a number or a flag, and lists of such."""
    with or_instrument.attributes(tenant=tenant, plan=plan, since=since, price=Decimal("0.10"), step=2, share=0.5):
        pass
    with or_instrument.attributes(cached=True, feature=None, tags=["a", "b"], tenants=(tenant, None), steps=range(2)):
        pass


def wrong_attributes() -> None:
    """What is left out with a warning, the checkers refuse."""
    or_instrument.attributes(tenant=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.attributes(tenant={"a": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.attributes(tenant={"a"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.attributes(tenant=[["a"]])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def right_look_ups(client: OpenAI) -> None:
    """Figures of the account, by a sync client."""
    assert_type(or_instrument.fetch_generation(client, "gen-1", timeout_s=5), Generation)
    assert_type(or_instrument.fetch_key(client), KeyStatus)
    assert_type(or_instrument.fetch_credits(client), Credits)


async def wrong_look_ups(client: OpenAI, aclient: AsyncOpenAI) -> None:
    """A sync client for what is sync, an async one for what is awaited."""
    or_instrument.fetch_key(aclient)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    or_instrument.fetch_credits(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await or_instrument.afetch_key(client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await or_instrument.afetch_key(aclient), KeyStatus)


def errors(error: or_instrument.BudgetExceeded, failed: or_instrument.LookupFailed) -> Mapping[str, object]:
    """What an error carries has a type too."""
    assert_type(error.spent_usd, Decimal)
    assert_type(failed.attempts, int)
    return {"scope": error.name, "question": failed.question}
