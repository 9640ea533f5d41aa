"""The command line: `or-instrument COMMAND`, also `python -m or_instrument COMMAND`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from or_instrument._cli import cost, demo, doctor, ledger, reconcile, run
from or_instrument._errors import ConfigError
from or_instrument._extras import MissingExtra
from or_instrument._version import __version__

_NOT_DONE: Final = 2


class _Command(NamedTuple):
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


_COMMANDS: Final[Mapping[str, _Command]] = {
    "demo": _Command("make a handful of calls and show what is recorded", demo.add_arguments, demo.run),
    "cost": _Command("add up ledgers, and what CostTracker has exported", cost.add_arguments, cost.run),
    "ledger": _Command("look after a ledger", ledger.add_arguments, ledger.run),
    "doctor": _Command(
        "say what is installed, patched and set, and how to mend what is wrong", doctor.add_arguments, doctor.run
    ),
    "reconcile": _Command("compare a ledger with what OpenRouter has charged", reconcile.add_arguments, reconcile.run),
    "run": _Command("run a command with recording switched on", run.add_arguments, run.run),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 2 where what was asked for cannot be done."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names come from outside, and may have what the encoding of this terminal lacks.
        sys.stdout.reconfigure(errors="replace")
    try:
        code = _COMMANDS[args.command].run(args)
        _flush()
    except (ConfigError, MissingExtra) as exc:
        print(f"or-instrument {args.command}: {exc}", file=sys.stderr)
        return _NOT_DONE
    except OSError as exc:
        # A reader that has gone has seen enough, as `head` has.
        if not isinstance(exc, BrokenPipeError):
            print(f"or-instrument {args.command}: {exc}", file=sys.stderr)
        _print_rest()
        return _NOT_DONE
    return code


def _flush() -> None:
    if sys.stdout is not None:  # as it is where it was closed before
        sys.stdout.flush()


def _print_rest() -> None:
    """Print what still waits to be; where that cannot be, have the interpreter not try it at its end."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("or-instrument", description="Tells what every OpenRouter call really costs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.summary, description=command.summary))
    return parser
