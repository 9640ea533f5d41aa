"""Reads `openrouter_metadata`, with which OpenRouter tells how it routed a call: names, numbers and costs.

https://openrouter.ai/docs, "Router Metadata". Its `summary` and the `data` of a stage may quote the prompt, as where a
guardrail says what it found: neither is read. Of a call that reached no provider some keys are missing.
"""

from __future__ import annotations

from typing import Final

from or_instrument._openrouter.values import amount, count, fields, flag, get, items, label, seconds
from or_instrument._routing_records import Attempt, Routing, Stage

METADATA: Final = "openrouter_metadata"
HEADER: Final = "X-OpenRouter-Metadata"
HEADERS: Final = frozenset((HEADER.lower(), "x-openrouter-experimental-metadata"))
"""The header that asks for it, and its older name, in lower case."""
_LIMIT: Final = 32
_MS_IN_S: Final = 1000


def routing_of(said: object) -> Routing | None:
    """Return what the object tells, `None` where it is no object or nothing in it can be read."""
    source = fields(said)
    time_ms = seconds(source.get("generation_time"))
    routing = Routing(
        requested=label(source.get("requested")),
        strategy=label(source.get("strategy")),
        region=label(source.get("region")),
        attempt=count(source.get("attempt")),
        attempts=tuple(map(_attempt, items(source.get("attempts"))[:_LIMIT])),
        pipeline=tuple(map(_stage, items(source.get("pipeline"))[:_LIMIT])),
        provider=_selected(get(source.get("endpoints"), "available")),
        is_byok=flag(source.get("is_byok")),
        generation_time_s=None if time_ms is None else time_ms / _MS_IN_S,
    )
    return None if routing == Routing() else routing


def _attempt(said: object) -> Attempt:
    return Attempt(label(get(said, "provider")), label(get(said, "model")), count(get(said, "status")))


def _stage(said: object) -> Stage:
    return Stage(label(get(said, "type")), label(get(said, "name")), amount(get(said, "cost_usd")))


def _selected(available: object) -> str | None:
    for endpoint in items(available):
        if get(endpoint, "selected") is True:
            return label(get(endpoint, "provider"))
    return None
