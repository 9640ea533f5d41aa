"""The command `or-instrument ledger prune`: lets go of old rows."""

from __future__ import annotations

import argparse
from typing import Final

from or_instrument._amounts import counted
from or_instrument._cli.ledger_options import VARIABLE, add_ledger, changing, last_days, ledgers
from or_instrument._errors import ConfigError
from or_instrument._money.prune import prune

_DAYS: Final = "90d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with a ledger."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "remove the rows of earlier days; the file keeps its size and fills the room again"
    action = actions.add_parser("prune", help=summary, description=summary)
    add_ledger(action)
    action.add_argument(
        "--keep",
        type=last_days,
        required=True,
        metavar="DAYS",
        help=f"how many days to keep, such as {_DAYS}: today (UTC) and those before it",
    )


def run(args: argparse.Namespace) -> int:
    """Remove the rows; return 0. Raises `ConfigError` where there is no ledger, or one that cannot be written."""
    books = ledgers(args.ledger)
    if not books:
        raise ConfigError(f"no ledger to prune: give --ledger or set {VARIABLE}")
    for path in books:
        with changing(path) as ledger:
            print(f"{path}: {counted(prune(ledger, args.keep), 'row')} of days before {args.keep} removed")
    return 0
