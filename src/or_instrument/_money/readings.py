"""What `GET /key` has told of a key, kept in ledgers: its growth since can be compared with the calls since."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from or_instrument._amounts import add
from or_instrument._money.own_side import coverage_of

if TYPE_CHECKING:
    import sqlite3


class Reading(NamedTuple):
    """What was read of a key."""

    at: str
    """When it was read: a moment in UTC as ISO 8601, or a day, which means its beginning."""
    usage: Decimal
    """USD, ever charged through the key."""
    pruned: Decimal = Decimal(0)
    """USD, the cost of calls that ended since and whose rows were removed."""


def readings_of(ledgers: Iterable[sqlite3.Connection], host: str, key: str, until: str = "9") -> list[Reading]:
    """Return what has been read of a key up to a moment at a host, oldest first, in all of these ledgers together.

    Those are left out after which a ledger that does not hold them lost rows: what these explained is noted nowhere.
    Later ones are of a clock that was ahead, and tell of calls that have not come yet.
    """
    found: dict[str, Reading] = {}
    books = list[tuple[set[str], str]]()
    for ledger in ledgers:
        told = ledger.execute(
            "SELECT at, usage, pruned FROM readings WHERE api_key_hash = ? AND host IN (?, '') AND at <= ?",
            (key, host, until),
        ).fetchall()
        books.append(({at for at, _, _ in told}, coverage_of(ledger)[1]))
        for at, usage, pruned in told:
            former = found.get(at, Reading(at, Decimal(usage)))
            found[at] = former._replace(pruned=add(former.pruned, Decimal(pruned)))
    return [found[at] for at in sorted(found) if all(at in held or at >= pruned for held, pruned in books)]


def note_reading(ledgers: Iterable[sqlite3.Connection], host: str, key: str, reading: Reading) -> None:
    """Keep what was read of a key at a host, in each of these ledgers: the next time one of them may be asked alone."""
    for ledger in ledgers:
        ledger.execute(
            "INSERT OR REPLACE INTO readings (api_key_hash, host, at, usage) VALUES (?, ?, ?, ?)",
            (key, host, reading.at, f"{reading.usage:f}"),
        )
