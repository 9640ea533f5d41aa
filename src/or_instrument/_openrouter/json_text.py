"""Parses a JSON text of any size.

Above 64 KiB it is not parsed whole: its head and its tail tell who answered, and the bill, which stands near the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from or_instrument._openrouter.events import FINISHED, TELLING

try:  # comes with the OpenAI SDK, and takes half of the time
    from jiter import from_json

    # Its cache would keep up to 16,384 short texts of answers for as long as the process lives.
    _loads: Callable[[bytes], object] = partial(from_json, cache_mode="none")
except ImportError:  # pragma: no cover - another SDK
    _loads = json.loads

LIMIT: Final = 64 * 1024
"""How many bytes are kept and parsed whole."""
_HEAD: Final = 8 * 1024
_TAIL: Final = 24 * 1024
_USAGE: Final = b'"usage"'
_NEXT_KEY: Final = re.compile(r',\s*(?=")')
_USAGE_KEY: Final = re.compile(r'"usage"\s*:\s*\{')
_METADATA: Final = "openrouter_metadata"
_METADATA_KEY: Final = re.compile(rf'"{_METADATA}"\s*:\s*(?=\{{)')
_IS_ERROR: Final = re.compile(rb'\s*\{\s*"error"\s*:\s*\{')
_CODE: Final = re.compile(rb'"code"\s*:\s*"?([A-Za-z0-9_.:-]{1,64})')
_ERROR_TYPE: Final = re.compile(rb'"error_type"\s*:\s*"([A-Za-z0-9_.:-]{1,64})"')
_AFTER_LARGE: Final = re.compile(r'[\]}"]\s*,\s*(?=")')
_TRIES: Final = 25
_decoder: Final = json.JSONDecoder()


def parse_json(text: bytes) -> list[object]:
    """Return the JSON value in a list of one, an empty list where there is none."""
    try:
        return [_loads(text)]
    except ValueError:
        pass
    # What the quicker one refuses: half a surrogate pair, another encoding than UTF-8.
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return []


class Excerpt:
    """A JSON text while it comes in: whole up to 64 KiB, above that its head, its tail, and what stood at `"usage"`."""

    __slots__ = ("_limit", "_text", "_usage", "is_whole")

    def __init__(self, limit: int | None = LIMIT) -> None:
        self._text = bytearray()
        self._usage = b""
        self._limit = limit
        self.is_whole = True

    @property
    def ends_line(self) -> bool:
        """Whether its last byte so far is a line feed."""
        return self._text.endswith(b"\n")

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        if self._limit is None or len(self._text) + len(data) <= self._limit:
            self._text += data
            return
        self.is_whole = False
        for start in range(0, len(data), LIMIT):
            self._text += data[start : start + LIMIT]
            self._usage = usage_in(self._text) or self._usage
            del self._text[_HEAD:-_TAIL]

    def bodies(self) -> list[object]:
        """Return what it says: one value, or what its head and its tail say."""
        text = bytes(self._text)
        if self.is_whole:
            return parse_json(text)
        return parse_ends(text[:_HEAD], text[-_TAIL:], usage_in(text) or self._usage)


def parse_body(text: bytes, limit: int | None = LIMIT, start: int = 0) -> list[object]:
    """Return what a JSON text in memory says: one value, or, above the limit, what its head and its tail say."""
    if limit is None or len(text) - start <= limit:
        return parse_json(text[start:])
    return parse_ends(text[start : start + _HEAD], text[-_TAIL:], usage_in(text))


def usage_in(text: bytes | bytearray) -> bytes:
    """Return what stands at the last `"usage"` of a text that is no null; empty where there is none."""
    start = text.rfind(_USAGE)
    while start >= 0:
        snippet = bytes(text[start : start + _HEAD])
        if TELLING.match(snippet):
            return snippet
        start = text.rfind(_USAGE, 0, start)
    return b""


def parse_ends(head: bytes, tail: bytes, usage: bytes = b"") -> list[object]:
    """Return the fields at the top of an object of which only the head, the tail and what is at `usage` are known."""
    finish = {name.decode(): reason.decode(errors="replace") for name, reason in FINISHED.findall(head + tail)}
    ends_ = (_head_fields(head.decode(errors="replace")), _tail_fields(tail.decode(errors="replace")))
    said = [fields for fields in ends_ if fields]
    if not any("usage" in _inside(fields) for fields in said):
        said += _usage_fields(usage.decode(errors="replace"))
    if not any(_METADATA in fields or _METADATA in _inside(fields) for fields in said):
        said += _metadata_fields(tail.decode(errors="replace"))
    if _IS_ERROR.match(head) and not any("metadata" in _object(fields.get("error")) for fields in said):
        said.append({"error": _error(head + tail)})
    return [*([{"choices": [finish]}] if finish else []), *said]


def _head_fields(head: str) -> dict[str, Any]:
    # What stands before a comma is whole, once the objects around it are closed, at most three of them.
    for found in list(_NEXT_KEY.finditer(head))[:-_TRIES:-1]:
        for close in ("}", "}}", "}}}"):
            with suppress(ValueError, RecursionError):
                return _object(json.loads(head[: found.start()] + close))
    return {}


def _tail_fields(tail: str) -> dict[str, Any]:
    # What follows the last large value up to the end of the object is an object itself, once it is opened.
    usages = [found.start() for found in _USAGE_KEY.finditer(tail)]
    before = [found.end() for found in _AFTER_LARGE.finditer(tail, 0, usages[0] if usages else len(tail))]
    fields: dict[str, Any] = {}
    for start in before[:-_TRIES:-1]:
        more = _opened(tail, start)
        if fields and not more:
            break
        fields = more or fields
    return fields or next(filter(None, (_opened(tail, start) for start in usages)), fields)


def _opened(tail: str, start: int) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        fields, end = _decoder.raw_decode("{" + tail[start:])
        if _is_end(tail[start + end - 1 :]):
            return _object(fields)
    return {}


def _is_end(rest: str) -> bool:
    # Of an event the body is closed before the event itself is, which may have a field more.
    rest = rest.strip()
    return not rest.strip("}") or bool(rest.startswith(",") and parse_json(b'{"":0' + rest.encode()))


def _usage_fields(snippet: str) -> list[dict[str, Any]]:
    with suppress(ValueError, RecursionError):
        return [{"usage": _decoder.raw_decode(snippet.partition(":")[2].lstrip())[0]}]
    return []


def _metadata_fields(tail: str) -> list[dict[str, Any]]:
    # Where usage follows it, what is read of the tail may begin only there.
    for found in _METADATA_KEY.finditer(tail):
        with suppress(ValueError, RecursionError):
            return [{_METADATA: _decoder.raw_decode(tail, found.end())[0]}]
    return []


def _error(ends: bytes) -> dict[str, object]:
    code, kind = _CODE.search(ends), _ERROR_TYPE.search(ends)
    metadata = {} if kind is None else {"error_type": kind[1].decode(errors="replace")}
    return {"code": "error" if code is None else code[1].decode(errors="replace"), "metadata": metadata}


def _inside(fields: dict[str, Any]) -> dict[str, Any]:
    return _object(fields.get("response")) or fields


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
