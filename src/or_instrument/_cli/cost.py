"""The command `or-instrument cost`: adds up ledgers, and what `CostTracker` has exported, of one process or of many."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from or_instrument._amounts import counted
from or_instrument._cli import tables
from or_instrument._cli.given_twice import file_of, tell_copies
from or_instrument._cli.ledger_options import VARIABLE, add_ledger, add_since, ledgers, reading
from or_instrument._errors import ConfigError
from or_instrument._money import export, focus, query, readback
from or_instrument._money.totals import ATTRIBUTE, MODEL, NONE, Totals, dimension_of, parts_of

_BAD_DATA: Final = 1
_NOTHING_SUMMED: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="JSON or CSV, as CostTracker has exported it")
    add_ledger(parser)
    add_since(parser)
    parser.add_argument(
        "--by",
        action="append",
        type=_dimension,
        default=[],
        metavar="WHAT",
        help="sum by model, provider, day or the name of an attribute, or by several at once (model,tenant); may be "
        "repeated, for one table each (default: model)",
    )
    parser.add_argument("--format", choices=("table", "json", "csv", "focus"), default="table", help="default: table")
    parser.add_argument("--billing-account", metavar="ID", help="FOCUS: the BillingAccountId (default: the key's hash)")
    parser.add_argument(
        "--skip-bad", action="store_true", help="sum what can be read of corrupt files, and exit with 1 nevertheless"
    )


def run(args: argparse.Namespace) -> int:
    """Print the sums; return 0, or 1 where something was skipped, or 2 where bad files kept it from summing.

    Raises `MissingExtra` where a table is wanted and `rich` is not installed, `ConfigError` where a ledger cannot be
    read.
    """
    # A ledger that is merely in the environment is not added to files that somebody names.
    books = list(_each_once(ledgers(args.ledger))) if args.ledger or not args.files else []
    if not books and not args.files:
        raise ConfigError(f"nothing to sum: give --ledger, set {VARIABLE}, or name files that CostTracker has exported")
    if args.format != "table" and isinstance(sys.stdout, io.TextIOWrapper):
        # Programs read it, whatever the encoding of this terminal is; half a surrogate pair is no UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    if args.format == "focus":
        return _focus(args, books)
    wanted = list(dict.fromkeys(args.by))
    by = wanted or ([MODEL] if args.format == "table" else None)
    totals, problems = _read(args.files, readback.Cut(args.since or "", tuple(name for name in wanted if "," in name)))
    for problem in problems:
        print(f"or-instrument cost: {problem}", file=sys.stderr)
    if problems and not args.skip_bad:
        print("or-instrument cost: nothing was summed; --skip-bad sums the rest", file=sys.stderr)
        return _NOTHING_SUMMED
    with ExitStack() as stack:
        opened = [stack.enter_context(reading(path)) for path in books]
        tell_copies("cost", books, opened)
        for path, ledger in zip(books, opened, strict=True):
            totals.merge(query.totals_of(ledger, by, args.since) if by else query.totals_of_all(ledger, args.since))
            _tell_lost(path, query.lost_in(ledger, args.since))
    totals.fold()
    _tell_absent(wanted, totals)
    if args.format == "table":
        tables.show(totals, by or [MODEL])
    else:
        shown = totals.only(by) if by else totals
        sys.stdout.write(export.totals_json(shown, {}) if args.format == "json" else export.totals_csv(shown))
    return _BAD_DATA if problems else 0


def _read(files: Sequence[str], cut: readback.Cut) -> tuple[Totals, list[readback.Problem]]:
    totals, problems = Totals(is_bounded=False), list[readback.Problem]()
    for file in _each_once(files):
        part, wrong = readback.read(file, cut)
        totals.merge(part)
        problems.extend(wrong)
    return totals, problems


def _dimension(text: str) -> str:
    if not all(part.strip() for part in text.split(",")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of: model, provider, day, the name of an attribute, several of these with commas between"
        )
    return dimension_of(text)


def _each_once(files: Sequence[str]) -> Iterator[str]:
    seen: dict[object, str] = {}
    for file in files:
        same = file_of(file)
        if same in seen:
            print(f"or-instrument cost: {file} is {seen[same]} once more, and is counted once", file=sys.stderr)
        else:
            seen[same] = file
            yield file


def _tell_absent(by: Sequence[str], totals: Totals) -> None:
    for dimension in by:
        for part in _absent_parts(dimension, totals):
            print(f"or-instrument cost: --by {part.replace(ATTRIBUTE, '')}: no call has it", file=sys.stderr)


def _absent_parts(dimension: str, totals: Totals) -> list[str]:
    """Return what no call has: the dimension itself, or parts of a cross."""
    parts = parts_of(dimension)
    if len(parts) == 1 or dimension not in totals.groups:
        return [] if dimension in totals.groups else [dimension]
    values = [json.loads(value) for value in totals.groups[dimension] if value.startswith("[")]
    return [part for place, part in enumerate(parts) if all(value[place] == NONE for value in values)]


def _focus(args: argparse.Namespace, books: Sequence[str]) -> int:
    if args.files or args.by:
        raise ConfigError("--format focus is made of ledgers, hour by hour: give --ledger, no files and no --by")
    with ExitStack() as stack:
        ledgers = [stack.enter_context(reading(path)) for path in books]
        tell_copies("cost", books, ledgers)
        sys.stdout.writelines(focus.lines(ledgers, args.since, args.billing_account))
        for path, ledger in zip(books, ledgers, strict=True):
            _tell_unknown(path, query.totals_of(ledger, [], args.since).all.unknown)
            _tell_lost(path, query.lost_in(ledger, args.since))
    return 0


def _tell_unknown(path: str, unknown: int) -> None:
    if unknown:
        left_out = counted(unknown, "call")
        print(f"or-instrument cost: {path}: the cost of {left_out} is unknown and left out", file=sys.stderr)


def _tell_lost(path: str, lost: int) -> None:
    if lost:
        print(f"or-instrument cost: {path}: {counted(lost, 'call')} could not be written, in no sum", file=sys.stderr)
