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
from or_instrument._openrouter.usage import parse_usage

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
USAGE: Final = b'"usage"'
_TRIES: Final = 64
_STRUCTURE: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}[\]]|,(?=\s*")', re.DOTALL)
"""A text, whole or to the end; a bracket; a comma before a key, or a text."""
_STRUCTURAL: Final = re.compile(r'["{}[\],]')
_CLOSING: Final = {"{": "}", "[": "]"}
_RESPONSE: Final = '"response"'
_IS_ERROR: Final = re.compile(rb'\s*\{\s*"error"\s*:\s*\{')
_CODE: Final = re.compile(rb'"code"\s*:\s*"?([A-Za-z0-9_.:-]{1,64})')
_ERROR_TYPE: Final = re.compile(rb'"error_type"\s*:\s*"([A-Za-z0-9_.:-]{1,64})"')
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
    """Return what stands at the last `"usage"` of a text that tells of one; empty where there is none.

    A field of another kind may have that name too, such as a parameter of a tool that a reply repeats.
    """
    start = len(text)
    for _ in range(_TRIES):
        start = text.rfind(USAGE, 0, start)
        if start < 0:
            break
        snippet = bytes(text[start : start + _HEAD])
        if TELLING.match(snippet) and parse_usage(_object(_value_at(snippet))) is not None:
            return snippet
    return b""


def parse_ends(head: bytes, tail: bytes, usage: bytes = b"") -> list[object]:
    """Return the fields at the top of an object of which only the head, the tail and what is at `usage` are known."""
    finish = {name.decode(): reason.decode(errors="replace") for name, reason in FINISHED.findall(head + tail)}
    fields, is_event = _head_fields(head.decode(errors="replace"))
    before = _object(fields.get("response")) if is_event else fields
    later = _tail_fields(tail.decode(errors="replace"), level=1 + is_event)
    fields |= {"response": {**before, **later}} if is_event else later
    said: list[object] = [{"choices": [finish]}] if finish else []
    # What the head has of a usage object may be cut off; where it is whole, another one is inside of something.
    if usage and "usage" not in later and not ("usage" in before and usage_in(head)):
        said.append({"usage": _value_at(usage)})
    said.append(fields)
    error = _object(fields.get("error"))
    if _IS_ERROR.match(head) and "error_type" not in _object(error.get("metadata")):
        said.append({"error": _error(head + tail)})
    return said


def _head_fields(head: str) -> tuple[dict[str, Any], bool]:
    """Return the fields that begin a body, and whether it is an event, which has the response inside of it."""
    # What stands before a comma is whole, once all that is open there is closed.
    open_, whole, is_event = "", "", False
    for found in _STRUCTURE.finditer(head):
        mark = found[0]
        if mark in _CLOSING:
            open_ = _CLOSING[mark] + open_
        elif mark in _CLOSING.values():
            open_ = open_[1:]
        elif mark == ",":
            whole = head[: found.start()] + open_
        elif mark == _RESPONSE and len(open_) == 1:
            is_event = is_event or head[found.end() :].lstrip().startswith(":")
    with suppress(ValueError, RecursionError):
        return _object(json.loads(whole)), is_event
    return {}, is_event


def _tail_fields(tail: str, level: int) -> dict[str, Any]:
    begins = _STRUCTURAL.search(tail)
    if begins is None:
        return {}
    # The first quote begins a text, or ends one in which the tail begins: who takes it wrongly finds less, or nothing.
    return max((_fields_from(tail, begin, level) for begin in (begins.start(), tail.find('"') + 1)), key=len)


def _fields_from(tail: str, begin: int, level: int) -> dict[str, Any]:
    """Return the last fields of the object that the tail closes at this level, 1 being the whole body.

    They are those after the first of its values that ends here.
    """
    inside, start = 0, None
    for found in reversed(list(_STRUCTURE.finditer(tail, begin))):
        mark = found[0]
        if mark == ",":
            start = found.end() if inside == level else start
        elif mark in _CLOSING:
            inside -= 1
            start = None if inside < level else start  # those were of another object beside it
        elif mark in _CLOSING.values():
            inside += 1
    with suppress(ValueError, RecursionError):
        return {} if start is None else _object(_decoder.raw_decode("{" + tail[start:].lstrip())[0])
    return {}


def _value_at(key: bytes) -> object:
    with suppress(ValueError, RecursionError):
        return _decoder.raw_decode(key.decode(errors="replace").partition(":")[2].lstrip())[0]
    return None


def _error(ends: bytes) -> dict[str, object]:
    code, kind = _CODE.search(ends), _ERROR_TYPE.search(ends)
    metadata = {} if kind is None else {"error_type": kind[1].decode(errors="replace")}
    return {"code": "error" if code is None else code[1].decode(errors="replace"), "metadata": metadata}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
