"""Reads one row or one sum of an export back; what is not of the schema is an error, never a guess."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from or_instrument._money.totals import Row, Sum

ADDED: Final = "lower_bound"
"""The last field of sums and rows, which a file of the former schema does not have."""
_AMOUNT: Final = re.compile(r"[0-9]{1,400}(\.[0-9]{1,1200})?")
"""Room for every sum of doubles, and for nothing that cannot be added exactly."""
_FLAGS: Final = {"": None, "true": True, "false": False}


class CorruptError(ValueError):
    """A part of an export that cannot be read; `text` is what to look for in the file."""

    def __init__(self, why: str, text: str = "") -> None:
        self.why, self.text = why, text
        super().__init__(why)


def row_of_cells(cells: Mapping[str, str]) -> Row:
    if not cells.keys() >= set(Row._fields):
        raise CorruptError(f"has a row that lacks {', '.join(sorted(set(Row._fields) - cells.keys()))}", '"rows"')
    try:
        attributes = json.loads(cells["attributes"])
    except ValueError:
        attributes = None
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise CorruptError(f"has the attributes {cells['attributes']!r}, which are no JSON object of texts")
    for flag in ("is_byok", ADDED):
        if cells[flag] not in _FLAGS:
            raise CorruptError(f"has {flag} {cells[flag]!r}; allowed: true, false or nothing")
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
        _FLAGS[cells[ADDED]] is True,
    )


def sum_of_cells(part: object, name: str, *, is_former: bool = False) -> Sum:
    if is_former and isinstance(part, dict):
        part = {**part, ADDED: 0}
    if not isinstance(part, dict) or part.keys() != set(Sum._fields):
        raise CorruptError(f"has no sum for {name!r}, which has {', '.join(Sum._fields)}", json.dumps(name))
    counts = {field: _count(part[field], field) for field in Sum._fields if field != "usd"}
    return Sum(usd=_usd(part["usd"]), **counts)


def _count(value: object, name: str) -> int:
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) <= 30:  # noqa: PLR2004 - enough
        return int(value)
    if type(value) is int and value >= 0:
        return value
    raise CorruptError(f"has {name} {value!r}, which is no whole number from 0", json.dumps(value))


def _usd(value: object) -> Decimal:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise CorruptError(f"has usd {value!r}, which is no amount, written as a decimal text", json.dumps(value))
    return Decimal(value)
