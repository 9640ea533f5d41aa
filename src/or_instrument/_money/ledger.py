"""Writes every call into the ledger, an SQLite file: by a thread of ours, in batches, never by the caller.

A caller only appends to a queue. A batch is one statement, as SQLite gives up the GIL at each: row by row, a busy main
thread would be waited for at every row. The database is never waited for in C, where gevent's greenlets would all stop:
where it is locked, waiting and trying again are ours.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from hashlib import sha256
from threading import Lock
from typing import Final

from or_instrument._amounts import counted
from or_instrument._calls.worker import PerProcess, Worker
from or_instrument._money.books import FIRST_PAUSE_S, Books
from or_instrument._money.schema import NotALedgerError
from or_instrument._openrouter.headers import Named, api_key
from or_instrument._records import Call

_log = logging.getLogger("or_instrument")
_CAPACITY: Final = 10_000
_GATHER_S: Final = 0.03
_LONGEST_PAUSE_S: Final = 1.0
_PATIENCE_S: Final = 5.0
_FLUSH_S: Final = 5.0
_STATEMENT_S: Final = 1.0


class Ledger:
    """A sink that has every call written into one file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._books = PerProcess(lambda: Books(path))
        self._worker = Worker("or_instrument-ledger", self._work)

    def __call__(self, call: Call, api_key_hash: str | None = None) -> None:
        """Have a call written."""
        books = self._books()
        if len(books.waiting) < _CAPACITY:
            # What the caller said, and its span, are neither wanted nor to be kept alive.
            books.waiting.append((call._replace(context=None, content=None), api_key_hash))
        else:
            books.lose(call)
        if self._worker.start():
            self._worker.wake()

    def keyed(self) -> KeyedSink:
        """Return the sink of one call, which is told the key that the call is sent with."""
        return KeyedSink(self)

    def flush(self, timeout_s: float = _FLUSH_S) -> bool:
        """Write what waits now; return whether all of it is in the file. Waits at most about `timeout_s` seconds."""
        books, deadline = self._books.made, time.monotonic() + timeout_s
        if books is None:
            return True
        left = self._left(books, deadline)
        if left is None:
            return False
        while left > 0 or books.lost:
            written = self._write(books, deadline)
            if written is not None:
                # Where nothing was left to be written, the thread has done it.
                left = left - written if written else 0
            elif (left_s := deadline - time.monotonic()) > 0:
                time.sleep(min(books.pause_s, left_s))  # the last try is at the end of the time
            else:
                return False
        return True

    def finish(self, timeout_s: float) -> bool:
        """Flush a ledger that is no longer in use. What then waits for one that cannot be written is told as lost.

        Waits where the file is merely locked, not where it cannot be written.
        """
        books = self._books.made
        if books is None or self.flush(0) or (not books.is_broken and self.flush(timeout_s)):
            return True
        if books.writing.acquire(blocking=False):
            try:
                dropped = books.drop() if books.is_broken else 0
            finally:
                books.writing.release()
            if dropped:
                self._tell_left(dropped, "now lost")
        return False

    def close(self, *, is_written: bool) -> None:
        """Leave all rows in the one file, where no other process has it open; tell what could not be written.

        What comes later opens it again.
        """
        books, left = self._books.made, 0
        if books is not None and books.writing.acquire(timeout=_STATEMENT_S):
            try:
                left = 0 if is_written else books.left + len(books.lost)
                books.close()
            finally:
                books.writing.release()
        if left:
            self._tell_left(left, "lost if this process ends")

    def _tell_left(self, calls: int, fate: str) -> None:
        _log.warning("the ledger %s could not take %s, %s.", self._path, counted(calls, "call"), fate)

    def _left(self, books: Books, deadline: float) -> int | None:
        # Asked while no batch is being made: what has left the queue is in the file then, or still counted.
        if not books.writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return None
        try:
            return books.left
        finally:
            books.writing.release()

    def hold(self, held: list[Lock]) -> None:
        """Let no statement run until the lock that this adds to those held is released, and close the file."""
        books = self._books.made
        if books is not None and books.writing.acquire(timeout=_STATEMENT_S):
            held.append(books.writing)
            books.close()

    def _work(self) -> float | None:
        time.sleep(_GATHER_S)
        books, written = self._books(), 1
        while written:
            done = self._write(books, time.monotonic() + _FLUSH_S)
            if done is None:
                return books.pause_s
            written = done
            # Between two statements it is the other greenlets' turn.
            time.sleep(0)
        return None

    def _write(self, books: Books, deadline: float) -> int | None:
        if not books.writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return None
        try:
            written = books.write()
        except (OSError, NotALedgerError, sqlite3.Error) as exc:
            failure: Exception | None = exc
        else:
            books.pause_s, books.failing_since, books.is_broken = FIRST_PAUSE_S, None, False
            failure = None
        finally:
            books.writing.release()
        self._tell_refusal(books)
        if failure is None:
            return written
        self._failed(books, failure)
        return None

    def _tell_refusal(self, books: Books) -> None:
        if books.refusal is not None and not books.has_told_refusal:
            books.has_told_refusal = True
            _log.warning(
                "the ledger %s cannot take a call (%s). It is lost and counted, the others are written. This is not "
                "logged again.",
                self._path,
                books.refusal,
            )

    def _failed(self, books: Books, exc: Exception) -> None:
        now = time.monotonic()
        books.failing_since = books.failing_since or now
        books.pause_s = min(books.pause_s * 2, _LONGEST_PAUSE_S)
        is_early = "locked" in str(exc) and now - books.failing_since < _PATIENCE_S
        books.is_broken = not is_early
        if is_early or books.has_warned:
            return
        books.has_warned = True
        _log.warning(
            "the ledger %s cannot be written (%s). Calls go on; %d of them can wait to be written, further ones are "
            "lost and counted. This is not logged again.",
            self._path,
            exc,
            _CAPACITY,
        )


class KeyedSink:
    """The ledger, as a sink of one call. It keeps the hash of the call's key, and the key nowhere."""

    __slots__ = ("_hash", "_ledger")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._hash: str | None = None

    def sent(self, headers: Named, _url: object) -> None:
        """Take the headers that the call was sent with; its names are asked for in lower case."""
        key = api_key(headers)
        if key is not None:
            self._hash = sha256(key.encode("utf-8", "replace")).hexdigest()

    def __call__(self, call: Call) -> None:
        """Have the call written."""
        self._ledger(call, self._hash)
