"""What a ledger has of the calls to one host: sums to be compared, rows to be looked up, from when on it has them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from or_instrument._money.entry import Bill, bill_of
from or_instrument._money.filling import filling
from or_instrument._money.query import amount_of, amount_sql
from or_instrument._money.reconcile import Place, Side, plain
from or_instrument._openrouter.account import usage_of
from or_instrument._openrouter.account_records import Generation

if TYPE_CHECKING:
    import sqlite3

# What was refused is no call of its books. What got no answer may be one: a timeout at the client stops no charge.
_IS_COUNTED: Final = "(outcome <> 'error' OR cost IS NOT NULL OR missing IS NOT 'rejected')"
_TOLD: Final = ("missing", "model", "provider", *Bill._fields)
_FOUND: Final = f"UPDATE calls SET {filling(_TOLD, ':')} WHERE id = :id"  # noqa: S608 - no value is in it
_DATE: Final = re.compile(r"(-[0-9]{2,}){1,3}")
"""What a permanent slug has after the model's name, such as `-2026-01-01`."""


class Scope(NamedTuple):
    """Which calls are meant."""

    host: str
    """Its subdomains included."""
    since: str
    until: str = "9"
    """Days or moments in UTC as ISO 8601; `until` is not among them."""
    key: str | None = None
    """The hash of a key; calls whose key is not known are counted as its own. `None`: all keys."""
    clock: Literal["started_at", "ended_at"] = "started_at"
    """Which of a call's two times is meant: a key is charged when a call ends."""

    @property
    def where(self) -> str:
        """The condition on a row, for SQL; its parameters are the fields."""
        return f"""
            (host = :host OR substr(host, -length(:host) - 1) = '.' || :host OR :host = '')
            AND {self.clock} >= :since AND {self.clock} < :until
            AND (:key IS NULL OR api_key_hash = :key OR api_key_hash IS NULL)
        """


class Unknown(NamedTuple):
    """A call whose cost is not known, as its row tells it."""

    id: int
    generation_id: str
    outcome: str
    requested_model: str | None
    model: str | None
    provider: str | None


def sums_of(ledger: sqlite3.Connection, scope: Scope) -> dict[Place, Side]:
    """Return what the ledger has, by day and model."""
    question = f"""
        SELECT substr(started_at, 1, 10), coalesce(model, ''), {amount_sql("cost")}, {amount_sql("upstream")},
               sum({_IS_COUNTED}), sum(cost IS NULL AND {_IS_COUNTED}), json_group_array(DISTINCT provider)
        FROM calls WHERE {scope.where} GROUP BY 1, 2
    """  # noqa: S608 - no value is in it
    return {(day, model): _side(cells) for day, model, *cells in ledger.execute(question, scope._asdict())}


def _side(cells: Sequence[Any]) -> Side:
    calls, unknown, providers = cells[10:]
    served = frozenset(filter(None, json.loads(providers)))
    return Side(amount_of(cells[:5]), int(calls), amount_of(cells[5:10]), int(unknown), served)


def keys_of(ledger: sqlite3.Connection, scope: Scope) -> list[str | None]:
    """Return the hashes of the keys that calls were made with; `None` is among them where one is not known."""
    question = f"SELECT DISTINCT api_key_hash FROM calls WHERE {scope.where} AND {_IS_COUNTED}"  # noqa: S608
    return [key for (key,) in ledger.execute(question, scope._asdict())]


def coverage_of(ledger: sqlite3.Connection) -> tuple[str, str]:
    """Return when the ledger begins, and before which day (empty: none) its rows were removed."""
    begun, pruned = ledger.execute("SELECT begun_at, coalesce(pruned_before, '') FROM coverage").fetchone()
    return begun, pruned


def unknown_in(ledger: sqlite3.Connection, scope: Scope) -> Sequence[Unknown]:
    """Return the calls whose cost is not known and can be looked up."""
    asked_for = f"{scope.where} AND spend IS NULL AND generation_id IS NOT NULL"
    question = f"SELECT {', '.join(Unknown._fields)} FROM calls WHERE {asked_for}"  # noqa: S608 - no value is in it
    return [Unknown(*cells) for cells in ledger.execute(question, scope._asdict())]


def recover(ledger: sqlite3.Connection, call: Unknown, generation: Generation) -> bool:
    """Fill the row of a call with what was looked up; return whether its spend is known now."""
    bill = bill_of(usage_of(generation, broken_off=call.outcome != "complete"))
    if bill.cost is None:
        return False
    missing = "no_upstream_cost" if bill.spend is None else None
    told = {"missing": missing, "model": _model(call, generation.model), "provider": generation.provider_name}
    ledger.execute(_FOUND, {**bill._asdict(), **told, "id": call.id})
    return missing is None


def _model(call: Unknown, filed: str | None) -> str | None:
    """Return the model as filed, where the row has only the one that was asked for, and that is another."""
    asked_for = call.model is None or (call.model == call.requested_model and call.provider is None)
    if filed is None or not asked_for:
        return None
    name = plain(call.model or "")
    is_same = filed.startswith(name) and _DATE.fullmatch(filed[len(name) :])
    return None if is_same else filed
