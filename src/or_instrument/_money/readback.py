"""Reads exports back, so that those of several processes can be added up.

What is not of the schema is a `Problem` with a line, never a guess.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from or_instrument._money.export import FORMER, ROWS_HEADER, SCHEMA, TOTAL, TOTALS_HEADER
from or_instrument._money.totals import Row, Sum, Totals

_AMOUNT: Final = re.compile(r"[0-9]{1,400}(\.[0-9]{1,1200})?")
"""Room for every sum of doubles, and for nothing that cannot be added exactly."""
_ADDED: Final = "lower_bound"
"""The last field of sums and rows, which a file of the former schema does not have."""
_FORMER_HEADERS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    header[:-1]: header for header in (TOTALS_HEADER, ROWS_HEADER)
}
_FLAGS: Final = {"": None, "true": True, "false": False}
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


class _CorruptError(ValueError):
    """A part of an export that cannot be read; `text` is what to look for in the file."""

    def __init__(self, why: str, text: str = "") -> None:
        self.why, self.text = why, text
        super().__init__(why)


def read(path: str | os.PathLike[str], cut: Cut = _ALL) -> tuple[Totals, list[Problem]]:
    """Return what an export adds up to, without what is wrong in it, and all that is wrong."""
    name = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as exc:
        return Totals(), [Problem(name, 0, f"cannot be read: {exc.strerror or exc}")]
    except UnicodeDecodeError as exc:
        line = bytes(exc.object)[: exc.start].count(b"\n") + 1
        return Totals(), [Problem(name, line, "is no UTF-8 text")]
    totals, problems = (_read_json if text.lstrip().startswith("{") else _read_csv)(text, cut)
    return totals, [Problem(name, line, why) for line, why in sorted(problems)]


_Problems = list[tuple[int, str]]


def _read_json(text: str, cut: Cut = _ALL) -> tuple[Totals, _Problems]:
    totals = Totals()
    try:
        document = json.loads(text)
        is_former = _check_schema(document.get("schema"))
        if cut != _ALL:
            return _totals_of(document.get("rows"), cut, is_former=is_former), []
        by = document.get("by")
        if not isinstance(by, dict) or not all(isinstance(group, dict) for group in by.values()):
            raise _CorruptError("has no sums under `by`", '"by"')
        for dimension, group in by.items():
            for value, part in group.items():
                totals.add_to(dimension, value, _sum(part, value, is_former=is_former))
        totals.all = _sum(document.get(TOTAL), TOTAL, is_former=is_former)
    except json.JSONDecodeError as exc:
        return Totals(), [(exc.lineno, f"is corrupt or half-written: {exc.msg}")]
    except _CorruptError as exc:
        return Totals(), [(text.count("\n", 0, max(text.find(exc.text), 0)) + 1, exc.why)]
    except (ValueError, RecursionError):
        return Totals(), [(1, "has a number too long or a nesting too deep for an export")]
    return totals, []


def _totals_of(rows: object, cut: Cut, *, is_former: bool) -> Totals:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _CorruptError(_NO_ROWS)
    totals = Totals()
    for row in rows:
        cells = {name: _cell(value) for name, value in row.items() if name != "attributes"}
        if is_former:
            cells[_ADDED] = "false"
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
    raise _CorruptError(f"has a row with a value of type {type(value).__name__}", '"rows"')


def _read_csv(text: str, cut: Cut = _ALL) -> tuple[Totals, _Problems]:
    totals, problems = Totals(), _Problems()
    text, end, rest = text.rpartition("\n")
    text += end
    if rest:
        # A number in it may have been cut.
        problems.append((text.count("\n") + 1, "is half-written: the last line has no end"))
    lines = csv.reader(io.StringIO(text), strict=True)
    header = tuple(next(lines, ()))
    is_former = header in _FORMER_HEADERS
    header = _FORMER_HEADERS.get(header, header)
    readers: dict[tuple[str, ...], Callable[[Totals, Sequence[str]], object]] = {
        TOTALS_HEADER: _add_group,
        ROWS_HEADER: partial(_add_row, cut=cut),
    }
    add_line = readers.get(header)
    if add_line is None:
        return Totals(), [(1, "is no export of costs: neither JSON nor a CSV with the header of one")]
    if cut != _ALL and header == TOTALS_HEADER:
        return Totals(), [(1, _NO_ROWS)]
    needs_total, has_total = header == TOTALS_HEADER, False
    try:
        for cells in lines:
            try:
                if has_total:
                    raise _CorruptError("goes on after the total; give exports that were put together one by one")
                add_line(totals, _checked(cells, header, is_former=is_former))
                has_total = needs_total and cells[1] == TOTAL
            except _CorruptError as exc:
                problems.append((lines.line_num, exc.why))
    except csv.Error as exc:
        problems.append((lines.line_num, f"is corrupt or half-written: {exc}"))
    if needs_total and not has_total:
        return Totals(), [*problems, (lines.line_num, "is half-written: the line with the total is missing")]
    return totals, problems


def _checked(cells: Sequence[str], header: Sequence[str], *, is_former: bool) -> Sequence[str]:
    expected = len(header) - is_former
    if len(cells) != expected:
        raise _CorruptError(f"has {len(cells)} fields instead of {expected}")
    if _check_schema(cells[0]) != is_former:
        raise _CorruptError(f"has the schema {cells[0]!r}, but not its fields")
    return [*cells, "0" if header == TOTALS_HEADER else "false"] if is_former else cells


def _check_schema(schema: object) -> bool:
    """Return whether a schema that can be read is the former one."""
    if schema not in (SCHEMA, FORMER):
        raise _CorruptError(f"has the schema {schema!r}; this version reads {SCHEMA!r} and {FORMER!r}", '"schema"')
    return schema == FORMER


def _add_group(totals: Totals, cells: Sequence[str]) -> None:
    part = _sum(dict(zip(Sum._fields, cells[3:], strict=True)), cells[2])
    if cells[1] == TOTAL:
        totals.all = part
    else:
        totals.add_to(cells[1], cells[2], part)


def _add_row(totals: Totals, cells: Sequence[str], cut: Cut) -> None:
    _add(totals, dict(zip(ROWS_HEADER, cells, strict=True)), cut)


def _add(totals: Totals, cells: Mapping[str, str], cut: Cut) -> None:
    row = _row(cells)
    if row.started_at >= cut.since:
        totals.add(row.sum, [*row.keys, *map(row.cross, cut.crosses)])


def _row(cells: Mapping[str, str]) -> Row:
    if not cells.keys() >= set(Row._fields):
        raise _CorruptError(f"has a row that lacks {', '.join(sorted(set(Row._fields) - cells.keys()))}", '"rows"')
    try:
        attributes = json.loads(cells["attributes"])
    except ValueError:
        attributes = None
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise _CorruptError(f"has the attributes {cells['attributes']!r}, which are no JSON object of texts")
    for flag in ("is_byok", _ADDED):
        if cells[flag] not in _FLAGS:
            raise _CorruptError(f"has {flag} {cells[flag]!r}; allowed: true, false or nothing")
    return Row(
        cells["started_at"],
        cells["operation"],
        cells["model"],
        cells["provider"],
        cells["outcome"],
        cells["missing"],
        _usd(cells["usd"]) if cells["usd"] else None,
        _FLAGS[cells["is_byok"]],
        cells["source"],
        _count(cells["input_tokens"], "input_tokens") if cells["input_tokens"] else None,
        _count(cells["output_tokens"], "output_tokens") if cells["output_tokens"] else None,
        attributes,
        _FLAGS[cells[_ADDED]] is True,
    )


def _sum(part: object, name: str, *, is_former: bool = False) -> Sum:
    if is_former and isinstance(part, dict):
        part = {**part, _ADDED: 0}
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
