"""What commands have in common that read ledgers: which files, and since when."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from or_instrument._errors import ConfigError
from or_instrument._money.readonly import ledger_to_read
from or_instrument._money.schema import NotALedgerError, open_ledger
from or_instrument._options import OPTIONS

if TYPE_CHECKING:
    import sqlite3

VARIABLE: Final = OPTIONS["ledger"].variable
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_DAYS: Final = re.compile(r"([1-9][0-9]{0,3})d")


def add_ledger(parser: argparse.ArgumentParser) -> None:
    """Add the option that names ledgers."""
    parser.add_argument(
        "--ledger",
        action="append",
        default=[],
        metavar="FILE",
        help=f"a ledger, as instrument(ledger=...) writes it; may be repeated (default: {VARIABLE})",
    )


def add_since(parser: argparse.ArgumentParser) -> None:
    """Add the option that says from which day on."""
    parser.add_argument(
        "--since",
        type=day,
        metavar="DAY",
        help="a day (2026-11-01), or 7d for the last seven days, today included; all days are UTC",
    )


def day(text: str, today: date | None = None) -> str:
    """Return the first day that is meant, as `2026-11-26`. Raises `argparse.ArgumentTypeError`."""
    if _LAST_DAYS.fullmatch(text):
        return last_days(text, today)
    try:
        # Later versions of Python take other forms too, such as 20261101.
        if _DAY.fullmatch(text) is None:
            raise ValueError(text)
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-11-01, nor 7d") from None


def last_days(text: str, today: date | None = None) -> str:
    """Return the first of the days that end today (UTC). Raises `argparse.ArgumentTypeError`."""
    days = _LAST_DAYS.fullmatch(text)
    if days is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days such as 7d")
    return ((today or datetime.now(timezone.utc).date()) - timedelta(days=int(days[1]) - 1)).isoformat()


def ledgers(given: Sequence[str]) -> list[str]:
    """Return the ledgers that were named, else that of the environment, else none; `~` is the home folder."""
    named = os.environ.get(VARIABLE, "").strip()
    return [str(Path(path).expanduser()) for path in (given or ([named] if named else []))]


@contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection]:
    """Yield a ledger that is only read. Raises `ConfigError` naming it where that cannot be done."""
    with _named(path), ledger_to_read(path) as ledger:
        yield ledger


@contextmanager
def changing(path: str) -> Iterator[sqlite3.Connection]:
    """Yield a ledger. Raises `ConfigError` naming it where it cannot be read or written."""
    with _named(path), closing(open_ledger(path)) as ledger:
        yield ledger


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        import sqlite3  # noqa: PLC0415 - other commands need not have it
    except ImportError as exc:
        raise ConfigError(f"the ledger {path} cannot be used: this Python was built without SQLite ({exc})") from exc
    try:
        yield
    except (OSError, NotALedgerError, sqlite3.Error) as exc:
        if isinstance(exc, OSError) and exc.filename is None:
            raise  # it is of what is printed meanwhile, and not of the file
        raise ConfigError(f"the ledger {path} cannot be used: {getattr(exc, 'strerror', None) or exc}") from exc
