"""Asks a ledger for sums: SQLite adds up whole numbers, so that many are quick and every digit is right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from or_instrument._amounts import add
from or_instrument._money.totals import (
    ATTRIBUTE,
    DAY,
    MODEL,
    PROVIDER,
    UNKNOWN,
    Sum,
    Totals,
    cross_value,
    parts_of,
)

if TYPE_CHECKING:
    import sqlite3

_COLUMNS: Final = {
    MODEL: "model",
    PROVIDER: "provider",
    DAY: "substr(started_at, 1, 10)",
}
_PLAIN: Final = re.compile(r"[\w .-]+", re.ASCII)


def amount_sql(name: str) -> str:
    """Return the columns that sum an amount, for `amount_of`; halves, as the sum of 64-bit integers may need more."""
    return (
        f"sum({name}_e12 >> 32), sum({name}_e12 & 4294967295), sum({name}_e24 >> 32), sum({name}_e24 & 4294967295), "
        f"group_concat(CASE WHEN {name}_e12 IS NULL THEN {name} END, ' ')"
    )


def amount_of(cells: Sequence[Any]) -> Decimal:
    """Return the USD that five columns of `amount_sql` add up to, exactly."""
    high12, low12, high24, low24 = (int(cell or 0) for cell in cells[:4])
    units = ((high12 << 32) + low12) * 10**12 + (high24 << 32) + low24
    whole, rest = divmod(units, 10**24)
    usd = Decimal(f"{whole}.{rest:024}".rstrip("0").rstrip("."))
    for text in (cells[4] or "").split():
        usd = add(usd, Decimal(text))
    return usd


def count_sql(name: str) -> str:
    """Return the columns that sum a count, for `count_of`."""
    return f"sum({name} >> 32), sum({name} & 4294967295)"


def count_of(cells: Sequence[Any]) -> int:
    """Return what two columns of `count_sql` add up to."""
    high, low = (int(cell or 0) for cell in cells)
    return (high << 32) + low


_SUMS: Final = (
    f"count(*), sum(spend IS NULL), sum(lower_bound), {count_sql('input_tokens')}, {count_sql('output_tokens')}, "
    f"{amount_sql('spend')}"
)
_QUICK_SUMS: Final = (
    "count(*), count(*) - count(spend), sum(lower_bound), 0, sum(input_tokens), 0, sum(output_tokens), "
    "0, sum(spend_e12), 0, sum(spend_e24), CASE WHEN count(spend) > count(spend_e12) THEN 'and more' END"
)
"""The same in half the time, where all sums fit into 64 bits and no amount is in its text alone."""
_SAMPLE: Final = 20_000


def totals_of(connection: sqlite3.Connection, dimensions: Sequence[str], since: str | None = None) -> Totals:
    """Return the sums of a ledger's calls by some dimensions, from a day (`2026-11-26`, UTC) on."""
    return _totals_by(connection, {dimension: parts_of(dimension) for dimension in dimensions}, since)


def totals_of_all(connection: sqlite3.Connection, since: str | None = None) -> Totals:
    """Return them by all dimensions that the calls have."""
    # An attribute's name may have a comma: it is no cross.
    dimensions = [MODEL, PROVIDER, DAY, *_attributes_in(connection, since)]
    return _totals_by(connection, {dimension: [dimension] for dimension in dimensions}, since)


def _totals_by(connection: sqlite3.Connection, dimensions: Mapping[str, Sequence[str]], since: str | None) -> Totals:
    totals = Totals(is_bounded=False)
    has_few_sets = _has_few_sets(connection)
    for number, (dimension, parts) in enumerate((dimensions or {"": ()}).items()):
        for values, part in _groups(connection, parts, since, has_few_sets):
            if number == 0:
                # Every call is in one group of a dimension, if only in that of those without a value.
                totals.all = totals.all.plus(part)
            if not parts:
                continue
            if len(parts) > 1:
                totals.add_to(dimension, cross_value(values), part)
            elif values[0] is not None:
                totals.add_to(dimension, values[0], part)
    return totals


def _has_few_sets(connection: sqlite3.Connection) -> bool:
    """Return whether many calls have the same attributes, as far as the newest tell."""
    newest = f"SELECT attributes FROM calls ORDER BY id DESC LIMIT {_SAMPLE}"  # noqa: S608
    (sets, calls) = connection.execute(f"SELECT count(DISTINCT attributes), count(*) FROM ({newest})").fetchone()  # noqa: S608
    return bool(sets * 4 < calls)


def _attributes_in(connection: sqlite3.Connection, since: str | None) -> list[str]:
    # The sets first: there are far fewer of them than calls.
    asked = connection.execute(
        "SELECT DISTINCT key FROM (SELECT DISTINCT attributes FROM calls WHERE started_at >= ?) AS sets, "
        "json_each(sets.attributes) ORDER BY key",
        (since or "",),
    )
    return [f"{ATTRIBUTE}{name}" for (name,) in asked]


def lost_in(connection: sqlite3.Connection, since: str | None = None, until: str = "9") -> int:
    """Return how many calls of some days, the last one not included, could not be written into the ledger."""
    question = "SELECT coalesce(sum(calls), 0) FROM lost WHERE day >= ? AND day < ?"
    (count,) = connection.execute(question, ((since or "")[:10], until)).fetchone()
    return int(count)


def _groups(
    connection: sqlite3.Connection, parts: Sequence[str], since: str | None, has_few_sets: bool
) -> Iterator[tuple[Sequence[str | None], Sum]]:
    """Yield the values of each group and its sum; of the same values there may be several."""
    columns = [part for part in parts if part in _COLUMNS]
    if not has_few_sets or len(columns) == len(parts):
        for cells in _grouped(connection, [_expression(part) for part in parts], since):
            yield [_named(*pair) for pair in zip(parts, cells, strict=False)], _sum(cells[len(parts) :])
        return
    # A set is read once, and not for every call that has it.
    expressions = [*map(_expression, columns), ("attributes", [])]
    for cells in _grouped(connection, expressions, since):
        found = {part: _named(part, cell) for part, cell in zip(columns, cells, strict=False)}
        for name, value in json.loads(cells[len(columns)]).items():
            found[f"{ATTRIBUTE}{name}"] = value
        yield [found.get(part) for part in parts], _sum(cells[len(expressions) :])


def _grouped(
    connection: sqlite3.Connection, expressions: Sequence[tuple[str, list[str]]], since: str | None
) -> Sequence[Sequence[Any]]:
    import sqlite3  # noqa: PLC0415 - who keeps no ledger need not have it

    where = "" if since is None else "WHERE started_at >= ?"
    by = "GROUP BY " + ", ".join(str(place + 1) for place in range(len(expressions))) if expressions else ""
    parameters = [value for _, values in expressions for value in values] + ([] if since is None else [since])

    def rows(sums: str) -> Sequence[Sequence[Any]]:
        selected = ", ".join([*(expression for expression, _ in expressions), sums])
        return connection.execute(f"SELECT {selected} FROM calls {where} {by}", parameters).fetchall()  # noqa: S608

    try:
        quick = rows(_QUICK_SUMS)
    except sqlite3.OperationalError as exc:
        if "overflow" not in str(exc):
            raise
    else:
        if all(cells[-1] is None for cells in quick):
            return quick
    return rows(_SUMS)


def _named(part: str, value: str | None) -> str | None:
    # Here, as SQLite takes a sixth longer for a million rows whose key it has to reckon.
    return UNKNOWN if value is None and part in _COLUMNS else value


def _expression(part: str) -> tuple[str, list[str]]:
    if part in _COLUMNS:
        return _COLUMNS[part], []
    name = part.removeprefix(ATTRIBUTE)
    if _PLAIN.fullmatch(name):
        return "json_extract(attributes, ?)", [f'$."{name}"']
    # A path cannot name every key; this can, at some more expense.
    return "(SELECT value FROM json_each(attributes) WHERE key = ?)", [name]


def _sum(cells: Sequence[Any]) -> Sum:
    calls, unknown, lower_bound = (int(cell or 0) for cell in cells[:3])
    return Sum(calls, unknown, amount_of(cells[7:]), count_of(cells[3:5]), count_of(cells[5:7]), lower_bound)
