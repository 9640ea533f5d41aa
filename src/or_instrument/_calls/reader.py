"""Reads an answer's bytes as they pass, and keeps what the bill needs of them, bounded however long the answer is.

What a body is shows its first byte, whatever its content type says: JSON answers calls that asked for a stream, events
those that did not, and either is sent as `text/plain`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from or_instrument._calls.shield import report
from or_instrument._openrouter.failure import with_refusal
from or_instrument._openrouter.fold import Fold
from or_instrument._openrouter.headers import NO_HEADERS, Headers
from or_instrument._openrouter.json_text import LIMIT, Excerpt, parse_body
from or_instrument._openrouter.stream import Events, See
from or_instrument._records import Failure, Reply

_BLANKS: Final = b" \t\r\n\xef\xbb\xbf"
_BEGINS: Final = re.compile(b"[^" + _BLANKS + b"]")
_SEVERAL: Final = 16 * LIMIT
"""How much is read whole where several choices were asked for: of a larger one each reason stands anywhere."""
_EVENT_STARTS: Final = b":deir"
"""A comment, or one of the fields data, event, id, retry."""


class Reader:
    """Reads one answer."""

    __slots__ = ("_fold", "_limit", "_see", "_several", "headers", "kept", "refusal")

    def __init__(self, *, several: bool = False, see: See | None = None) -> None:
        """Know whether several choices were asked for, and who sees each body: a large one is then read whole."""
        self._fold = Fold()
        self._several = several
        self._see = see
        self._limit = None if see is not None else _SEVERAL if several else LIMIT
        self.headers: Headers = NO_HEADERS
        self.refusal: Failure | None = None
        """What the status of a refused request tells."""
        self.kept: Kept | None = None
        """What its bytes turned out to be; `None` until the first that is not blank."""

    @property
    def has_event(self) -> bool:
        """Whether the first event of a stream has passed."""
        return type(self.kept) is Events and not self.kept.is_new

    @property
    def feed_events(self) -> Callable[[bytes], None]:
        """What takes in the bytes after the first event, without asking again what they are."""
        return self.feed if self.kept is None else self.kept.feed

    @property
    def is_ended(self) -> bool:
        """Whether the answer, as far as it has been read, says that it is at its end; after `reply`, all of it."""
        return self._fold.is_ended

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        if self.kept is None:
            data = bytes(data).lstrip(_BLANKS)
            if not data:
                return
            self.kept = self._kind(data)
        self.kept.feed(data)

    def read(self, body: bytes) -> None:
        """Take in a whole body that is in memory, without a copy of it."""
        self.kept, begins = None, _BEGINS.search(body)
        if begins is None:
            return
        if begins[0] == b"{":
            _show(parse_body(body, self._limit, begins.start()), self._fold, self._see)
        else:
            self.kept = kept = self._kind(begins[0])
            kept.feed(body[begins.start() :])

    def reply(self, failure: Failure | None = None, otherwise: Failure | None = None) -> Reply:
        """Return what was answered.

        A `failure` that was seen from outside goes before the one that the answer tells of, that before `otherwise`.
        """
        try:
            if self.kept is not None:
                self.kept.settle()
            reply = self._fold.reply(failure, self.headers)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("reading a reply", exc)
            reply = Reply(failure=failure, **self.headers._asdict())
        if self.refusal is not None:
            return reply._replace(failure=with_refusal(reply.failure, self.refusal))
        return reply if otherwise is None or reply.failure is not None else reply._replace(failure=otherwise)

    def _kind(self, data: bytes) -> Kept:
        if data.startswith(b"{"):
            return Body(self._fold, self._see, self._limit)
        return Events(self._fold, several=self._several, see=self._see) if data[0] in _EVENT_STARTS else Nothing()


class Nothing:
    """Bytes of a kind that tells no bill: speech, a list."""

    __slots__ = ()

    def feed(self, data: bytes) -> None:
        """Let them pass."""

    def settle(self) -> None:
        """Find nothing."""


class Body:
    """A JSON body that comes in pieces."""

    __slots__ = ("_excerpt", "_fold", "_limit", "_see")

    def __init__(self, fold: Fold, see: See | None, limit: int | None) -> None:
        self._fold = fold
        self._see = see
        self._limit = limit
        self._excerpt: Excerpt | None = None

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        if self._excerpt is None:
            self._excerpt = Excerpt(self._limit)
        self._excerpt.add(data)

    def settle(self) -> None:
        """Read what has come, once."""
        excerpt, self._excerpt = self._excerpt, None
        if excerpt is None:
            return
        _show(excerpt.bodies(), self._fold, self._see)
        # The ends of a large one show what they show, also where there is more to come.
        self._fold.is_ended = self._fold.is_ended and excerpt.is_whole


def _show(bodies: list[object], fold: Fold, see: See | None) -> None:
    for body in bodies:
        fold.see(body)
        fold.is_ended = True
        if see is not None:
            see(body)


Kept: TypeAlias = Events | Body | Nothing
