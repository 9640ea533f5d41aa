"""Turns a usage object of any endpoint and any age into a `Usage`.

Two families are on the wire: chat, completions and embeddings say `prompt_tokens` and
`cost_details.upstream_inference_prompt_cost`; Responses says `input_tokens` and
`cost_details.upstream_inference_input_cost`. What cannot be read is left out, the rest is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from or_instrument._read import amount, count, fields, flag
from or_instrument._records import Usage


class _Shape(NamedTuple):
    """What one object may tell: fields of `Usage` with their readers, and details, by the names on the wire."""

    fields: Mapping[str, tuple[str, Callable[[object], object]]]
    details: Mapping[str, str] = {}


def _modalities(side: str) -> Mapping[str, str]:
    return {f"{kind}_tokens": f"openrouter.usage.{kind}_{side}_tokens" for kind in ("audio", "image", "video")}


_USAGE: Final = _Shape(
    {
        "prompt_tokens": ("input_tokens", count),
        "input_tokens": ("input_tokens", count),
        "completion_tokens": ("output_tokens", count),
        "output_tokens": ("output_tokens", count),
        "cost": ("cost", amount),
        "is_byok": ("is_byok", flag),
    }
)
_INPUT: Final = _Shape(
    {"cached_tokens": ("cache_read_tokens", count), "cache_write_tokens": ("cache_creation_tokens", count)},
    _modalities("input"),
)
_OUTPUT: Final = _Shape({"reasoning_tokens": ("reasoning_tokens", count)}, _modalities("output"))
_MONEY: Final = _Shape(
    {
        "upstream_inference_cost": ("upstream_cost", amount),
        "upstream_inference_prompt_cost": ("upstream_input_cost", amount),
        "upstream_inference_input_cost": ("upstream_input_cost", amount),
        "upstream_inference_completions_cost": ("upstream_output_cost", amount),
        "upstream_inference_output_cost": ("upstream_output_cost", amount),
        "server_tool_cost": ("server_tool_cost", amount),
    }
)
_TOOLS: Final = _Shape(
    {},
    {
        name: f"openrouter.usage.server_tool_use.{name}"
        for name in ("web_search_requests", "tool_calls_requested", "tool_calls_executed")
    },
)
_INSIDE: Final = {
    "prompt_tokens_details": _INPUT,
    "input_tokens_details": _INPUT,
    "completion_tokens_details": _OUTPUT,
    "output_tokens_details": _OUTPUT,
    "cost_details": _MONEY,
    "server_tool_use_details": _TOOLS,
    "server_tool_use": _TOOLS,
}


def parse_usage(usage: object) -> Usage | None:
    """Return the usage in a response's `usage` field, `None` where it is no object or nothing in it can be read."""
    said = fields(usage)
    known: dict[str, object] = {}
    details: dict[str, int] = {}
    _read(said, _USAGE, known, details)
    for name, shape in _INSIDE.items():
        if (inside := said.get(name)) is not None:
            _read(fields(inside), shape, known, details)
    return Usage(**known, details=details) if known or details else None  # type: ignore[arg-type]


def _read(source: Mapping[str, object], shape: _Shape, known: dict[str, object], details: dict[str, int]) -> None:
    for name, value in source.items():
        if name in shape.fields:
            field, read = shape.fields[name]
            if (found := read(value)) is not None:
                known.setdefault(field, found)
        elif value and name in shape.details and (units := count(value)):
            details.setdefault(shape.details[name], units)
