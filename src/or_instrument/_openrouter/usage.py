"""Turns a usage object of any endpoint and any age into a `Usage`.

Three families are on the wire: chat, completions and embeddings say `prompt_tokens` and
`cost_details.upstream_inference_prompt_cost`; Responses says `input_tokens` and
`cost_details.upstream_inference_input_cost`; Anthropic's messages say `input_tokens` too, but leave out what was read
from the cache and what was written to it. What cannot be read is left out, the rest is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, Union

from or_instrument._openrouter.values import amount, count, fields, flag, label, length, seconds
from or_instrument._records import Usage

_Detail: TypeAlias = tuple[str, Callable[[object], int | float | str | None]]
"""The attribute that a detail becomes, and how it is read; only counts that are not 0 are details."""
_Tree: TypeAlias = Mapping[str, Union[int, _Detail, "_Tree"]]
"""What an object may tell, by the names on the wire: where in `Usage` it goes, or as which detail, or what an object
inside may tell. Of two names for the same, the one that is not 0 counts."""

_READ: Final[Mapping[str, Callable[[object], object]]] = {
    "input_tokens": count,
    "output_tokens": count,
    "cache_read_tokens": count,
    "cache_creation_tokens": count,
    "reasoning_tokens": count,
    "cost": amount,
    "is_byok": flag,
    "upstream_cost": amount,
    "upstream_input_cost": amount,
    "upstream_output_cost": amount,
    "server_tool_cost": amount,
}
_READERS: Final = tuple(_READ[field] for field in Usage._fields[: len(_READ)])
_at: Final = Usage._fields.index


def _counts(prefix: str, *told: str) -> Mapping[str, _Detail]:
    return {name: (f"{prefix}.{name}", count) for name in told}


def _modalities(side: str, *kinds: str) -> Mapping[str, _Detail]:
    return {f"{kind}_tokens": (f"openrouter.usage.{kind}_{side}_tokens", count) for kind in kinds}


_INPUT_DETAILS: Final[_Tree] = {
    "cached_tokens": _at("cache_read_tokens"),
    "cache_write_tokens": _at("cache_creation_tokens"),
    **_modalities("input", "text", "file", "audio", "image", "video"),
}
_OUTPUT_DETAILS: Final[_Tree] = {
    "reasoning_tokens": _at("reasoning_tokens"),
    "thinking_tokens": _at("reasoning_tokens"),
    "accepted_prediction_tokens": ("openrouter.usage.accepted_prediction_tokens", count),
    "rejected_prediction_tokens": ("openrouter.usage.rejected_prediction_tokens", count),
    **_modalities("output", "text", "audio", "image", "video"),
}
_TOOL_DETAILS: Final[_Tree] = _counts(
    "openrouter.usage.server_tool_use",
    "web_search_requests",
    "web_fetch_requests",
    "tool_calls_requested",
    "tool_calls_executed",
)
_USAGE: Final[_Tree] = {
    "prompt_tokens": _at("input_tokens"),
    "input_tokens": _at("input_tokens"),
    "completion_tokens": _at("output_tokens"),
    "output_tokens": _at("output_tokens"),
    "cache_read_input_tokens": _at("cache_read_tokens"),
    "cache_creation_input_tokens": _at("cache_creation_tokens"),
    "cache_creation": _counts(
        "openrouter.usage.cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"
    ),
    "search_units": ("openrouter.usage.search_units", count),
    "seconds": ("openrouter.usage.audio_seconds", seconds),
    "service_tier": ("openrouter.usage.service_tier", label),
    "speed": ("openrouter.usage.speed", label),
    "iterations": ("openrouter.usage.iterations", length),
    "cost": _at("cost"),
    "is_byok": _at("is_byok"),
    "prompt_tokens_details": _INPUT_DETAILS,
    "input_tokens_details": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "output_tokens_details": _OUTPUT_DETAILS,
    "cost_details": {
        "upstream_inference_cost": _at("upstream_cost"),
        "upstream_inference_prompt_cost": _at("upstream_input_cost"),
        "upstream_inference_input_cost": _at("upstream_input_cost"),
        "upstream_inference_completions_cost": _at("upstream_output_cost"),
        "upstream_inference_output_cost": _at("upstream_output_cost"),
        "server_tool_cost": _at("server_tool_cost"),
    },
    "server_tool_use": _TOOL_DETAILS,
    "server_tool_use_details": _TOOL_DETAILS,
}
_APART: Final = frozenset(("cache_read_input_tokens", "cache_creation_input_tokens"))
APART: Final = _APART | {"input_tokens"}
"""The names of which an object must have one for its input to leave out the cache."""
_UNKNOWN: Final[list[object]] = [None] * len(_READERS)
_SOURCE: Final = Usage().source


def parse_usage(source: Mapping[str, object]) -> Usage | None:
    """Return what one usage object tells, `None` where nothing in it can be read; its input as it is spelled."""
    known = _UNKNOWN.copy()
    details: dict[str, int | float | str] = {}
    _read(source, _USAGE, known, details)
    if not details and known == _UNKNOWN:
        return None
    return Usage._make((*known, details, _SOURCE, None, False))


class Apart(NamedTuple):
    """Whether the cache has to be added to the input: only Anthropic's `input_tokens` leaves it out."""

    is_bare: bool | None = None
    """Whether the input that counts is spelled so; `None` while none was told."""
    is_told: bool = False
    """Whether counters of the cache stood beside it, in this object of a stream or another."""

    def after(self, source: Mapping[str, object]) -> Apart:
        """Return the same once a further usage object has come, of which a 0 replaces no number."""
        bare, whole = count(source.get("input_tokens")), count(source.get("prompt_tokens"))
        is_bare = self.is_bare
        if bare or whole or (bare is not None and is_bare is None):
            is_bare = not whole and not source.get("input_tokens_details")
        return Apart(is_bare, self.is_told or not _APART.isdisjoint(source))

    def whole(self, usage: Usage) -> Usage:
        """Return the usage with all of its input."""
        if not (self.is_bare and self.is_told) or usage.input_tokens is None:
            return usage
        cached = (usage.cache_read_tokens or 0) + (usage.cache_creation_tokens or 0)
        return usage._replace(input_tokens=count(usage.input_tokens + cached))


def _read(
    source: Mapping[str, object], tree: _Tree, known: list[object], details: dict[str, int | float | str]
) -> None:
    for name, value in source.items():
        place = tree.get(name)
        if place is None or value is None:
            continue
        if type(place) is int:
            said = _READERS[place](value)
            # Gateways fill in the name that is not theirs with 0.
            if said or (said is not None and known[place] is None):
                known[place] = said
        elif type(place) is tuple:
            # Most details are 0, which says nothing.
            if value and (detail := place[1](value)):
                details[place[0]] = detail
        else:
            _read(fields(value), place, known, details)  # type: ignore[arg-type]


def merge(former: Usage, later: Usage | None) -> Usage:
    """Return what two usage objects of one stream tell together, field by field.

    What the later one leaves out erases nothing, and its 0 replaces no number: services send the tokens first and the
    cost next, or close with an empty object. Where it tells no cost, its `is_byok: false` says nothing.
    """
    if later is None:
        return former
    if later.is_byok is False and former.is_byok is not None and not (later.cost or later.upstream_cost):
        later = later._replace(is_byok=None)
    told = [_later(*pair) for pair in zip(former[: len(_READERS)], later[: len(_READERS)], strict=True)]
    return former._replace(**dict(zip(Usage._fields, told, strict=False)), details={**former.details, **later.details})


def _later(former: object, later: object) -> Any:
    if later is None:
        return former
    return later if later or former is None or isinstance(later, bool) else former
