"""Writes totals and rows as JSON or CSV, and reads such files back: exports of several processes can be added up.

Amounts are decimal strings, so that no reader rounds them. A file carries its schema; what is not of it is a `Problem`
with a line, never a guess.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from or_instrument._money.totals import Row, Sum, Totals, usd_text

SCHEMA: Final = "or_instrument.cost/1"
_TOTAL: Final = "total"
_TOTALS_HEADER: Final = ("schema", "dimension", "value", *Sum._fields)
_ROWS_HEADER: Final = ("schema", *Row._fields)
_AMOUNT: Final = re.compile(r"[0-9]{1,400}(\.[0-9]{1,1200})?")
"""Room for every sum of doubles, and for nothing that cannot be added exactly."""
_FLAGS: Final = {"": None, "true": True, "false": False}


class Problem(NamedTuple):
    """What is wrong with an export."""

    file: str
    line: int
    """From 1; 0 where the file as a whole is meant."""
    why: str

    def __str__(self) -> str:
        """Return `file:line: why`."""
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


class _CorruptError(ValueError):
    """A part of an export that cannot be read; `text` is what to look for in the file."""

    def __init__(self, why: str, text: str = "") -> None:
        self.why, self.text = why, text
        super().__init__(why)


def totals_json(totals: Totals, head: Mapping[str, object], rows: Iterable[Row] | None = None) -> str:
    """Return totals, and rows where given, as a JSON document; `head` comes first."""
    document: dict[str, object] = {"schema": SCHEMA, **head, _TOTAL: _plain(totals.all)}
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
    return _csv(_TOTALS_HEADER, [*groups, (SCHEMA, _TOTAL, "", *_plain(totals.all).values())])


def rows_csv(rows: Iterable[Row]) -> str:
    """Return one line a call; the attributes are a JSON object."""
    return _csv(_ROWS_HEADER, ((SCHEMA, *_cells(row)) for row in rows))


def write(path: str | os.PathLike[str], text: str) -> None:
    """Write a file as a whole or not at all. Raises `OSError`."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> tuple[Totals, list[Problem]]:
    """Return what an export adds up to, without what is wrong in it, and all that is wrong."""
    name = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as exc:
        return Totals(), [Problem(name, 0, f"cannot be read: {exc.strerror or exc}")]
    except UnicodeDecodeError as exc:
        line = bytes(exc.object)[: exc.start].count(b"\n") + 1
        return Totals(), [Problem(name, line, "is no UTF-8 text")]
    totals, problems = (_read_json if text.lstrip().startswith("{") else _read_csv)(text)
    return totals, [Problem(name, line, why) for line, why in sorted(problems)]


_Problems = list[tuple[int, str]]


def _read_json(text: str) -> tuple[Totals, _Problems]:
    totals = Totals()
    try:
        document = json.loads(text)
        _check_schema(document.get("schema"))
        by = document.get("by")
        if not isinstance(by, dict) or not all(isinstance(group, dict) for group in by.values()):
            raise _CorruptError("has no sums under `by`", '"by"')
        for dimension, group in by.items():
            for value, part in group.items():
                totals.add_to(dimension, value, _sum(part, value))
        totals.all = _sum(document.get(_TOTAL), _TOTAL)
    except json.JSONDecodeError as exc:
        return Totals(), [(exc.lineno, f"is corrupt or half-written: {exc.msg}")]
    except _CorruptError as exc:
        return Totals(), [(text.count("\n", 0, max(text.find(exc.text), 0)) + 1, exc.why)]
    except (ValueError, RecursionError):
        return Totals(), [(1, "has a number too long or a nesting too deep for an export")]
    return totals, []


def _read_csv(text: str) -> tuple[Totals, _Problems]:
    totals, problems = Totals(), _Problems()
    text, end, rest = text.rpartition("\n")
    text += end
    if rest:
        # A number in it may have been cut.
        problems.append((text.count("\n") + 1, "is half-written: the last line has no end"))
    lines = csv.reader(io.StringIO(text), strict=True)
    header = tuple(next(lines, ()))
    readers: dict[tuple[str, ...], Callable[[Totals, Sequence[str]], object]] = {
        _TOTALS_HEADER: _add_group,
        _ROWS_HEADER: _add_row,
    }
    add_line = readers.get(header)
    if add_line is None:
        return Totals(), [(1, "is no export of costs: neither JSON nor a CSV with the header of one")]
    needs_total, has_total = header == _TOTALS_HEADER, False
    try:
        for cells in lines:
            try:
                if has_total:
                    raise _CorruptError("goes on after the total; give exports that were put together one by one")
                add_line(totals, _checked(cells, header))
                has_total = needs_total and cells[1] == _TOTAL
            except _CorruptError as exc:
                problems.append((lines.line_num, exc.why))
    except csv.Error as exc:
        problems.append((lines.line_num, f"is corrupt or half-written: {exc}"))
    if needs_total and not has_total:
        return Totals(), [*problems, (lines.line_num, "is half-written: the line with the total is missing")]
    return totals, problems


def _checked(cells: Sequence[str], header: Sequence[str]) -> Sequence[str]:
    if len(cells) != len(header):
        raise _CorruptError(f"has {len(cells)} fields instead of {len(header)}")
    _check_schema(cells[0])
    return cells


def _check_schema(schema: object) -> None:
    if schema != SCHEMA:
        raise _CorruptError(f"has the schema {schema!r}; this version reads {SCHEMA!r}", '"schema"')


def _add_group(totals: Totals, cells: Sequence[str]) -> None:
    part = _sum(dict(zip(Sum._fields, cells[3:], strict=True)), cells[2])
    if cells[1] == _TOTAL:
        totals.all = part
    else:
        totals.add_to(cells[1], cells[2], part)


def _add_row(totals: Totals, cells: Sequence[str]) -> None:
    row = dict(zip(_ROWS_HEADER, cells, strict=True))
    try:
        attributes = json.loads(row["attributes"])
    except ValueError:
        attributes = None
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise _CorruptError(f"has the attributes {row['attributes']!r}, which are no JSON object of texts")
    if row["is_byok"] not in _FLAGS:
        raise _CorruptError(f"has is_byok {row['is_byok']!r}; allowed: true, false or nothing")
    read_row = Row(
        row["started_at"],
        row["operation"],
        row["model"],
        row["provider"],
        row["outcome"],
        row["missing"],
        _usd(row["usd"]) if row["usd"] else None,
        _FLAGS[row["is_byok"]],
        row["source"],
        _count(row["input_tokens"], "input_tokens") if row["input_tokens"] else None,
        _count(row["output_tokens"], "output_tokens") if row["output_tokens"] else None,
        attributes,
    )
    totals.add(read_row.sum, read_row.keys)


def _sum(part: object, name: str) -> Sum:
    if not isinstance(part, dict) or part.keys() != set(Sum._fields):
        raise _CorruptError(f"has no sum for {name!r}, which has {', '.join(Sum._fields)}", json.dumps(name))
    counts = {field: _count(part[field], field) for field in Sum._fields if field != "usd"}
    return Sum(usd=_usd(part["usd"]), **counts)


def _count(value: object, name: str) -> int:
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) <= 30:  # noqa: PLR2004 - enough
        return int(value)
    if type(value) is int and value >= 0:
        return value
    raise _CorruptError(f"has {name} {value!r}, which is no whole number from 0", json.dumps(value))


def _usd(value: object) -> Decimal:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise _CorruptError(f"has usd {value!r}, which is no amount, written as a decimal text", json.dumps(value))
    return Decimal(value)


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
    writer.writerows(lines)
    return text.getvalue()
