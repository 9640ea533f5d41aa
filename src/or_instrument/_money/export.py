"""Writes totals and rows as JSON or CSV, or as a plain table for people.

Amounts are decimal strings, so that no reader rounds them. A file carries its schema.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from or_instrument._money.csv_text import cell_of
from or_instrument._money.totals import MODEL, Row, Sum, Totals, usd_text

SCHEMA: Final = "or_instrument.cost/2"
FORMER: Final = "or_instrument.cost/1"
"""Told nothing of lower bounds, the last field of sums and rows; it is still read."""
TOTAL: Final = "total"
TOTALS_HEADER: Final = ("schema", "dimension", "value", *Sum._fields)
ROWS_HEADER: Final = ("schema", *Row._fields)


def totals_json(totals: Totals, head: Mapping[str, object], rows: Iterable[Row] | None = None) -> str:
    """Return totals, and rows where given, as a JSON document; `head` comes first."""
    document: dict[str, object] = {"schema": SCHEMA, **head, TOTAL: _plain(totals.all)}
    document["by"] = {
        dimension: {value: _plain(part) for value, part in group.items()} for dimension, group in totals.groups.items()
    }
    if rows is not None:
        document["rows"] = [_plain(row) for row in rows]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def totals_csv(totals: Totals) -> str:
    """Return totals as CSV: one line a group; the last is the total."""
    groups = (
        (SCHEMA, dimension, value, *_plain(part).values())
        for dimension, group in totals.groups.items()
        for value, part in group.items()
    )
    return _csv(TOTALS_HEADER, [*groups, (SCHEMA, TOTAL, "", *_plain(totals.all).values())])


def rows_csv(rows: Iterable[Row]) -> str:
    """Return one line a call; the attributes are a JSON object."""
    return _csv(ROWS_HEADER, ((SCHEMA, *_cells(row)) for row in rows))


def totals_table(name: str, totals: Totals) -> str:
    """Return the cost by model, and in all, in columns."""
    parts = [*totals.by(MODEL).items(), (TOTAL, totals.all)]
    shown = ((value, usd_text(part.usd), str(part.calls), str(part.unknown)) for value, part in parts)
    table = [("model", "USD", "calls", "unknown"), *shown]
    first, *rest = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = ("  ".join((value.ljust(first), *map(str.rjust, cells, rest))) for value, *cells in table)
    return "\n".join((name, *lines) if name else lines)


def write(path: str | os.PathLike[str], text: str) -> None:
    """Write a file as a whole or not at all; into a device or a pipe. Raises `OSError`, which names this file."""
    given = Path(path)
    if not given.name or "\0" in str(given):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), os.fspath(path))
    target = Path(os.path.realpath(given))
    # Other threads, and processes of the same number in other containers, may write this file too.
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        own = _own_output(given)
        # A file in the place of a device or a pipe would be the end of a /dev/stdout for everybody.
        is_replaced = own is None and (target.is_file() or not given.exists())
        place = (part if is_replaced else given) if own is None else os.dup(own)
        # Half a surrogate pair, which an attribute may hold, is no UTF-8: the rest is worth more.
        with open(place, "w", encoding="utf-8", errors="replace", newline="") as file:  # noqa: PTH123 - or a descriptor
            file.write(text)
        if is_replaced:
            part.replace(target)
    except OSError as exc:
        # Not the part, of which nobody has heard.
        raise OSError(exc.errno, exc.strerror, os.fspath(path)) from exc
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _own_output(path: Path) -> int | None:
    """Return the descriptor that is open already where a path leads to this program's own output, as /dev/stdout.

    That may be a file: one put in its place, or opened once more, would lose what the program prints.
    """
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
    return None


def _plain(record: Sum | Row) -> dict[str, Any]:
    return {name: usd_text(value) if isinstance(value, Decimal) else value for name, value in record._asdict().items()}


def _cells(row: Row) -> Iterator[object]:
    for value in _plain(row).values():
        if isinstance(value, Mapping):
            yield json.dumps(value, ensure_ascii=False)
        else:
            yield str(value).lower() if isinstance(value, bool) else value


def _csv(header: Sequence[str], lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    # All texts in quotes: not every Python quotes a lone carriage return of its own accord.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(header)
    writer.writerows([cell_of(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
    return text.getvalue()
