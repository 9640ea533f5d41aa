"""Makes any value plain JSON without bytes in it, redacts its texts, and cuts them until the whole fits a limit."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

Item: TypeAlias = dict[str, object]
"""A message, a part of one, or a tool definition, in the words of the GenAI conventions."""

Items: TypeAlias = tuple[Mapping[str, object], ...]

Redact: TypeAlias = Callable[[str], str | None]
"""Takes a text, returns what may be shown of it, `None` for nothing."""

_DEPTH: Final = 32
_DATA_URL: Final = re.compile(r"(data:[^,]{0,128};base64,)((?:[\w+/=%-]|\\/)+)", re.IGNORECASE)
_WORDS: Final = frozenset(("type", "role", "modality", "mime_type", "id", "finish_reason"))
"""Keys whose values are identifiers by construction, not texts."""
_ESSENTIAL: Final = frozenset(("content", "uri", "file_id", "name", "response", "server_tool_call"))
"""A part that loses one of these says nothing that its type allows."""
_CUTS: Final = 64
_NOTE_LENGTH: Final = 32


def dumps(value: object) -> str:
    """Return a plain value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> object:
    """Return the value that a JSON text holds, the text itself where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def decoded_size(base64: str) -> int:
    """Return how many bytes a base64 text stands for."""
    return len(base64.rstrip("=")) * 3 // 4


def plain(value: object, depth: int = _DEPTH) -> object:
    """Return a copy as JSON that any exporter can encode: no bytes, NaN, lone surrogate or number beyond 64 bits."""
    if isinstance(value, str):
        return _clean(value)
    if value is None or isinstance(value, (bool, int, float)):
        return _number(value)
    if depth and isinstance(value, Mapping):
        return {_clean(key): plain(held, depth - 1) for key, held in value.items() if isinstance(key, str)}
    if depth and isinstance(value, (list, tuple)):
        return [plain(held, depth - 1) for held in value]
    return f"[{type(value).__name__}]"


def redacted(item: Mapping[str, object], redact: Redact) -> Item | None:
    """Return the item with every text redacted, `None` where nothing of it may be shown.

    Structured values (arguments, parameters) are shown to `redact` as one JSON text, numbers and keys included. Raises
    what `redact` raises, and `TypeError` where it returns neither a text nor `None`.
    """
    shown: Item = {}
    for key, value in item.items():
        if key in _WORDS or value is None or isinstance(value, (bool, int, float)):
            shown[key] = value
        elif key == "parts" and isinstance(value, list):
            shown[key] = [part for held in value if (part := redacted(held, redact)) is not None]
        else:
            text = _redacted_text(value if isinstance(value, str) else dumps(value), redact)
            if text is None and key in _ESSENTIAL and "parts" not in item:
                return None
            if text is not None:
                shown[key] = text if isinstance(value, str) else loads(text)
    return shown


def fit(items: Sequence[Mapping[str, object]], limit: int, note: Callable[[str], Item]) -> Items:
    """Return the items, cut so that their JSON has at most `limit` characters.

    The longest texts are cut first, each with a note of how much is left out. Where that does not do, the oldest items
    are left out, with one `note(text)` in their place.
    """
    if len(dumps(items)) <= limit:
        return tuple(items)
    steps = range(1, _CUTS + 1)
    fitting = bisect_right(steps, limit, key=lambda step: len(dumps(_cut_all(items, limit * step // _CUTS))))
    if fitting:
        return tuple(_cut_all(items, limit * fitting // _CUTS))
    return _newest(_cut_all(items, limit // _CUTS), limit, note)


def _redacted_text(text: str, redact: Redact) -> str | None:
    shown = redact(text)
    if shown is not None and not isinstance(shown, str):
        raise TypeError
    return shown


def _number(value: float | None) -> object:
    if type(value) is int and not -(2**63) <= value < 2**63:
        return hex(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _clean(text: str) -> str:
    text = str.__str__(text)
    if "64," in text:
        text = _DATA_URL.sub(lambda found: f"{found[1]}[{decoded_size(found[2])} bytes]", text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def _cut_all(items: Sequence[Mapping[str, object]], length: int) -> list[Item]:
    return [_cut_item(item, length) for item in items]


def _cut_item(item: Mapping[str, object], length: int) -> Item:
    return {key: value if key in _WORDS else _cut(value, length) for key, value in item.items()}


def _cut(value: object, length: int) -> object:
    if isinstance(value, str) and len(value) > length + _NOTE_LENGTH:
        return f"{value[:length]}…[{len(value) - length} more characters]"
    if isinstance(value, dict):
        return _cut_item(value, length)
    return [_cut(held, length) for held in value] if isinstance(value, list) else value


def _newest(items: list[Item], limit: int, note: Callable[[str], Item]) -> Items:
    size, kept = len(dumps([_left_out(len(items), note)])), len(items)
    while kept and size + len(dumps(items[kept - 1])) < limit:
        kept -= 1
        size += len(dumps(items[kept])) + 1
    return (_left_out(kept, note), *items[kept:])


def _left_out(count: int, note: Callable[[str], Item]) -> Item:
    return note(f"[{count} left out]")
