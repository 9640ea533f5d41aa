"""The usage object of each endpoint, as OpenRouter spells it there: pure functions of an `Exchange`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._answer import UNSET
from ._money import number

if TYPE_CHECKING:
    from ._exchange import Exchange


def usage_of(exchange: Exchange) -> dict[str, object]:
    """Return ``{"usage": ...}`` to be merged into a body; empty where the answer leaves it out."""
    if exchange.answer.omit_usage:
        return {}
    if exchange.answer.usage is not UNSET:
        return {"usage": exchange.answer.usage}
    return {"usage": _SHAPES.get(exchange.kind, _chat)(exchange)}


def _money(exchange: Exchange) -> dict[str, object]:
    """Return ``cost``, ``is_byok`` and ``cost_details``."""
    answer, bill = exchange.answer, exchange.bill
    spelling = answer.cost_details or ("responses" if exchange.kind == "responses" else "chat")
    names = ("input", "output") if spelling == "responses" else ("prompt", "completions")
    upstream = answer.upstream
    if upstream is UNSET:
        upstream = None if bill.upstream is None else number(bill.upstream)
    details = {
        "upstream_inference_cost": upstream,
        f"upstream_inference_{names[0]}_cost": number(bill.input_cost),
        f"upstream_inference_{names[1]}_cost": number(bill.output_cost),
    }
    byok = {} if answer.byok is None else {"is_byok": answer.byok}
    return {**_cost(exchange), **byok, "cost_details": details}


def _cost(exchange: Exchange) -> dict[str, object]:
    scripted = exchange.answer.cost
    return {"cost": number(exchange.bill.cost) if scripted is UNSET else scripted}


def _chat(exchange: Exchange) -> dict[str, object]:
    answer, bill = exchange.answer, exchange.bill
    return {
        "prompt_tokens": bill.prompt_tokens,
        "completion_tokens": bill.completion_tokens,
        "total_tokens": bill.prompt_tokens + bill.completion_tokens,
        **_money(exchange),
        "prompt_tokens_details": {
            "cached_tokens": answer.cached_tokens,
            "cache_write_tokens": answer.cache_write_tokens,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "image_tokens": 0,
            "audio_tokens": 0,
        },
    }


def _responses(exchange: Exchange) -> dict[str, object]:
    answer, bill = exchange.answer, exchange.bill
    return {
        "input_tokens": bill.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": answer.cached_tokens,
            "cache_write_tokens": answer.cache_write_tokens,
        },
        "output_tokens": bill.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": bill.prompt_tokens + bill.completion_tokens,
        **_money(exchange),
    }


def _messages(exchange: Exchange) -> dict[str, object]:
    """Return Anthropic's counts: its input leaves out what was read from the cache and what was written to it."""
    answer, bill = exchange.answer, exchange.bill
    cached, written = answer.cached_tokens, answer.cache_write_tokens
    return {
        "input_tokens": max(bill.prompt_tokens - cached - written, 0),
        "output_tokens": bill.completion_tokens,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        "service_tier": answer.service_tier or "standard",
        "inference_geo": None,
        **_money(exchange),
    }


def _decisions(exchange: Exchange) -> dict[str, object]:
    bill = exchange.bill
    return {"input_tokens": bill.prompt_tokens, "output_tokens": bill.completion_tokens, **_cost(exchange)}


def _batches(exchange: Exchange) -> dict[str, object]:
    """Return what a batch tells: of a BYOK one only the fee."""
    told = _chat(exchange)
    return {**told, "cost_details": None} if exchange.answer.byok else told


def _videos(exchange: Exchange) -> dict[str, object]:
    byok = {} if exchange.answer.byok is None else {"is_byok": exchange.answer.byok}
    return {**_cost(exchange), **byok}


def _embeddings(exchange: Exchange) -> dict[str, object]:
    tokens = exchange.bill.prompt_tokens
    return {"prompt_tokens": tokens, "total_tokens": tokens, **_money(exchange)}


def _rerank(exchange: Exchange) -> dict[str, object]:
    return {"search_units": 1, "total_tokens": exchange.bill.prompt_tokens, **_cost(exchange)}


def _transcriptions(exchange: Exchange) -> dict[str, object]:
    bill = exchange.bill
    return {
        "seconds": 9.2,
        "input_tokens": bill.prompt_tokens,
        "output_tokens": bill.completion_tokens,
        "total_tokens": bill.prompt_tokens + bill.completion_tokens,
        **_cost(exchange),
    }


_SHAPES = {
    "messages": _messages,
    "decisions": _decisions,
    "batches": _batches,
    "videos": _videos,
    "responses": _responses,
    "embeddings": _embeddings,
    "rerank": _rerank,
    "transcriptions": _transcriptions,
}
