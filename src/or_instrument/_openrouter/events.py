"""Reads the bytes of a body: server-sent events, or JSON.

A JSON text above 64 KiB is not parsed: its head and its tail tell who answered, and the bill, which stands near the
end. Events are those of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Final

try:  # comes with the OpenAI SDK since 1.50 or so, and takes a third of the time
    from jiter import from_json as _loads
except ImportError:
    _loads = json.loads

LIMIT: Final = 64 * 1024
"""How many bytes are kept and parsed whole."""
_HEAD: Final = 4 * 1024
_TAIL: Final = 28 * 1024
_BLANK_LINE: Final = b"\n\n"
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_TELLING: Final = re.compile(rb'"(?:usage|error)"(?!\s*:\s*null)')
_ENDING: Final = re.compile(
    rb'"(?:native_finish_reason|finish_reason|stop_reason)"\s*:\s*"|"status"\s*:\s*"(?:completed|incomplete|failed)'
)
_FINISHED: Final = re.compile(rb'"((?:native_)?finish_reason)"\s*:\s*"([^"\\]{1,256})"')
# A key whose value may be large: what stands before it is at the top of the object.
_LARGE: Final = re.compile(r',\s*"(?:choices|data|output|embeddings|images|results|content|instructions|tools)"\s*:')
_AFTER_LARGE: Final = re.compile(r'[\]}"]\s*,\s*(?=")')
_TRIES: Final = 9
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


def with_line_feeds(text: bytes) -> bytes:
    """Return a text with each of the three line ends that events may have as a line feed."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def events(block: bytes) -> Iterator[bytes]:
    """Yield the data of each event of a block of whole ones, in their order; comments have none."""
    for event in block.split(_BLANK_LINE):
        lines = [line[len(_DATA) :] for line in event.split(b"\n") if line.startswith(_DATA)]
        if lines:
            yield b"\n".join(lines).strip()


def is_done(data: bytes) -> bool:
    """Return whether the data of an event is the mark that ends a stream."""
    return data.startswith(_DONE)


def tells(block: bytes) -> bool:
    """Return whether there is a usage object or an error in a block: a name in quotes, whose value is not null.

    Inside a text the quotes would be escaped.
    """
    return _TELLING.search(block) is not None


def ends(block: bytes) -> bool:
    """Return whether something in a block says how the answer ended."""
    return _DONE in block or _ENDING.search(block) is not None


def telling(block: bytes, last: int) -> bytes:
    """Return of a block of many events those with usage, an error or a finish reason, and the `last` few."""
    start = tail_start(block, last)
    kept, end = [], 0
    for pattern in (_TELLING, _FINISHED):
        for found in pattern.finditer(block, 0, start):
            if found.start() >= end:
                begin = block.rfind(_BLANK_LINE, 0, found.start()) + len(_BLANK_LINE)
                end = block.find(_BLANK_LINE, found.start()) + len(_BLANK_LINE)
                kept.append((max(begin, 0), end))
        end = 0
    return b"".join([block[begin:end] for begin, end in sorted(set(kept))]) + block[start:]


def tail_start(block: bytes, last: int) -> int:
    """Return where the last few events of a block begin."""
    start = len(block) - len(_BLANK_LINE)
    for _ in range(last):
        start = block.rfind(_BLANK_LINE, 0, max(start, 0))
    return start + len(_BLANK_LINE) if start >= 0 else 0


class Excerpt:
    """A JSON text while it comes in: whole up to 64 KiB, above that its head and its tail."""

    __slots__ = ("_limit", "_text", "is_whole")

    def __init__(self, limit: int | None = LIMIT) -> None:
        self._text = bytearray()
        self.is_whole = True
        self._limit = limit

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        if self._limit is None or len(self._text) + len(data) <= self._limit:
            self._text += data
            return
        self._text += data[: max(_HEAD - len(self._text), 0)]
        self._text += data[-_TAIL:]
        del self._text[_HEAD:-_TAIL]
        self.is_whole = False

    def bodies(self) -> list[object]:
        """Return what it says: one value, or what its head and its tail say."""
        text = bytes(self._text)
        return parse_json(_without_bom(text)) if self.is_whole else parse_ends(text[:_HEAD], text[_HEAD:])


def parse_body(text: bytes, limit: int | None = LIMIT) -> list[object]:
    """Return what a JSON text in memory says: one value, or, above the limit, what its head and its tail say."""
    is_whole = limit is None or len(text) <= limit
    return parse_json(_without_bom(text)) if is_whole else parse_ends(text[:_HEAD], text[-_TAIL:])


def _without_bom(text: bytes) -> bytes:
    return text[len(BOM_UTF8) :] if text.startswith(BOM_UTF8) else text


def parse_ends(head: bytes, tail: bytes) -> list[object]:
    """Return the fields at the top of an object of which only the head and the tail are known."""
    finish = {name.decode(): reason.decode(errors="replace") for name, reason in _FINISHED.findall(head + tail)}
    said = [_head_fields(head.decode(errors="replace")), _tail_fields(tail.decode(errors="replace"))]
    return [*([{"choices": [finish]}] if finish else []), *[fields for fields in said if fields is not None]]


def _head_fields(head: str) -> object:
    found = _LARGE.search(head)
    for close in ("}", "}}") if found else ():
        try:
            return json.loads(head[: found.start()] + close)  # type: ignore[union-attr]
        except (ValueError, RecursionError):
            continue
    return None


def _tail_fields(tail: str) -> object:
    # What follows the last large value up to the end of the object is an object itself, once it is opened.
    usage = tail.rfind('"usage"')
    before = [found.end() for found in _AFTER_LARGE.finditer(tail, 0, usage if usage >= 0 else len(tail))]
    for start in (*before[:-_TRIES:-1], *((usage,) if usage >= 0 else ())):
        try:
            fields, end = _decoder.raw_decode("{" + tail[start:])
        except (ValueError, RecursionError):
            continue
        if not tail[start + end - 1 :].strip("} \r\n\t"):
            return fields
    return None
