"""Lets go of old rows. What they explained of a key's growth is carried forward, in the readings of the key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from or_instrument._amounts import add
from or_instrument._money.own_side import Scope
from or_instrument._money.query import amount_of, amount_sql

if TYPE_CHECKING:
    import sqlite3

_STEP: Final = 5000
_SUPERSEDED: Final = """
    DELETE FROM readings AS one WHERE at < :day
    AND at > (SELECT min(at) FROM readings WHERE api_key_hash = one.api_key_hash AND host = one.host)
    AND at < (SELECT max(at) FROM readings WHERE api_key_hash = one.api_key_hash AND host = one.host AND at < :day)
"""
"""Growth is asked for since a key's first reading, since its last, and since days of which there are rows."""


def prune(ledger: sqlite3.Connection, day: str) -> int:
    """Remove what is from before a day (`2026-11-26`, UTC); return how many calls that were. Raises `sqlite3.Error`."""
    named = {"day": day}
    ledger.execute("UPDATE coverage SET pruned_before = max(coalesce(pruned_before, ''), :day)", named)
    ledger.execute(_SUPERSEDED, named)
    removed = 0
    while step := _remove_some(ledger, day):
        removed += step
    ledger.execute("DELETE FROM lost WHERE day < :day", named)
    return removed


def _remove_some(ledger: sqlite3.Connection, day: str) -> int:
    # In small steps: those who write wait for each.
    ledger.execute("BEGIN IMMEDIATE")
    with ledger:
        found = ledger.execute("SELECT id FROM calls WHERE started_at < ? LIMIT ?", (day, _STEP))
        rows = [row for (row,) in found]
        _carry(ledger, rows)
        ledger.execute("DELETE FROM calls WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(rows),))
    return len(rows)


def _carry(ledger: sqlite3.Connection, rows: Sequence[int]) -> None:
    named = {"rows": json.dumps(rows)}
    # Of later readings there may be thousands, and those who write wait for each that is looked at.
    readings = ledger.execute(
        """
        SELECT rowid, api_key_hash, host, at, pruned FROM readings
        WHERE at <= (SELECT max(ended_at) FROM calls WHERE id IN (SELECT value FROM json_each(:rows)))
        """,
        named,
    ).fetchall()
    for number, key, host, at, pruned in readings:
        scope = Scope(host, at, key=key, clock="ended_at")
        question = f"""
            SELECT {amount_sql("cost")} FROM calls
            WHERE id IN (SELECT value FROM json_each(:rows)) AND {scope.where}
        """  # noqa: S608 - no value is in it
        cost = amount_of(ledger.execute(question, {**scope._asdict(), **named}).fetchone())
        carried = add(Decimal(pruned), cost)
        ledger.execute("UPDATE readings SET pruned = ? WHERE rowid = ?", (f"{carried:f}", number))
