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

_Reader = Callable[[object], object]


class _Shape(NamedTuple):
    """What one object may tell, by the names on the wire."""

    fields: Mapping[str, tuple[int, type, _Reader]]
    """Which field of `Usage` it is, the type that it has as a rule, and the reader of all others."""
    details: Mapping[str, str]


_TYPES: Final[Mapping[_Reader, type]] = {count: int, amount: float, flag: bool}


def _shape(fields: Mapping[str, tuple[str, _Reader]], details: Mapping[str, str] = {}) -> _Shape:
    places = {name: (Usage._fields.index(field), _TYPES[read], read) for name, (field, read) in fields.items()}
    return _Shape(places, details)


def _modalities(side: str) -> Mapping[str, str]:
    return {f"{kind}_tokens": f"openrouter.usage.{kind}_{side}_tokens" for kind in ("audio", "image", "video")}


_INPUT: Final = _shape(
    {"cached_tokens": ("cache_read_tokens", count), "cache_write_tokens": ("cache_creation_tokens", count)},
    _modalities("input"),
)
_OUTPUT: Final = _shape({"reasoning_tokens": ("reasoning_tokens", count)}, _modalities("output"))
_MONEY: Final = _shape(
    {
        "upstream_inference_cost": ("upstream_cost", amount),
        "upstream_inference_prompt_cost": ("upstream_input_cost", amount),
        "upstream_inference_input_cost": ("upstream_input_cost", amount),
        "upstream_inference_completions_cost": ("upstream_output_cost", amount),
        "upstream_inference_output_cost": ("upstream_output_cost", amount),
        "server_tool_cost": ("server_tool_cost", amount),
    }
)
_TOOLS: Final = _shape(
    {},
    {
        name: f"openrouter.usage.server_tool_use.{name}"
        for name in ("web_search_requests", "tool_calls_requested", "tool_calls_executed")
    },
)
_USAGE: Final = _shape(
    {
        "prompt_tokens": ("input_tokens", count),
        "input_tokens": ("input_tokens", count),
        "completion_tokens": ("output_tokens", count),
        "output_tokens": ("output_tokens", count),
        "cost": ("cost", amount),
        "is_byok": ("is_byok", flag),
    },
)
_INSIDE: Final = (
    ("prompt_tokens_details", _INPUT),
    ("input_tokens_details", _INPUT),
    ("completion_tokens_details", _OUTPUT),
    ("output_tokens_details", _OUTPUT),
    ("cost_details", _MONEY),
    ("server_tool_use", _TOOLS),
    ("server_tool_use_details", _TOOLS),
)
"""Of two names for the same, the later one wins."""
_UNKNOWN: Final[list[object]] = [None] * Usage._fields.index("details")
_SOURCE: Final = Usage().source
_LARGEST: Final = 2**63 - 1


def parse_usage(usage: object) -> Usage | None:
    """Return the usage in a response's `usage` field, `None` where it is no object or nothing in it can be read."""
    known = _UNKNOWN.copy()
    details: dict[str, int] = {}
    said = fields(usage)
    _read(said, _USAGE, known, details)
    for name, shape in _INSIDE:
        if name in said:
            _read(fields(said[name]), shape, known, details)
    if not details and known == _UNKNOWN:
        return None
    return Usage._make((*known, details, _SOURCE, None))


def _read(source: Mapping[str, object], shape: _Shape, known: list[object], details: dict[str, int]) -> None:
    places, named = shape
    for name, value in source.items():
        if name in places:
            index, usual, read = places[name]
            # Nearly all values pass the first check; to call a reader for each would take longer than all else here.
            if type(value) is usual and 0 <= value <= _LARGEST:  # type: ignore[operator]
                known[index] = value
            elif value is not None and (said := read(value)) is not None:
                known[index] = said
        elif value and name in named and (units := count(value)):
            details[named[name]] = units
