"""The writing end of a ledger: one batch of rows, one statement, tried once."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Final

from or_instrument._calls.shield import report
from or_instrument._money.entry import COLUMNS, Entry, encoded
from or_instrument._money.filling import filling
from or_instrument._money.schema import open_ledger

_WRITE: Final = f"""
    INSERT INTO calls ({", ".join(COLUMNS)})
    SELECT {", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(COLUMNS)))}
    FROM json_each(?) WHERE true
    ON CONFLICT (process, call) DO UPDATE SET {filling(COLUMNS, "excluded.")}
"""  # noqa: S608 - the names are ours
_NOTE_LOST: Final = """
    INSERT INTO lost (process, day, calls) SELECT ?, key, value FROM json_each(?) WHERE true
    ON CONFLICT (process, day) DO UPDATE SET calls = calls + excluded.calls
"""
_SETTLING_S: Final = 0.1
_open: Final[set[sqlite3.Connection]] = set()
"""Held here, so that a forked child does not close its parent's: https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_"""


class Journal:
    """One connection to a ledger, opened when it is needed. Raises what `open_ledger` raises, and waits for nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def write(self, entries: Sequence[Entry]) -> None:
        """Write rows, or over the rows that look-ups recover: all of them or none."""
        self._execute(_WRITE, (encoded(entries),))

    def note_lost(self, process: int, calls: Mapping[str, int]) -> None:
        """Count calls that could not be written, by the day on which they began: all of them or none."""
        self._execute(_NOTE_LOST, (process, json.dumps(calls)))

    def close(self) -> None:
        """Close the connection; the next statement opens one anew. The last one leaves all rows in the file."""
        if self._connection is not None:
            self._settle_at_last(self._connection)
            _open.discard(self._connection)
            self._connection.close()
            self._connection = None

    def _settle_at_last(self, connection: sqlite3.Connection) -> None:
        deadline = time.monotonic() + _SETTLING_S
        while True:
            try:
                self._settle_elsewhere(connection)
            except (OSError, sqlite3.Error) as exc:
                # Processes that end together are in each other's way for a moment.
                if isinstance(exc, sqlite3.OperationalError) and time.monotonic() < deadline:
                    continue
                report(f"leaving the ledger that was {self._path}, whose newest rows may be lost,", exc)
            return

    def _settle_elsewhere(self, connection: sqlite3.Connection) -> bool:
        """Where somebody has moved or removed the file, have all rows in it; return whether that is so.

        SQLite does not at the end: the newest rows would stay in the log that bears the former name.
        """
        if self._inode == _inode(self._path):
            return False
        is_busy, logged, settled = connection.execute("PRAGMA wal_checkpoint").fetchone()
        if is_busy or settled < logged:
            raise sqlite3.OperationalError("the log of a file that was moved is locked by another process")
        return True

    def _execute(self, statement: str, parameters: Sequence[object]) -> None:
        try:
            if self._connection is not None and self._settle_elsewhere(self._connection):
                # What was written there now would be lost.
                self.close()
            if self._connection is None:
                self._connection = open_ledger(self._path, make=True, timeout_s=0)
                self._inode = _inode(self._path)
                _open.add(self._connection)
            self._connection.execute(statement, parameters)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # A corrupt file may be replaced, and is then read anew.
            self.close()
            raise


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - a path object for every batch is not needed
    except FileNotFoundError:
        return 0
