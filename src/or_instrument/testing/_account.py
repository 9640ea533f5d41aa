"""The bodies of the account endpoints: /generation, /key, /credits and /models."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, cast

from ._money import Prices, amount, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._books import KeyBook
    from ._exchange import Exchange, Received

_API_TYPES: Final = {
    "embeddings": "embeddings",
    "rerank": "rerank",
    "transcriptions": "stt",
    "speech": "tts",
    "images": "image",
    "decisions": "decisions",
    "videos": "video",
}
_PERIODS: Final = {"": None, "_daily": "daily", "_weekly": "weekly", "_monthly": "monthly"}
_NOTHING_KNOWN: Final[Mapping[str, object]] = dict.fromkeys(
    (
        "app_id",
        "cache_discount",
        "http_referer",
        "moderation_latency",
        "num_fetches",
        "num_input_audio_prompt",
        "num_media_completion",
        "num_media_prompt",
        "num_search_results",
        "preset_id",
        "provider_responses",
        "response_cache_source_id",
        "router",
        "upstream_id",
        "web_search_engine",
        "workspace_id",
    )
)


def generation_data(exchange: Exchange, received: Received) -> dict[str, object]:
    """Return the ``data`` of GET /generation: money and native tokens are what the exchange was charged."""
    answer, bill, request = exchange.answer, exchange.bill, exchange.request
    return {
        **_NOTHING_KNOWN,
        "id": exchange.id,
        "request_id": exchange.id.replace("gen-", "req-", 1),
        "session_id": request.get("session_id") or received.headers.get("x-session-id"),
        "created_at": datetime.fromtimestamp(exchange.created, timezone.utc).isoformat(),
        "api_type": _API_TYPES.get(exchange.kind, "completions"),
        "model": exchange.model,
        "provider_name": answer.provider,
        "origin": received.headers.get("http-referer", ""),
        "external_user": request.get("user"),
        "user_agent": received.headers.get("user-agent"),
        "data_region": "global",
        "service_tier": answer.service_tier,
        "streamed": exchange.streamed,
        "cancelled": answer.abort_after is not None,
        "finish_reason": answer.reason,
        "native_finish_reason": answer.native_reason,
        "latency": 120,
        "generation_time": 80,
        **_tokens(exchange),
        "is_byok": bill.byok or False,
        "usage": number(bill.cost),
        "total_cost": number(bill.cost),
        "upstream_inference_cost": number(bill.byok_cost),
    }


def _tokens(exchange: Exchange) -> dict[str, object]:
    """Return the native counts and OpenRouter's own estimate, which differs from them as it does live."""
    answer, bill = exchange.answer, exchange.bill
    return {
        "tokens_prompt": bill.prompt_tokens * 3 // 4,
        "tokens_completion": bill.completion_tokens * 3 // 4,
        "native_tokens_prompt": bill.prompt_tokens,
        "native_tokens_completion": bill.completion_tokens,
        "native_tokens_completion_images": 0,
        "native_tokens_reasoning": answer.reasoning_tokens,
        "native_tokens_cached": answer.cached_tokens,
    }


def key_data(book: KeyBook, *, management: bool) -> dict[str, object]:
    """Return the ``data`` of GET /key."""
    budgets = book.budgets()
    spent = {f"usage{name}": number(book.charged(interval)) for name, interval in _PERIODS.items()}
    brought = {f"byok_usage{name}": number(book.byok(interval)) for name, interval in _PERIODS.items()}
    return {
        "label": "sk-or-v1-fak...e00",
        "limit": book.limit_usd,
        "limit_remaining": budgets[-1]["remaining_usd"] if book.limit_usd is not None else None,
        "limit_reset": None if book.limit_usd is None else "monthly",
        "include_byok_in_limit": False,
        **spent,
        **brought,
        "is_free_tier": False,
        "is_management_key": management,
        "is_provisioning_key": management,
        "creator_user_id": "user_2fakeFAKEfakeFAKEfakeFAKE00",
        "organization_id": None,
        "workspace_id": None,
        "expires_at": None,
        "allowed_data_regions": ["global"],
        "budgets": budgets,
        "effective_budget": min(budgets, key=_remaining, default=None),
        "free_model_daily_requests": {"used": 0, "limit": 1000, "remaining": 1000},
        "rate_limit": {
            "requests": -1,
            "interval": "10s",
            "note": "This field is deprecated and safe to ignore.",
        },
    }


def _remaining(budget: Mapping[str, object]) -> float:
    return cast("float", budget["remaining_usd"])


def models_body(prices: Prices) -> dict[str, object]:
    """Return the body of GET /models: the priced models, prices as strings in USD per token."""
    data = [_model(name, *price) for name, price in prices.items()]
    return {"data": data, "links": {"next": None}, "total_count": len(data)}


def _model(name: str, prompt: object, completion: object) -> dict[str, object]:
    modalities = {"input_modalities": ["text"], "output_modalities": ["text"], "modality": "text->text"}
    return {
        "id": name,
        "canonical_slug": name,
        "name": name,
        "created": 1_750_000_000,
        "description": "A model of the fake service.",
        "context_length": 128_000,
        "architecture": {**modalities, "tokenizer": "Other", "instruct_type": None},
        "pricing": {"prompt": f"{amount(prompt):f}", "completion": f"{amount(completion):f}"},
        "top_provider": {"context_length": 128_000, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": ["max_tokens", "temperature", "tools"],
        "supported_voices": None,
        "default_parameters": None,
        "links": {"details": f"/api/v1/models/{name}/endpoints"},
    }
