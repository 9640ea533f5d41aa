"""What a ledger has of the calls to one host: sums to be compared, rows to be looked up, earlier readings of a key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from or_instrument._money.entry import Bill, bill_of
from or_instrument._money.query import amount_of, amount_sql
from or_instrument._money.reconcile import Place, Side
from or_instrument._openrouter.account import usage_of
from or_instrument._openrouter.generation import Generation

# What was refused, or never reached the service, is no call of its books.
_WAS_SERVED: Final = "(outcome <> 'error' OR cost IS NOT NULL)"
WHERE: Final = """
    (host = :host OR substr(host, -length(:host) - 1) = '.' || :host)
    AND started_at >= :since AND started_at < :until
    AND (:key IS NULL OR api_key_hash = :key OR api_key_hash IS NULL)
"""
_SUMS: Final = f"""
    SELECT substr(started_at, 1, 10), coalesce(model, ''), {amount_sql("cost")}, {amount_sql("upstream")},
           sum({_WAS_SERVED}), sum(cost IS NULL AND {_WAS_SERVED})
    FROM calls WHERE {WHERE} GROUP BY 1, 2
"""  # noqa: S608 - no value is in it
_FOUND: Final = f"""
    UPDATE calls SET missing = :missing, model = coalesce(model, :model), provider = coalesce(provider, :provider),
           {", ".join(f"{name} = :{name}" for name in Bill._fields)}
    WHERE id = :id
"""  # noqa: S608 - no value is in it


class Scope(NamedTuple):
    """Which calls are meant."""

    host: str
    """Its subdomains included."""
    since: str
    until: str = "9"
    """Days or moments in UTC as ISO 8601; `until` is not among them."""
    key: str | None = None
    """The hash of a key; calls whose key is not known are counted as its own. `None`: all keys."""


class Reading(NamedTuple):
    """What was read of a key."""

    at: str
    usage: Decimal
    """USD, ever charged through the key."""


_BROKEN_OFF: Final = ("closed", "abandoned", "cancelled")


def sums_of(ledger: sqlite3.Connection, scope: Scope) -> dict[Place, Side]:
    """Return what the ledger has, by day and model."""
    return {
        (cells[0], cells[1]): Side(amount_of(cells[2:7]), int(cells[12]), amount_of(cells[7:12]), int(cells[13]))
        for cells in ledger.execute(_SUMS, scope._asdict())
    }


def keys_of(ledger: sqlite3.Connection, scope: Scope) -> list[str | None]:
    """Return the hashes of the keys that calls were made with; `None` is among them where one is not known."""
    question = f"SELECT DISTINCT api_key_hash FROM calls WHERE {WHERE} AND {_WAS_SERVED}"  # noqa: S608
    return [key for (key,) in ledger.execute(question, scope._asdict())]


def begin_of(ledger: sqlite3.Connection) -> str | None:
    """Return when the ledger's first call began, `None` where it has none."""
    (first,) = ledger.execute("SELECT min(started_at) FROM calls").fetchone()
    return None if first is None else str(first)


def unknown_in(ledger: sqlite3.Connection, scope: Scope) -> Sequence[tuple[int, str, str]]:
    """Return row, generation id and outcome of the calls whose cost is not known and can be looked up."""
    question = (
        f"SELECT id, generation_id, outcome FROM calls WHERE {WHERE} AND spend IS NULL AND generation_id IS NOT NULL"  # noqa: S608
    )
    return ledger.execute(question, scope._asdict()).fetchall()


def recover(ledger: sqlite3.Connection, row: int, generation: Generation, outcome: str) -> bool:
    """Fill a row, which ended so, with what was looked up; return whether its spend is known now."""
    bill = bill_of(usage_of(generation, broken_off=outcome in _BROKEN_OFF))
    if bill.cost is None:
        return False
    missing = "no_upstream_cost" if bill.spend is None else None
    named = {"id": row, "missing": missing, "model": generation.model, "provider": generation.provider_name}
    ledger.execute(_FOUND, {**bill._asdict(), **named})
    return missing is None


def lost_between(ledger: sqlite3.Connection, since: str, until: str = "9") -> int:
    """Return how many calls could not be written on some days."""
    (lost,) = ledger.execute(
        "SELECT coalesce(sum(calls), 0) FROM lost WHERE day >= ? AND day < ?", (since[:10], until)
    ).fetchone()
    return int(lost)


def readings_of(ledger: sqlite3.Connection, key: str) -> list[Reading]:
    """Return what has been read of a key so far, oldest first."""
    told = ledger.execute("SELECT at, usage FROM readings WHERE api_key_hash = ? ORDER BY at", (key,))
    return [Reading(at, Decimal(usage)) for at, usage in told]


def note_reading(ledger: sqlite3.Connection, key: str, reading: Reading) -> None:
    """Keep what was read of a key."""
    ledger.execute("INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", (key, reading.at, f"{reading.usage:f}"))
