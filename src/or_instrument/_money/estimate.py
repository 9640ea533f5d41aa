"""Estimates, with the price lists of genai-prices, what a call cost whose reply told tokens but no amount."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final

from or_instrument._extras import require
from or_instrument._openrouter.hosts import OPENROUTER
from or_instrument._records import Call, Usage

_PROVIDERS: Final = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
"""Provider names of the GenAI conventions that genai-prices spells otherwise."""


def estimator() -> Callable[[Call], Call]:
    """Return a function that adds an estimate to calls that need one. Raises `MissingExtra`."""
    return partial(_with_estimate, require("genai_prices", "prices"))


def _with_estimate(prices: Any, call: Call) -> Call:
    usage = call.usage
    if usage is None or usage.cost is not None or usage.input_tokens is None:
        return call
    estimate = _estimate(prices, call, usage)
    if estimate is None:
        return call
    return call._replace(reply=call.reply._replace(usage=usage._replace(estimated_cost=estimate, source="estimate")))


def _model(call: Call) -> str | None:
    asked = call.request.model
    # OpenRouter answers without the variant suffix, which may have a price of its own (`:free`).
    return asked if asked and ":" in asked and call.request.provider == OPENROUTER else call.reply.model or asked


def _estimate(prices: Any, call: Call, usage: Usage) -> float | None:
    model = _model(call)
    if model is None:
        return None
    used = prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens or 0,
        cache_read_tokens=usage.cache_read_tokens or 0,
        cache_write_tokens=usage.cache_creation_tokens or 0,
    )
    try:
        price = prices.calc_price(
            used,
            model,
            provider_id=_PROVIDERS.get(call.request.provider, call.request.provider),
            genai_request_timestamp=datetime.fromtimestamp(call.started_ns / 1e9, timezone.utc),
        )
    except (LookupError, ValueError):
        # No such model or provider on the lists, or counts that contradict each other.
        return None
    return float(price.total_price)
