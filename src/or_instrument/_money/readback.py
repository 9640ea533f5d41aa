"""Reads exports back, so that those of several processes can be added up.

What is not of the schema is a `Problem` with a line, never a guess.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from or_instrument._money.csv_text import text_of_cell
from or_instrument._money.export import FORMER, ROWS_HEADER, SCHEMA, TOTAL, TOTALS_HEADER
from or_instrument._money.export_cells import ADDED, CorruptError, row_of_cells, sum_of_cells
from or_instrument._money.totals import Sum, Totals

if TYPE_CHECKING:
    from _csv import Reader

_FORMER_HEADERS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    header[:-1]: header for header in (TOTALS_HEADER, ROWS_HEADER)
}
_SQLITE: Final = b"SQLite format 3\0"
"""What a ledger begins with."""
_NO_ROWS: Final = "holds totals, of which neither days since nor a cross can be had; that needs rows, or a ledger"


class Cut(NamedTuple):
    """Which calls are to be added up, and by what besides the usual. Anything but the default needs rows."""

    since: str = ""
    """A day, UTC: `2026-11-26`."""
    crosses: tuple[str, ...] = ()
    """Dimensions such as `model,attributes.tenant`."""


_ALL: Final = Cut()


class Problem(NamedTuple):
    """What is wrong with an export."""

    file: str
    line: int
    """From 1; 0 where the file as a whole is meant."""
    why: str

    def __str__(self) -> str:
        """Return `file:line: why`."""
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


def read(path: str | os.PathLike[str], cut: Cut = _ALL) -> tuple[Totals, list[Problem]]:
    """Return what an export adds up to, without what is wrong in it, and all that is wrong."""
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
        if data.startswith(_SQLITE):
            return Totals(), [Problem(name, 0, f"is no export but a ledger: give it as --ledger {shlex.quote(name)}")]
        text = data.decode("utf-8-sig")
    except OSError as exc:
        return Totals(), [Problem(name, 0, f"cannot be read: {exc.strerror or exc}")]
    except UnicodeDecodeError as exc:
        line = bytes(exc.object)[: exc.start].count(b"\n") + 1
        return Totals(), [Problem(name, line, "is no UTF-8 text")]
    totals, problems = (_read_json if text.lstrip().startswith("{") else _read_csv)(text, cut)
    return totals, [Problem(name, line, why) for line, why in sorted(problems)]


_Problems = list[tuple[int, str]]


def _read_json(text: str, cut: Cut = _ALL) -> tuple[Totals, _Problems]:
    totals = Totals(is_bounded=False)
    try:
        document = json.loads(text)
        is_former = _check_schema(document.get("schema"))
        if cut != _ALL:
            return _totals_of(document.get("rows"), cut, is_former=is_former), []
        by = document.get("by")
        if not isinstance(by, dict) or not all(isinstance(group, dict) for group in by.values()):
            raise CorruptError("has no sums under `by`", '"by"')
        for dimension, group in by.items():
            for value, part in group.items():
                totals.add_to(dimension, value, sum_of_cells(part, value, is_former=is_former))
        totals.all = sum_of_cells(document.get(TOTAL), TOTAL, is_former=is_former)
    except json.JSONDecodeError as exc:
        return Totals(), [(exc.lineno, f"is corrupt or half-written: {exc.msg}")]
    except CorruptError as exc:
        return Totals(), [(text.count("\n", 0, max(text.find(exc.text), 0)) + 1, exc.why)]
    except (ValueError, RecursionError):
        return Totals(), [(1, "has a number too long or a nesting too deep for an export")]
    return totals, []


def _totals_of(rows: object, cut: Cut, *, is_former: bool) -> Totals:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CorruptError(_NO_ROWS)
    totals = Totals(is_bounded=False)
    for row in rows:
        cells = {name: _cell(value) for name, value in row.items() if name != "attributes"}
        if is_former:
            cells[ADDED] = "false"
        _add(totals, {**cells, "attributes": json.dumps(row.get("attributes"))}, cut)
    return totals


def _cell(value: object) -> str:
    # As in CSV, where all is text.
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, str)):
        return str(value)
    raise CorruptError(f"has a row with a value of type {type(value).__name__}", '"rows"')


def _read_csv(text: str, cut: Cut = _ALL) -> tuple[Totals, _Problems]:
    text, end, rest = text.rpartition("\n")
    text += end
    # A number in what is left may have been cut.
    problems = [(text.count("\n") + 1, "is half-written: the last line has no end")] if rest else _Problems()
    # Of its own accord it reads no value of more than 128 KiB, which an attribute may have.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    lines = csv.reader(io.StringIO(text), strict=True)
    header = tuple(next(lines, ()))
    is_former = header in _FORMER_HEADERS
    header = _FORMER_HEADERS.get(header, header)
    if header not in (TOTALS_HEADER, ROWS_HEADER):
        return Totals(), [(1, "is no export of costs: neither JSON nor a CSV with the header of one")]
    if cut != _ALL and header == TOTALS_HEADER:
        return Totals(), [(1, _NO_ROWS)]
    totals, wrong = _read_lines(lines, header, cut, is_former=is_former)
    return totals, [*problems, *wrong]


def _read_lines(lines: Reader, header: Sequence[str], cut: Cut, *, is_former: bool) -> tuple[Totals, _Problems]:
    totals, problems = Totals(is_bounded=False), _Problems()
    needs_total, has_total = header == TOTALS_HEADER, False
    try:
        for cells in lines:
            try:
                if has_total:
                    raise CorruptError("goes on after the total; give exports that were put together one by one")
                checked = _checked(cells, header, is_former=is_former)
                if needs_total:
                    _add_group(totals, checked)
                else:
                    _add(totals, dict(zip(header, checked, strict=True)), cut)
                has_total = needs_total and cells[1] == TOTAL
            except CorruptError as exc:
                problems.append((lines.line_num, exc.why))
    except csv.Error as exc:
        problems.append((lines.line_num, f"is corrupt or half-written: {exc}"))
    if needs_total and not has_total:
        return Totals(), [*problems, (lines.line_num, "is half-written: the line with the total is missing")]
    return totals, problems


def _checked(cells: Sequence[str], header: Sequence[str], *, is_former: bool) -> Sequence[str]:
    expected = len(header) - is_former
    if len(cells) != expected:
        raise CorruptError(f"has {len(cells)} fields instead of {expected}")
    if _check_schema(cells[0]) != is_former:
        raise CorruptError(f"has the schema {cells[0]!r}, but not its fields")
    if is_former:
        return [*cells, "0" if header == TOTALS_HEADER else "false"]
    return [text_of_cell(cell) for cell in cells]


def _check_schema(schema: object) -> bool:
    """Return whether a schema that can be read is the former one."""
    if schema not in (SCHEMA, FORMER):
        raise CorruptError(f"has the schema {schema!r}; this version reads {SCHEMA!r} and {FORMER!r}", '"schema"')
    return schema == FORMER


def _add_group(totals: Totals, cells: Sequence[str]) -> None:
    part = sum_of_cells(dict(zip(Sum._fields, cells[3:], strict=True)), cells[2])
    if cells[1] == TOTAL:
        totals.all = part
    else:
        totals.add_to(cells[1], cells[2], part)


def _add(totals: Totals, cells: Mapping[str, str], cut: Cut) -> None:
    row = row_of_cells(cells)
    if row.started_at >= cut.since:
        totals.add(row.sum, [*row.keys, *map(row.cross, cut.crosses)])
