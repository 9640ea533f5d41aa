"""The command `or-instrument reconcile`: whether the sum of the ledger equals what OpenRouter has charged."""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from time import time_ns
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from or_instrument._cli.ledgers import VARIABLE, add_ledger, add_since, ledgers, reading
from or_instrument._cli.tables import print_lines, short
from or_instrument._errors import ConfigError, LookupFailed
from or_instrument._money import own
from or_instrument._money.account import KEY, ask
from or_instrument._money.entry import utc
from or_instrument._money.own import Reading, Scope
from or_instrument._money.reconcile import Line, Side, agree, compare, ours_as_theirs, reasons, theirs_of, total
from or_instrument._money.statement import activity, begin_of, look_up, others, ours_of
from or_instrument._openrouter.generation import KeyStatus
from or_instrument._records import add

_KEY: Final = "OPENROUTER_API_KEY"
_BASE_URL: Final = "https://openrouter.ai/api/v1"
_ANSWER_S: Final = 10.0
_ASKABLE_DAYS: Final = 30
_DIFFERENT: Final = 1
_NOT_ASKED: Final = 2


class _Asked(NamedTuple):
    """Who is asked, about which ledgers."""

    client: Any
    host: str
    key: str
    """The hash of the key that asks."""
    books: Sequence[sqlite3.Connection]
    since: str | None
    tolerance: Decimal
    today: date


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_ledger(parser)
    add_since(parser)
    parser.add_argument("--base-url", default=_BASE_URL, metavar="URL", help=f"default: {_BASE_URL}")
    parser.add_argument(
        "--tolerance",
        type=_percent,
        default="0.5",
        metavar="PERCENT",
        help="how much of the total may differ, if it is more than 0.01 USD (default: 0.5)",
    )


def run(args: argparse.Namespace, today: date | None = None) -> int:
    """Print both sides; return 0 where they agree, 1 where not, 2 where it could not be asked.

    Raises `ConfigError` where there is no key or no ledger.
    """
    api_key = os.environ.get(_KEY, "").strip()
    paths = list(dict.fromkeys(map(os.path.realpath, ledgers(args.ledger))))
    if not api_key:
        raise ConfigError(f"{_KEY} is not set: OpenRouter is asked with that key")
    if not paths:
        raise ConfigError(f"no ledger to compare: give --ledger or set {VARIABLE}")
    from openai import OpenAI  # noqa: PLC0415 - other commands need not wait for it

    with ExitStack() as stack:
        books = [stack.enter_context(reading(path)) for path in paths]
        client = stack.enter_context(OpenAI(api_key=api_key, base_url=args.base_url, max_retries=0))
        asked = _Asked(
            client,
            urlsplit(args.base_url).hostname or "",
            hashlib.sha256(api_key.encode()).hexdigest(),
            books,
            args.since,
            args.tolerance,
            today or datetime.now(timezone.utc).date(),
        )
        try:
            status = ask(client, KEY, _ANSWER_S)
            is_management = status.is_management_key or status.is_provisioning_key
            return _by_activity(asked) if is_management else _by_growth(asked, status)
        except LookupFailed as failed:
            return _say(str(failed))


def _by_activity(asked: _Asked) -> int:
    first = begin_of(asked.books)
    if first is None:
        return _say("the ledger is empty")
    oldest = (asked.today - timedelta(days=_ASKABLE_DAYS)).isoformat()
    wanted = max(first[:10], asked.since or "")
    scope = Scope(asked.host, max(wanted, oldest), asked.today.isoformat())
    if wanted < oldest:
        print(f"Days before {oldest} can no longer be asked; they are left out.")
    if scope.since >= scope.until:
        return _say(f"no day is complete yet: the ledger is asked from {wanted} on, and today is {asked.today} (UTC)")
    look_up(asked.client, asked.books, scope)
    account = activity(asked.client, scope)
    keys = sorted({key for book in asked.books for key in own.keys_of(book, scope)}, key=str)
    rows, by_key = account, list[Line]()
    if keys and None not in keys:
        by_key, rows = [], []
        for key in keys:
            of_key = activity(asked.client, scope, key)
            rows.extend(of_key)
            sides = total(compare(ours_of(asked.books, scope._replace(key=key)), theirs_of(of_key)))
            by_key.append(sides._replace(day="key", model=str(key)[:12]))
    lines = compare(ours_as_theirs(ours_of(asked.books, scope), rows), theirs_of(rows))
    return _conclude(asked, [*lines, *by_key], total(lines), scope, others(account, rows))


def _by_growth(asked: _Asked, status: KeyStatus) -> int:
    if asked.since is not None:
        raise ConfigError("--since needs a management key; another key knows its growth since the last run")
    if status.usage is None:
        return _say("GET /key tells no usage of this key")
    book, now = asked.books[0], Reading(utc(time_ns()), status.usage)
    earlier = own.readings_of(book, asked.key)
    own.note_reading(book, asked.key, now)
    if earlier:
        begin, theirs = earlier[-1].at, add(status.usage, earlier[-1].usage.copy_negate())
    else:
        window = _window(asked, status)
        if window is None:
            return _say("the usage of this key is noted as the start; the next run compares what has come since")
        begin, theirs = window
    scope = Scope(asked.host, begin, key=asked.key)
    look_up(asked.client, asked.books, scope)
    ours = total(compare(ours_of(asked.books, scope), {})).ours
    line = Line(f"since {begin}", "", ours, Side(theirs))
    return _conclude(asked, [], line, scope, None)


def _window(asked: _Asked, status: KeyStatus) -> tuple[str, Decimal] | None:
    """Return the longest of the windows that the service knows and the ledger reaches back to."""
    begin = begin_of(asked.books)
    today = asked.today
    windows = (
        (today.replace(day=1), status.usage_monthly),
        (today - timedelta(days=today.weekday()), status.usage_weekly),
        (today, status.usage_daily),
    )
    for start, usage in windows:
        if begin is not None and usage is not None and begin < start.isoformat():
            return start.isoformat(), usage
    return None


def _conclude(asked: _Asked, lines: Sequence[Line], sums: Line, scope: Scope, beside: Side | None) -> int:
    print_lines([*lines, sums])
    if beside is not None:
        print(f"Other keys of the account: {short(beside.usd)} USD in {beside.calls} requests, not in the table.")
    if sums.ours.byok_usd or sums.theirs.byok_usd:
        reckoned = f", OpenRouter reckons {short(sums.theirs.byok_usd)} USD" if sums.theirs.calls else ""
        print(
            f"Billed by providers to your own keys: {short(sums.ours.byok_usd)} USD{reckoned}; neither is an invoice."
        )
    lost = sum(own.lost_between(book, scope.since, scope.until) for book in asked.books)
    for reason in reasons(sums, lost):
        print(f"- {reason}")
    if agree(sums, asked.tolerance):
        print("They agree.")
        return 0
    print(f"They differ by {short(sums.difference)} USD.")
    return _DIFFERENT


def _say(why: str) -> int:
    print(f"or-instrument reconcile: {why}", file=sys.stderr)
    return _NOT_ASKED


def _percent(text: str) -> Decimal:
    try:
        percent = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        percent = Decimal(-1)
    if not percent.is_finite() or percent < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0")
    return percent
