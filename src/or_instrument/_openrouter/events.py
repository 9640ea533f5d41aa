"""Keeps of a body that somebody else reads what its usage needs: all of a JSON body, the last events of a stream.

Of a stream that the SDK decodes it keeps nothing, but tells which of the decoded chunks are worth keeping.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

_JSON_LIMIT: Final = 4 * 1024 * 1024
_EVENT_LIMIT: Final = 4 * 1024 * 1024
_TRIM_AT: Final = 4096
_EVENTS_KEPT: Final = 3
_DATA: Final = b"data:"
_DATA_LINE: Final = b"\ndata:"
_CHOICES: Final = b'"choices":['
_USAGE: Final = b'"usage":'
_NO_USAGE: Final = b'"usage":null'
_FINISHED: Final = b'_reason":"'
_CARRIED: Final = max(map(len, (_CHOICES, _USAGE, _FINISHED))) - 1


class JSONKeeper:
    """Keeps a JSON body whole, up to a bound of 4 MiB."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def has_data(self) -> bool:
        """Whether any byte has passed."""
        return self._size > 0

    @property
    def is_whole(self) -> bool:
        """Whether the body was small enough to be kept."""
        return self._size <= _JSON_LIMIT

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._size += len(data)
        if self._size <= _JSON_LIMIT:
            self._parts.append(data)
        else:
            self._parts.clear()

    def chunks(self) -> list[object]:
        """Return the body in a list of its own."""
        return parse_json(b"".join(self._parts))


class EventKeeper:
    """Keeps the last events of a server-sent event stream: the usage is in the last one or two."""

    is_whole = True

    def __init__(self) -> None:
        self._tail = bytearray(b"\n")
        self._trim_at = _TRIM_AT
        self.has_data = False

    def feed(self, data: bytes) -> None:
        """Take in the next bytes, and let go of events that are no longer among the last."""
        self._tail += data
        self.has_data = self.has_data or _DATA_LINE in self._tail
        if len(self._tail) > self._trim_at:
            self._trim()

    def chunks(self) -> list[object]:
        """Return the last events' data, oldest first; comments, `[DONE]` and broken events are left out."""
        return event_data(bytes(self._tail).splitlines())

    def _trim(self) -> None:
        # A line break inside a JSON string is escaped, so only the start of an event can match.
        cut = len(self._tail)
        for _ in range(_EVENTS_KEPT + 1):
            cut = self._tail.rfind(_DATA_LINE, 0, max(cut, 0))
        if cut > 0:
            del self._tail[:cut]
        elif len(self._tail) > _EVENT_LIMIT:
            self._tail = bytearray(b"\n")
        # Searching again only after as much again has come keeps the work linear in the stream's length.
        self._trim_at = max(_TRIM_AT, 2 * len(self._tail))


class Telltale:
    """Tells from the bytes of a chat stream whether they bring mere text, so that no chunk before them is needed.

    They do where they hold a choice, as OpenRouter writes one: without spaces, and neither they nor any bytes before
    hold usage or a finish reason. A stream that is written in another way, or of other events, brings no text.
    """

    __slots__ = ("_carried", "_has_told")

    def __init__(self) -> None:
        self._carried = b""
        self._has_told = False

    def is_text(self, data: bytes) -> bool:
        """Take in the next bytes; return whether they bring text."""
        if self._has_told:
            return False
        seen = self._carried + data if self._carried else data
        # What is looked for may be cut in two, though not by a read that ends with an event.
        self._carried = b"" if seen[-1:] == b"\n" else seen[-_CARRIED:]
        # What is not there is found missing in half the time by rfind.
        self._has_told = seen.rfind(_FINISHED) >= 0 or (seen.rfind(_USAGE) >= 0 and _has_usage(seen))
        return not self._has_told and seen.find(_CHOICES) >= 0


def _has_usage(seen: bytes) -> bool:
    return seen.count(_USAGE) > seen.count(_NO_USAGE)


def event_data(lines: Iterable[bytes]) -> list[object]:
    """Return the parsed data of each event among the lines of a stream; what is no data, or broken, is left out."""
    return [chunk for line in lines if line.startswith(_DATA) for chunk in parse_json(line[len(_DATA) :])]


def parse_json(text: bytes) -> list[object]:
    """Return the JSON value in a list of one, an empty list where there is none."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return []
