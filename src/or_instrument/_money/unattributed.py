"""What a key was charged that no call in the ledger explains: its growth less the cost of its calls."""

from __future__ import annotations

import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from or_instrument._amounts import add
from or_instrument._money import own_side
from or_instrument._money.open_ledgers import COMPARING
from or_instrument._money.own_side import Scope
from or_instrument._money.query import amount_of, amount_sql
from or_instrument._money.readings import Reading, note_reading, readings_of
from or_instrument._money.schema import open_ledger

if TYPE_CHECKING:
    import sqlite3

_STEP: Final = 10_000
_PENDING_LIMIT: Final = 10_000
_PATIENCE_S: Final = 1.0
_PAUSE_S: Final = 0.01


class Unattributed:
    """One key's growth against one ledger, all processes that write into it together.

    Only rows that are new since the last time are read, and those whose cost was not known then: a ledger may hold
    millions. Never more than some thousand at once, as other greenlets wait for each statement.
    """

    def __init__(self, path: str, host: str, api_key_hash: str) -> None:
        self._path = path
        self._host = host
        self._key = api_key_hash
        self._begin: tuple[Reading, str] | None = None
        self._cost = Decimal(0)
        self._last_row = 0
        self._last_call: tuple[int, int] | None = None
        self._pending: list[int] = []

    def refresh(self, now: Reading) -> Decimal:
        """Take a reading of the key; return USD since the ledger's first one. Negative where the reading is late.

        Raises what `open_ledger` raises.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._compare(now)
            except Exception as exc:
                # Whoever makes the file or writes into it is done in a moment. Not waited for in C, as the writer.
                if "locked" not in str(exc) or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE_S)

    def _compare(self, now: Reading) -> Decimal:
        with COMPARING(), closing(open_ledger(self._path, make=True, timeout_s=0)) as ledger:
            if not readings_of([ledger], self._host, self._key, now.at):
                note_reading([ledger], self._host, self._key, now)
            # One snapshot: rows that are removed meanwhile are both in it and not yet carried forward, or neither.
            ledger.execute("BEGIN")
            first = self._begin_anew_where_pruned(ledger, now.at)
            self._add_known(ledger)
            self._add_new(ledger, first.at)
            explained = add(add(first.usage, first.pruned), self._cost)
            return add(now.usage, explained.copy_negate())

    def _begin_anew_where_pruned(self, ledger: sqlite3.Connection, until: str) -> Reading:
        first = readings_of([ledger], self._host, self._key, until)[0]
        begin = first, own_side.coverage_of(ledger)[1]
        # Where the newest row is removed, another call gets its number.
        if begin != self._begin or self._last_call != _call_at(ledger, self._last_row):
            self._begin, self._cost, self._last_row, self._last_call, self._pending = begin, Decimal(0), 0, None, []
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
        scope = Scope(self._host, since, key=self._key, clock="ended_at")
        rows = f"id > :after AND id <= :last AND {scope.where}"
        summed = f"SELECT {amount_sql('cost')} FROM calls WHERE {rows}"  # noqa: S608 - no value is in it
        unknown = f"SELECT id FROM calls WHERE {rows} AND cost IS NULL AND generation_id IS NOT NULL"  # noqa: S608
        (newest,) = ledger.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
        while self._last_row < newest:
            last = min(self._last_row + _STEP, newest)
            named = {**scope._asdict(), "after": self._last_row, "last": last}
            cost = amount_of(ledger.execute(summed, named).fetchone())
            self._pending.extend(row for (row,) in ledger.execute(unknown, named))
            self._cost, self._last_row = add(self._cost, cost), last
            time.sleep(0)
        self._last_call = _call_at(ledger, self._last_row)


def _call_at(ledger: sqlite3.Connection, row: int) -> tuple[int, int] | None:
    found: tuple[int, int] | None = ledger.execute("SELECT process, call FROM calls WHERE id = ?", (row,)).fetchone()
    return found
