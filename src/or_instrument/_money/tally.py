"""Counts finished calls, each once: what a look-up tells takes the place of what was counted of its call."""

from __future__ import annotations

from or_instrument._money.totals import Key, Row, Totals
from or_instrument._records import PENDING, Call


class Tally:
    """Totals, and with `rows` the calls themselves by their ids; whoever shares it between threads holds a lock."""

    def __init__(self, *, rows: bool = False) -> None:
        self.totals = Totals()
        self.rows: dict[int, Row] | None = {} if rows else None
        self._pending: dict[int, tuple[Row, list[Key]]] = {}

    def add(self, call: Call, row: Row) -> bool:
        """Count a call; return whether it counts: a look-up only does where its call is waiting for one."""
        number = call.id
        if call.recovers is not None:
            known = self._pending.pop(call.recovers, None)
            if known is None:
                return False
            first, keys = known
            self.totals.take_back(first.sum, keys)
            number, row = call.recovers, row._replace(started_at=first.started_at)
        keys = self.totals.add(row.sum, row.keys)
        if call.missing == PENDING:
            self._pending[number] = row, keys
        if self.rows is not None:
            self.rows[number] = row
        return True
