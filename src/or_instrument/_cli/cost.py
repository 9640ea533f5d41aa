"""The command `or-instrument cost FILE...`: adds up what `CostTracker` has exported, of one process or of many."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from or_instrument._extras import require
from or_instrument._money import export
from or_instrument._money.totals import MODEL, Sum, Totals, dimension_of, usd_text

_BAD_DATA: Final = 1
_NOTHING_SUMMED: Final = 2
_NONE: Final = "(none)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON or CSV, as CostTracker has exported it")
    parser.add_argument(
        "--by",
        action="append",
        metavar="WHAT",
        help="sum by model, provider, day or the name of an attribute; may be repeated (default: model)",
    )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: table")
    parser.add_argument(
        "--skip-bad", action="store_true", help="sum what can be read of corrupt files, and exit with 1 nevertheless"
    )


def run(args: argparse.Namespace) -> int:
    """Print the sums; return 0, or 1 where something was skipped, or 2 where bad files kept it from summing.

    Raises `MissingExtra` where a table is wanted and `rich` is not installed.
    """
    totals, problems = _read(args.files)
    for problem in problems:
        print(f"or-instrument cost: {problem}", file=sys.stderr)
    if problems and not args.skip_bad:
        print("or-instrument cost: nothing was summed; --skip-bad sums the rest", file=sys.stderr)
        return _NOTHING_SUMMED
    wanted = [dimension_of(name) for name in args.by or ()]
    if args.format == "table":
        _print_tables(totals, wanted or [MODEL])
    else:
        shown = _only(totals, wanted) if wanted else totals
        text = export.totals_json(shown, {}) if args.format == "json" else export.totals_csv(shown)
        sys.stdout.write(text)
    return _BAD_DATA if problems else 0


def _read(files: Sequence[str]) -> tuple[Totals, list[export.Problem]]:
    totals, problems = Totals(), list[export.Problem]()
    for file in files:
        part, wrong = export.read(file)
        totals.merge(part)
        problems.extend(wrong)
    return totals, problems


def _only(totals: Totals, dimensions: Sequence[str]) -> Totals:
    shown = Totals()
    shown.all = totals.all
    shown.groups = {dimension: totals.groups.get(dimension, {}) for dimension in dimensions}
    return shown


def _print_tables(totals: Totals, dimensions: Sequence[str]) -> None:
    table_class = require("rich.table", "cli").Table
    # Values are the users' own texts, not markup.
    console = require("rich.console", "cli").Console(markup=False, emoji=False, highlight=False)
    for dimension in dimensions:
        table = table_class(show_footer=True)
        table.add_column(dimension, "total", overflow="fold")
        for title, total in zip(("USD", "calls", "unknown", "input", "output"), _cells(totals.all), strict=True):
            table.add_column(title, total, justify="right", overflow="fold")
        for value, part in _lines(totals, dimension):
            table.add_row(value, *_cells(part))
        console.print(table)
    if totals.all.unknown:
        console.print(f"The cost of {totals.all.unknown} of {totals.all.calls} calls is unknown and not in the sums.")


def _lines(totals: Totals, dimension: str) -> list[tuple[str, Sum]]:
    lines = list(totals.by(dimension).items())
    rest = totals.all
    for _, part in lines:
        rest = rest.plus(part, -1)
    # Calls that were made without the attribute.
    return [*lines, (_NONE, rest)] if rest.calls > 0 and rest.usd >= Decimal(0) else lines


def _cells(part: Sum) -> tuple[str, str, str, str, str]:
    return usd_text(part.usd), str(part.calls), str(part.unknown), str(part.input_tokens), str(part.output_tokens)
