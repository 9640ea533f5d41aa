"""Exchanges replayed through the real SDK: what reaches telemetry equals what the body says, to the last digit.

The exchanges under `wire/` are made by hand. Where the variable `OR_INSTRUMENT_RECORDED` names a directory, recorded
ones in it (one JSON file each: `path`, `request`, `status`, `headers`, `body`) are replayed too.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

HTTP: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
HAS_RESPONSES = importlib.util.find_spec("openai.types.responses") is not None
RECORDED = os.environ.get("OR_INSTRUMENT_RECORDED")
FILES = [
    file
    for folder in (Path(__file__).parent.parent / "wire", *([Path(RECORDED)] if RECORDED else []))
    for file in sorted(folder.glob("*.json"))
    # The oldest supported SDKs have no Responses.
    if HAS_RESPONSES or json.loads(file.read_text())["path"] != "responses"
]
MONEY = "openrouter.usage.cost_details."
FINISHES = {"completed": "stop", "failed": "error", "max_output_tokens": "length"}

Exchange = dict[str, Any]


def arguments(exchange: Exchange) -> tuple[str, dict[str, Any]]:
    """Return the SDK method that sends an exchange's request, and its arguments."""
    request = dict(exchange["request"])
    if exchange["path"] == "embeddings":
        method, own = "embeddings", ("model", "input")
    elif exchange["path"] == "responses":
        method, own = "responses", ("model", "input", "stream")
    else:
        method, own = "chat.completions", ("model", "messages", "stream")
    given = {name: request.pop(name) for name in own if name in request}
    return method, {**given, "extra_body": request}


def create(client: Any, exchange: Exchange) -> Any:
    """Send an exchange's request through the SDK."""
    method, given = arguments(exchange)
    for name in method.split("."):
        client = getattr(client, name)
    return client.create(**given)


def transport(exchange: Exchange, sent: list[Any]) -> Any:
    """Return a transport that answers with the exchange, and notes what was sent."""

    def answer(request: Any) -> Any:
        sent.append(json.loads(request.content))
        return HTTP.Response(exchange["status"], headers=exchange["headers"], content=exchange["body"].encode())

    return HTTP.MockTransport(answer)


OPTIONS: dict[str, Any] = {"api_key": "sk-or-test", "base_url": "https://openrouter.ai/api/v1", "max_retries": 0}


def replay(exchange: Exchange, sent: list[Any]) -> None:
    """Replay an exchange on a sync client, to its end."""
    with HTTP.Client(transport=transport(exchange, sent)) as http, openai.OpenAI(http_client=http, **OPTIONS) as client:
        try:
            reply = create(client, exchange)
            if isinstance(reply, openai.Stream):
                for _ in reply:
                    pass
        except openai.APIError:
            assert fails(exchange)


async def areplay(exchange: Exchange, sent: list[Any]) -> None:
    """Replay an exchange on an async client, to its end."""
    async with (
        HTTP.AsyncClient(transport=transport(exchange, sent)) as http,
        openai.AsyncOpenAI(http_client=http, **OPTIONS) as client,
    ):
        try:
            reply = await create(client, exchange)
            if isinstance(reply, openai.AsyncStream):
                async for _ in reply:
                    pass
        except openai.APIError:
            assert fails(exchange)


def bodies(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the JSON objects of a body, numbers with a fraction as exact decimals."""
    text = exchange["body"]
    if not exchange["request"].get("stream") or exchange["status"] != 200:
        return [json.loads(text, parse_float=Decimal)]
    data = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [(event := json.loads(one, parse_float=Decimal)).get("response") or event for one in data]


def fails(exchange: Exchange) -> bool:
    """Return whether the service reports an error."""
    return any(body.get("error") for body in bodies(exchange))


def last(exchange: Exchange, name: str) -> Any:
    """Return the last value of a field that is not null."""
    values = [body[name] for body in bodies(exchange) if body.get(name) is not None]
    return values[-1] if values else None


def tokens_and_money(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that a usage object has to have, with exact amounts."""
    chat = "prompt_tokens" in usage
    read = usage.get("prompt_tokens_details" if chat else "input_tokens_details") or {}
    written = usage.get("completion_tokens_details" if chat else "output_tokens_details") or {}
    tools = usage.get("server_tool_use_details") or usage.get("server_tool_use") or {}
    money = usage.get("cost_details") or {}
    zero_or_more = {
        "gen_ai.usage.input_tokens": usage.get("prompt_tokens" if chat else "input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("completion_tokens" if chat else "output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": read.get("cached_tokens"),
        "gen_ai.usage.cache_creation.input_tokens": read.get("cache_write_tokens"),
        "gen_ai.usage.reasoning.output_tokens": written.get("reasoning_tokens"),
        "openrouter.usage.cost": usage.get("cost"),
        "openrouter.usage.is_byok": usage.get("is_byok"),
        MONEY + "upstream_inference_cost": money.get("upstream_inference_cost"),
        MONEY + "upstream_inference_input_cost": money.get(
            "upstream_inference_" + ("prompt" if chat else "input") + "_cost"
        ),
        MONEY + "upstream_inference_output_cost": money.get(
            "upstream_inference_" + ("completions" if chat else "output") + "_cost"
        ),
        MONEY + "server_tool_cost": money.get("server_tool_cost"),
        "openrouter.usage.spend": spend(usage),
        "gen_ai.usage.cost": spend(usage),
    }
    more_than_zero = {f"openrouter.usage.server_tool_use.{name}": calls for name, calls in tools.items()}
    for side, details in (("input", read), ("output", written)):
        for kind in ("audio", "image", "video"):
            more_than_zero[f"openrouter.usage.{kind}_{side}_tokens"] = details.get(f"{kind}_tokens")
    expected = {name: value for name, value in zero_or_more.items() if value is not None}
    return {**expected, **{name: value for name, value in more_than_zero.items() if value}}


def spend(usage: dict[str, Any]) -> Decimal | None:
    """Return what a call cost: OpenRouter's charge, and for BYOK calls the provider's."""
    if usage.get("cost") is None:
        return None
    upstream = (usage.get("cost_details") or {}).get("upstream_inference_cost") if usage.get("is_byok") else 0
    return None if upstream is None else Decimal(usage["cost"]) + Decimal(upstream)


def reasons(exchange: Exchange) -> tuple[str, ...] | None:
    """Return the finish reasons of a chat's choices in their order, or the one of a response's status."""
    found = {
        choice["index"]: choice["finish_reason"]
        for body in bodies(exchange)
        for choice in body.get("choices") or ()
        if choice.get("finish_reason")
    }
    if exchange["path"] == "responses":
        why = (last(exchange, "incomplete_details") or {}).get("reason") or last(exchange, "status")
        return (FINISHES[why],) if why in FINISHES else None
    return tuple(found[index] for index in sorted(found)) or None


def same(value: Any, expected: Any) -> bool:
    """Return whether a recorded value has exactly the digits of the expected one."""
    if isinstance(expected, bool | tuple | str | None) and not isinstance(value, float):
        return type(value) is type(expected) and value == expected
    return Decimal(repr(value)) == Decimal(expected)


def check(exchange: Exchange, telemetry: Any, sent: list[Any]) -> None:
    """Hold the telemetry of one replayed exchange against its body."""
    (span,), (call,) = telemetry.spans(), telemetry.calls
    attributes = dict(span.attributes)
    usage = last(exchange, "usage") or {}
    expected: dict[str, Any] = {
        "gen_ai.operation.name": "embeddings" if exchange["path"] == "embeddings" else "chat",
        "gen_ai.request.model": exchange["request"]["model"],
        "gen_ai.response.id": last(exchange, "id"),
        "gen_ai.response.model": last(exchange, "model"),
        "openrouter.provider.name": last(exchange, "provider"),
        "openrouter.response.service_tier": last(exchange, "service_tier"),
        "gen_ai.response.finish_reasons": reasons(exchange),
        **tokens_and_money(usage),
    }
    for name, value in expected.items():
        assert same(attributes.get(name), value), (name, attributes.get(name), value)
    counted = {name for name in attributes if name.startswith(("gen_ai.usage.", "openrouter.usage."))}
    assert counted - {"openrouter.usage.source"} == set(tokens_and_money(usage))
    assert (span.status.is_ok, "error.type" in attributes) == (not fails(exchange), fails(exchange))
    assert call.outcome == ("error" if fails(exchange) else "complete")
    check_metrics(telemetry, usage)
    (body,) = sent
    assert body == {"usage": {"include": True}, **added_by_the_sdk(body), **exchange["request"]}


def added_by_the_sdk(body: dict[str, Any]) -> dict[str, Any]:
    """Return what the SDK itself adds to a request."""
    return {name: body[name] for name in ("encoding_format", "stream") if name in body}


def check_metrics(telemetry: Any, usage: dict[str, Any]) -> None:
    """Hold the metric sums of one call against its usage object."""
    metrics, total = telemetry.metrics(), telemetry.total
    cost, chat = spend(usage), "prompt_tokens" in usage
    assert len(metrics["gen_ai.client.operation.duration"]) == 1
    assert ("gen_ai.usage.cost" in metrics) is (cost is not None)
    assert ("openrouter.usage.missing" in metrics) is (cost is None)
    assert Decimal(repr(total("gen_ai.usage.cost"))) == (cost or 0)
    for kind, name in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        sent = usage.get(name if chat else f"{kind}_tokens") or 0
        assert total("gen_ai.client.token.usage", gen_ai__token__type=kind) == sent
    upstream = (usage.get("cost_details") or {}).get("upstream_inference_cost") if usage.get("is_byok") else 0
    assert Decimal(repr(total("openrouter.usage.upstream_cost"))) == (upstream or 0)


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def exchange(request: pytest.FixtureRequest) -> Exchange:
    """Return one exchange."""
    read: Exchange = json.loads(request.param.read_text())
    return read


def test_a_sync_exchange_reaches_telemetry_to_the_last_digit(
    exchange: Exchange, instrumented: Callable[..., Any]
) -> None:
    """Attributes and metric sums equal the body, and the request went out as it was asked."""
    telemetry, sent = instrumented(), []  # type: ignore[var-annotated]
    replay(exchange, sent)
    check(exchange, telemetry, sent)


@pytest.mark.anyio
async def test_an_async_exchange_reaches_telemetry_to_the_last_digit(
    exchange: Exchange, instrumented: Callable[..., Any]
) -> None:
    """The same of the async client."""
    telemetry, sent = instrumented(), []  # type: ignore[var-annotated]
    await areplay(exchange, sent)
    check(exchange, telemetry, sent)


def test_the_sum_over_all_exchanges_is_the_bill(instrumented: Callable[..., Any]) -> None:
    """Several calls on one meter: costs add up, and what is unknown is counted and not added."""
    telemetry, sent = instrumented(), []  # type: ignore[var-annotated]
    exchanges = [json.loads(file.read_text()) for file in FILES]
    for one in exchanges:
        replay(one, sent)
    costs = [spend(last(one, "usage") or {}) for one in exchanges]
    known = [cost for cost in costs if cost is not None]
    assert sum((call.usage.spend_exact for call in telemetry.calls if call.missing is None), Decimal()) == sum(known)
    assert telemetry.total("gen_ai.usage.cost") == pytest.approx(float(sum(known)), rel=1e-12)
    assert telemetry.total("openrouter.usage.missing") == costs.count(None)
