"""What a key was charged that no call in the ledger explains: its growth less the cost of its calls."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from typing import Final

from or_instrument._calls.worker import new_lock
from or_instrument._money import own
from or_instrument._money.entry import utc
from or_instrument._money.own import Reading, Scope
from or_instrument._money.query import amount_of, amount_sql
from or_instrument._money.schema import open_ledger
from or_instrument._records import add

_STEP: Final = 10_000
_PENDING_LIMIT: Final = 10_000
_ROWS: Final = f"id > :after AND id <= :last AND {own.WHERE}"
_SUMMED: Final = f"SELECT {amount_sql('cost')} FROM calls WHERE {_ROWS}"  # noqa: S608 - no value is in it
_UNKNOWN: Final = f"SELECT id FROM calls WHERE {_ROWS} AND cost IS NULL AND generation_id IS NOT NULL"  # noqa: S608


class Unattributed:
    """One key's growth against one ledger, all processes that write into it together.

    Only rows that are new since the last time are read, and those whose cost was not known then: a ledger may hold
    millions. Never more than some thousand at once, as other greenlets wait for each statement.
    """

    def __init__(self, path: str, host: str, api_key_hash: str) -> None:
        self._path = path
        self._host = host
        self._key = api_key_hash
        self._reading = new_lock()
        self._since: Reading | None = None
        self._cost = Decimal(0)
        self._last_row = 0
        self._pending: list[int] = []

    def refresh(self, usage: Decimal) -> Decimal:
        """Take a reading of the key; return USD since the ledger's first one. Negative where the reading is late.

        Raises what `open_ledger` raises.
        """
        with self._reading, closing(open_ledger(self._path, make=True, timeout_s=0)) as ledger:
            if self._since is None:
                self._since = self._first_reading(ledger, usage)
            self._add_known(ledger)
            self._add_new(ledger, self._since.at)
            growth = add(usage, self._since.usage.copy_negate())
            return add(growth, self._cost.copy_negate())

    def _first_reading(self, ledger: sqlite3.Connection, usage: Decimal) -> Reading:
        readings = own.readings_of(ledger, self._key)
        if readings:
            return readings[0]
        first = Reading(utc(time.time_ns()), usage)
        own.note_reading(ledger, self._key, first)
        return first

    def _add_known(self, ledger: sqlite3.Connection) -> None:
        still = []
        for row in self._pending:
            (cost,) = ledger.execute("SELECT cost FROM calls WHERE id = ?", (row,)).fetchone() or (None,)
            if cost is None:
                still.append(row)
            else:
                self._cost = add(self._cost, Decimal(cost))
        self._pending = still[-_PENDING_LIMIT:]

    def _add_new(self, ledger: sqlite3.Connection, since: str) -> None:
        (newest,) = ledger.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
        if newest < self._last_row:
            # All rows were removed, and their numbers begin again.
            self._last_row = 0
        while self._last_row < newest:
            last = min(self._last_row + _STEP, newest)
            named = {**Scope(self._host, since, key=self._key)._asdict(), "after": self._last_row, "last": last}
            cost = amount_of(ledger.execute(_SUMMED, named).fetchone())
            unknown = [row for (row,) in ledger.execute(_UNKNOWN, named)]
            self._cost, self._last_row = add(self._cost, cost), last
            self._pending.extend(unknown)
            time.sleep(0)
