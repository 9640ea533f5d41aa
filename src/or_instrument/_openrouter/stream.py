"""Keeps of server-sent events, as their bytes pass, what a bill needs: bounded, however long the stream is.

Who answers (the first event), each event with usage or an error, each with a finish reason where several choices were
asked for, and the last few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from or_instrument._openrouter.events import BLANK_LINE, DATA, ends, events, is_done, telling, tells, with_line_feeds
from or_instrument._openrouter.fold import Fold
from or_instrument._openrouter.json_text import LIMIT, USAGE, Excerpt, parse_body

See: TypeAlias = Callable[[object], None]
"""Is shown each body, chunk or event, parsed."""

_ENDS: Final = (b"\n\n", b"\r\n\r\n")
_COLON: Final = ord(":")
"""A comment begins with it."""
_ERROR: Final = b'"error"'
_REASON: Final = b'_reason"'
_LONG: Final = 640
"""How many bytes of a read are kept as the last events; of a longer one what tells is read at once.

Two are kept, and with more bytes an open stream would hold more than 4 KiB.
"""
_LAST: Final = 3


class Events:
    """A stream of events; most reads bring whole ones that tell nothing of a bill, and are only kept as the last."""

    __slots__ = ("_before", "_fold", "_held", "_is_quick", "_is_watched", "_large", "_last", "_rest", "_see", "is_new")

    def __init__(self, fold: Fold, *, several: bool = False, see: See | None = None) -> None:
        self._fold = fold
        self._see = see
        self._is_watched = several
        self._before = self._last = b""
        self._rest: bytearray | None = None
        self._held = b""
        self._large: Excerpt | None = None
        self._is_quick = False
        self.is_new = True
        """Until the first event has passed."""

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        # The two searches are nearly all that a chunk of a long stream costs: `in` asks first whether what it looks for
        # is a number, and backwards is quicker than forwards. A buffer is the transport's, which may use it again.
        if (
            self._is_quick
            and type(data) is bytes
            and data.rfind(USAGE) < 0
            and data.rfind(_ERROR) < 0
            and data.endswith(_ENDS)
            and len(data) <= _LONG
            and data[0] != _COLON
        ):
            self._before = self._last
            self._last = data
            if self._see is not None:
                self._watch(data)
        else:
            self._take(bytes(data))

    def settle(self) -> None:
        """Read what has been kept: the last events, and one that has not come whole."""
        self._flush()
        if self._large is not None:
            self._show_large(self._large)
        if self._rest is not None:
            rest, self._rest = bytes(self._rest), None
            self._watch(rest)
            self._show(rest)

    def _take(self, data: bytes) -> None:
        data = self._normal(data)
        if self._large is not None:
            data = self._grow(self._large, data)
        if self._rest is not None:
            searched = max(len(self._rest) - 1, 0)
            self._rest += data
        else:
            searched, self._rest = 0, bytearray(data)
        end = self._rest.rfind(BLANK_LINE, searched)
        if end >= 0:
            block = bytes(self._rest[: end + len(BLANK_LINE)])
            del self._rest[: len(block)]
            self._take_block(block)
        if len(self._rest) > LIMIT and self._see is None:
            self._large = Excerpt()
            self._large.add(bytes(self._rest).partition(DATA)[2])
            self._rest = None
        self._rest = self._rest or None
        busy = self._rest is not None or self._large is not None or self._held or self.is_new
        self._is_quick = not (busy or self._is_watched)

    def _normal(self, data: bytes) -> bytes:
        # A carriage return may be half of a line end.
        if self._held or b"\r" in data:
            data, self._held = self._held + data, b""
            if data.endswith(b"\r"):
                data, self._held = data[:-1], b"\r"
        return with_line_feeds(data)

    def _take_block(self, block: bytes) -> None:
        if DATA not in block:
            return  # comments push nothing out of what is kept
        self._watch(block)
        if self.is_new and self._begin(block):
            return
        is_long = len(block) > _LONG
        if tells(block) or (self._is_watched and _REASON in block) or (is_long and ends(block)):
            self._flush()
            self._show(block if len(block) <= LIMIT else telling(block, _LAST))
        else:
            self._before, self._last = self._last, b"" if is_long else block

    def _begin(self, block: bytes) -> bool:
        """Read the first event; return whether it is the only one of its block, and need not be kept."""
        them = events(block)
        first = next(them, None)
        if first is None:
            return False
        self.is_new = False
        self._read(first)
        return next(them, None) is None

    def _flush(self) -> None:
        before, last, self._before, self._last = self._before, self._last, b"", b""
        self._show(with_line_feeds(before + last))

    def _show(self, block: bytes) -> None:
        for data in events(block):
            self._read(data)

    def _read(self, data: bytes) -> None:
        if is_done(data):
            self._fold.is_ended = True
        else:
            for body in parse_body(data):
                self._fold.see(body)

    def _grow(self, large: Excerpt, data: bytes) -> bytes:
        """Add to an event in transit that is too large to be parsed; return what follows its end."""
        if large.ends_line and data.startswith(b"\n"):
            self._show_large(large)
            return data[1:]
        end = data.find(BLANK_LINE)
        large.add(data if end < 0 else data[:end])
        if end < 0:
            return b""
        self._show_large(large)
        return data[end + len(BLANK_LINE) :]

    def _show_large(self, large: Excerpt) -> None:
        self._large, self.is_new = None, False
        self._flush()
        for body in large.bodies():
            self._fold.see(body)

    def _watch(self, block: bytes) -> None:
        """Show who captures content each event as it passes, whole however large."""
        if self._see is not None:
            for data in events(block):
                for body in () if is_done(data) else parse_body(data, limit=None):
                    self._see(body)
