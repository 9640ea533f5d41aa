"""Tables of costs for people, with a bar for each row where there is a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from or_instrument._extras import require
from or_instrument._money.reconcile import Line
from or_instrument._money.totals import NONE, OTHER, Sum, Totals, parts_of, usd_text

_NUMBERS: Final = ("USD", "calls", "unknown", "input", "output")
_BAR_WIDTH: Final = 20
_LEAST_WIDTH: Final = 10
"""Of a column of texts, which are folded where they need more: a day is whole."""
_AROUND: Final = 3
"""What a column has beside its text: blanks and a line."""
_NO_LIMIT: Final = 1_000_000
_LINE_TITLES: Final = (
    "day",
    "model",
    "ours USD",
    "OpenRouter USD",
    "difference",
    "calls",
    "requests",
    "unknown",
    "provider",
)


def make_console() -> Any:
    """Return the console to print on; what is no terminal has lines of any length. Raises `MissingExtra`."""
    # Values are the users' own texts, not markup.
    console = require("rich.console", "cli").Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _NO_LIMIT
    return console


def show(totals: Totals, dimensions: Sequence[str]) -> None:
    """Print a table for each dimension, and a word on what is unknown. Raises `MissingExtra` without `rich`."""
    console = make_console()
    for dimension in dimensions:
        table = _table(totals, dimension, has_bars=console.is_terminal)
        # Half an amount is another amount: in a terminal that is too narrow for the numbers the lines are too long.
        needed = sum(column.min_width + _AROUND for column in table.columns)
        table.width = needed if needed > console.width else None
        console.print(table, crop=False)
    if totals.all.unknown:
        console.print(f"The cost of {totals.all.unknown} of {totals.all.calls} calls is unknown and not in the sums.")
    if totals.all.lower_bound:
        console.print(
            f"The cost of {totals.all.lower_bound} of {totals.all.calls} calls is a lower bound: streams on your own "
            "key that were broken off, for which the provider may have billed more."
        )


def print_lines(lines: Sequence[Line]) -> None:
    """Print both sides of each line as plain text."""
    table = [_LINE_TITLES, *map(_line_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        texts = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        print("  ".join([*texts[:2], *numbers[2:-1], texts[-1]]).rstrip())


def short(usd: Decimal) -> str:
    """Return an amount without the zeros at its end."""
    text = usd_text(usd)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _line_cells(line: Line) -> tuple[str, ...]:
    ours, theirs = line.ours, line.theirs
    return (
        line.day,
        _visible(line.model),
        short(ours.usd),
        short(theirs.usd),
        short(line.difference),
        str(ours.calls),
        str(theirs.calls) if theirs.calls else "-",
        str(ours.unknown),
        _visible(", ".join(line.providers)),
    )


def _table(totals: Totals, dimension: str, *, has_bars: bool) -> Any:
    table = require("rich.table", "cli").Table(show_footer=True)
    parts, lines = parts_of(dimension), _lines(totals, dimension)
    for number, part in enumerate(parts):
        table.add_column(_visible(part), "" if number else "total", overflow="fold", min_width=_LEAST_WIDTH)
    for title, total, *cells in zip(_NUMBERS, *map(_cells, (totals.all, *(sums for _, sums in lines))), strict=True):
        width = max(map(len, (title, total, *cells)))
        table.add_column(title, total, justify="right", no_wrap=True, min_width=width)
    if has_bars:
        table.add_column("", min_width=1)
    most = max((part.usd for _, part in lines), default=Decimal(0))
    for value, sums in lines:
        # What is beyond the limit of a group, or without any of the parts, is a word and no list.
        values = [value] if len(parts) == 1 or value in (NONE, OTHER) else json.loads(value)
        values += [""] * (len(parts) - len(values))
        table.add_row(*map(_visible, values), *_cells(sums), *([_bar(sums.usd, most)] if has_bars else []))
    return table


def _visible(text: str) -> str:
    # It comes from outside, and a terminal obeys what it cannot show.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _bar(usd: Decimal, most: Decimal) -> Any:
    return require("rich.bar", "cli").Bar(float(most) or 1.0, 0, float(usd), width=_BAR_WIDTH)


def _lines(totals: Totals, dimension: str) -> list[tuple[str, Sum]]:
    lines = list(totals.by(dimension).items())
    rest = totals.all
    for _, part in lines:
        rest = rest.plus(part, -1)
    # Calls that were made without the attribute.
    return [*lines, (NONE, rest)] if rest.calls > 0 and rest.usd >= Decimal(0) else lines


def _cells(part: Sum) -> tuple[str, str, str, str, str]:
    return usd_text(part.usd), str(part.calls), str(part.unknown), str(part.input_tokens), str(part.output_tokens)
