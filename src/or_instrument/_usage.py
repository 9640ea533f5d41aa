"""Turns a usage object of any endpoint and any age into a `Usage`.

Two families are on the wire: chat, completions and embeddings say `prompt_tokens` and
`cost_details.upstream_inference_prompt_cost`; Responses says `input_tokens` and
`cost_details.upstream_inference_input_cost`. What cannot be read is left out, the rest is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from or_instrument._read import amount, count, flag, get
from or_instrument._records import Usage

_MODALITIES: Final = ("audio", "image", "video")
_SERVER_TOOLS: Final = ("web_search_requests", "tool_calls_requested", "tool_calls_executed")


def parse_usage(usage: object) -> Usage | None:
    """Return the usage in a response's `usage` field, `None` where it is no object or nothing in it can be read."""
    if usage is None or isinstance(usage, (str, bytes, int, float, list, tuple)):
        return None
    prompt = _either(usage, "prompt_tokens_details", "input_tokens_details")
    completion = _either(usage, "completion_tokens_details", "output_tokens_details")
    money = get(usage, "cost_details")
    parsed = Usage(
        count(_either(usage, "prompt_tokens", "input_tokens")),
        count(_either(usage, "completion_tokens", "output_tokens")),
        count(get(prompt, "cached_tokens")) if prompt is not None else None,
        count(get(prompt, "cache_write_tokens")) if prompt is not None else None,
        count(get(completion, "reasoning_tokens")) if completion is not None else None,
        amount(get(usage, "cost")),
        flag(get(usage, "is_byok")),
        *(_cost_details(money) if money is not None else (None, None, None, None)),
        _details(usage, prompt, completion),
    )
    return None if parsed == Usage() else parsed


def _cost_details(money: object) -> tuple[float | None, float | None, float | None, float | None]:
    return (
        amount(get(money, "upstream_inference_cost")),
        amount(_either(money, "upstream_inference_prompt_cost", "upstream_inference_input_cost")),
        amount(_either(money, "upstream_inference_completions_cost", "upstream_inference_output_cost")),
        amount(get(money, "server_tool_cost")),
    )


def _details(usage: object, prompt: object, completion: object) -> Mapping[str, int]:
    details: dict[str, int] = {}
    for side, source in (("input", prompt), ("output", completion)):
        if source is not None:
            for modality in _MODALITIES:
                if tokens := count(get(source, f"{modality}_tokens")):
                    details[f"openrouter.usage.{modality}_{side}_tokens"] = tokens
    tools = _either(usage, "server_tool_use_details", "server_tool_use")
    if tools is not None:
        for name in _SERVER_TOOLS:
            if calls := count(get(tools, name)):
                details[f"openrouter.usage.server_tool_use.{name}"] = calls
    return details


def _either(source: object, name: str, other: str) -> object:
    value = get(source, name)
    return get(source, other) if value is None else value
