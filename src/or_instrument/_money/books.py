"""What one process has to write into one ledger, and writes by batches: each whole, or without what cannot be a row."""

from __future__ import annotations

import secrets
import sqlite3
import sys
import threading
import time
from collections import Counter, deque
from typing import Final

from or_instrument._money.entry import Entry, entry_of, utc
from or_instrument._money.journal import Journal
from or_instrument._records import Call

FIRST_PAUSE_S: Final = 0.01
_BATCH: Final = 100
_REFUSED: Final = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, MemoryError)
"""What comes again for the same rows however often they are tried: SQLite takes no text of 1 GB."""


class Books:
    """The calls that wait, and the batch that is being written, under a number that no other process has or had."""

    def __init__(self, path: str) -> None:
        self.waiting: deque[tuple[Call, str | None]] = deque()
        self.lost: deque[str] = deque()
        """The UTC days on which calls began that could not be written."""
        # Held while a statement runs and not longer: nothing inside yields to another greenlet.
        self.writing = threading.Lock()
        self.pause_s = FIRST_PAUSE_S
        self.failing_since: float | None = None
        self.has_warned = False
        self.is_broken = False
        """Whether the last try failed, and not for a file that is locked for a moment."""
        self.refusal: Exception | None = None
        """Of a row, which is lost; told by whoever had it written, once."""
        self.has_told_refusal = False
        self._process = secrets.randbits(63)
        self._batch: list[Entry] = []
        self._journal = Journal(path)

    @property
    def left(self) -> int:
        """How many calls wait."""
        return len(self._batch) + len(self.waiting)

    def write(self) -> int:
        """Write one batch; return how many calls that were. Raises what the journal raises, and keeps the batch."""
        self._batch = self._batch or self._next()
        written = len(self._batch)
        if written:
            self._write_batch()
        lost = tuple(self.lost)
        if lost:
            self._journal.note_lost(self._process, Counter(lost))
            for _ in lost:
                self.lost.popleft()
        return written

    def lose(self, call: Call) -> None:
        """Count a call that cannot be written."""
        try:
            day = utc(call.started_ns)[:10]
        except (ArithmeticError, ValueError):
            day = utc(time.time_ns())[:10]
        self.lost.append(sys.intern(day))

    def drop(self) -> int:
        """Let go of what waits; return how many calls that were, those counted as lost included."""
        dropped = self.left + len(self.lost)
        self._batch = []
        self.waiting.clear()
        self.lost.clear()
        return dropped

    def close(self) -> None:
        """Close the file; the next batch opens it again."""
        self._journal.close()

    def _write_batch(self) -> None:
        try:
            self._journal.write(self._batch)
            self._batch = []
        except _REFUSED:
            # One by one: what is refused alone is lost, and keeps no other back.
            while self._batch:
                try:
                    self._journal.write(self._batch[:1])
                except _REFUSED as exc:
                    self.refusal = exc
                    self.lost.append(self._batch[0].started_at[:10])
                del self._batch[0]

    def _next(self) -> list[Entry]:
        batch: list[Entry] = []
        while self.waiting and len(batch) < _BATCH:
            call, api_key_hash = self.waiting.popleft()
            try:
                batch.append(entry_of(call, self._process, api_key_hash))
            except (ArithmeticError, MemoryError, TypeError, ValueError):
                self.lose(call)
        return batch
