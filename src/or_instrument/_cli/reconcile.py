"""The command `or-instrument reconcile`: whether the sum of the ledger equals what OpenRouter has charged."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from decimal import Decimal
from time import sleep, time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from or_instrument._amounts import add, counted
from or_instrument._cli import arguments
from or_instrument._cli.given_twice import file_of, tell_copies
from or_instrument._cli.ledger_options import VARIABLE, add_ledger, add_since, changing, ledgers
from or_instrument._cli.tables import print_lines, short
from or_instrument._errors import ConfigError, LookupFailed
from or_instrument._money import own_side, query, statement
from or_instrument._money.account import fetch_key
from or_instrument._money.entry import utc
from or_instrument._money.growth import first_whole_day
from or_instrument._money.own_side import Scope
from or_instrument._money.readings import Reading, note_reading
from or_instrument._money.reconcile import Line, Side, agree, compare, ours_as_theirs, reasons, theirs_of, total
from or_instrument._openrouter.account_records import Activity, KeyStatus
from or_instrument._openrouter.hosts import account_host

if TYPE_CHECKING:
    import sqlite3

_ASKABLE_DAYS: Final = 30
_WRITTEN_S: Final = 1.0
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
    read_at: str
    """When the key was read, a moment in UTC."""

    @property
    def today(self) -> date:
        """The UTC day of that moment, of which the service has told."""
        return date.fromisoformat(self.read_at[:10])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_ledger(parser)
    add_since(parser)
    parser.add_argument(
        "--base-url",
        type=arguments.url,
        default=arguments.BASE_URL,
        metavar="URL",
        help=f"default: {arguments.BASE_URL}",
    )
    parser.add_argument(
        "--tolerance",
        type=arguments.percent,
        default="0.5",
        metavar="PERCENT",
        help="how much of the total may differ, if it is more than 0.01 USD (default: 0.5)",
    )


def run(args: argparse.Namespace) -> int:
    """Print both sides; return 0 where they agree, 1 where not, 2 where it could not be asked.

    Raises `ConfigError` where there is no key, none that can be sent, or no ledger.
    """
    api_key = arguments.api_key()
    # Of several names of a file the first is taken.
    paths = list({file_of(path): os.path.realpath(path) for path in reversed(ledgers(args.ledger))}.values())[::-1]
    if not api_key:
        raise ConfigError(f"{arguments.KEY} is not set: OpenRouter is asked with that key")
    if not paths:
        raise ConfigError(f"no ledger to compare: give --ledger or set {VARIABLE}")
    from openai import OpenAI  # noqa: PLC0415 - other commands need not wait for it

    with ExitStack() as stack:
        books = [stack.enter_context(changing(path)) for path in paths]
        tell_copies("reconcile", paths, books)
        client = stack.enter_context(OpenAI(api_key=api_key, base_url=args.base_url, max_retries=0))
        host, key = account_host(urlsplit(args.base_url).hostname or ""), hashlib.sha256(api_key.encode()).hexdigest()
        try:
            status, read_at = _read_key(client)
            asked = _Asked(client, host, key, books, args.since, args.tolerance, read_at)
            is_management = status.is_management_key or status.is_provisioning_key
            return _by_activity(asked) if is_management else _by_growth(asked, status)
        except LookupFailed as failed:
            return _say(str(failed).replace(" /", f" {arguments.shown(args.base_url)}/", 1))


def _read_key(client: Any) -> tuple[KeyStatus, str]:
    """Return what the service tells of the key, and when: what it tells of today is of the day of that moment."""
    while True:
        before, status, after = utc(time_ns()), fetch_key(client), utc(time_ns())
        if before[:10] == after[:10]:
            return status, after


def _by_activity(asked: _Asked) -> int:
    covered = statement.covered_from(asked.books)
    scope = _askable(asked, covered)
    if scope.since >= scope.until:
        return _say(
            f"no day is complete yet: the ledger is asked from {scope.since} on, and today is {asked.today} (UTC)"
        )
    statement.look_up(asked.client, asked.books, scope)
    account = statement.activity(asked.client, scope)
    keys = sorted({key for book in asked.books for key in own_side.keys_of(book, scope)}, key=str)
    if not keys:
        whole = total(compare({}, theirs_of(account))).theirs
        return _say(
            f"the ledger has no call to {asked.host} on these days, and nothing tells which key to compare; "
            f"all keys of the account have spent {short(whole.usd)} USD in {counted(whole.calls, 'request')}"
        )
    rows, by_key = (account, []) if None in keys else _by_key(asked, scope, keys)
    ours = statement.ours_of(asked.books, scope)
    if statement.covered_from(asked.books) != covered:
        return _by_activity(asked)
    now = utc(time_ns())
    if scope.since == _oldest(asked) and now[:10] > asked.read_at[:10]:
        # It is another day by now, and of the oldest one OpenRouter may tell nothing any more.
        return _by_activity(asked._replace(read_at=now))
    lines = compare(ours_as_theirs(ours, rows), theirs_of(rows))
    return _conclude(asked, [*lines, *by_key], total(lines), scope, statement.others(account, rows))


def _oldest(asked: _Asked) -> str:
    return (asked.today - timedelta(days=_ASKABLE_DAYS)).isoformat()


def _askable(asked: _Asked, covered: str) -> Scope:
    """Return the days that both sides have in full, and say which are left out."""
    oldest = _oldest(asked)
    wanted = max(first_whole_day(covered), asked.since or "")
    if (asked.since or covered[:10]) < first_whole_day(covered):
        print(f"The ledger has every call from {covered} (UTC) on; days that began earlier are left out.")
    if wanted < oldest:
        print(f"Days before {oldest} can no longer be asked; they are left out.")
    return Scope(asked.host, max(wanted, oldest), asked.today.isoformat())


def _by_key(asked: _Asked, scope: Scope, keys: Sequence[str | None]) -> tuple[list[Activity], list[Line]]:
    rows, lines = list[Activity](), list[Line]()
    for key in keys:
        of_key = statement.activity(asked.client, scope, key)
        rows.extend(of_key)
        sides = total(compare(statement.ours_of(asked.books, scope._replace(key=key)), theirs_of(of_key)))
        lines.append(sides._replace(day="key", model=str(key)[:12]))
    return rows, lines


def _by_growth(asked: _Asked, status: KeyStatus) -> int:
    if status.usage is None:
        return _say("GET /key tells no usage of this key")
    now = Reading(asked.read_at, status.usage)
    whose = Scope(asked.host, asked.since or "", now.at, asked.key, "ended_at")
    start = statement.growth_start(asked.books, whose, status)
    if start is None:
        note_reading(asked.books, asked.host, asked.key, now)
        since = "" if asked.since is None else f" from {asked.since} on"
        return _say(
            f"the ledger has no reading of this key{since}, and covers no month, week or day that began then; "
            "the usage of this key is noted as the start, and the next run compares what has come since"
        )
    if asked.since is not None and start.at[:10] > asked.since:
        print(f"What the key had been charged on {asked.since} is not known; the first that is known is of {start.at}.")
    # Until the reading: what ends later, though before the rows are read, is charged later too.
    scope = whose._replace(since=start.at)
    statement.look_up(asked.client, asked.books, scope)
    # A call that ended just before the reading is written a moment later.
    sleep(_WRITTEN_S)
    with statement.one_moment(asked.books):
        # What was removed meanwhile is carried forward in the reading.
        again = statement.growth_start(asked.books, whose, status)
        ours = total(compare(statement.ours_of(asked.books, scope), {})).ours
    if again is None or again.at != start.at:
        return _by_growth(asked, status)
    # Not before: where this run comes to no end, the next one compares what it would have.
    note_reading(asked.books, asked.host, asked.key, now)
    theirs = Side(add(now.usage, start.usage.copy_negate()))
    line = Line(f"since {start.at}", "", ours._replace(usd=add(ours.usd, again.pruned)), theirs)
    return _conclude(asked, [], line, scope, None)


def _conclude(asked: _Asked, lines: Sequence[Line], sums: Line, scope: Scope, beside: Side | None) -> int:
    print_lines([*lines, sums])
    if beside is not None:
        made = counted(beside.calls, "request")
        print(f"Other keys of the account: {short(beside.usd)} USD in {made}, not in the table.")
    if sums.ours.byok_usd or sums.theirs.byok_usd:
        reckoned = f", OpenRouter reckons {short(sums.theirs.byok_usd)} USD" if sums.theirs.calls else ""
        print(
            f"Billed by providers to your own keys: {short(sums.ours.byok_usd)} USD{reckoned}; neither is an invoice."
        )
    lost = sum(query.lost_in(book, scope.since, scope.until) for book in asked.books)
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
