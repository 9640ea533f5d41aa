"""Gathers both sides of a comparison: what some ledgers have, and what OpenRouter tells of the same days."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from or_instrument._amounts import add
from or_instrument._errors import LookupFailed
from or_instrument._money import own_side
from or_instrument._money.account import activity_question, filed_question
from or_instrument._money.account_requests import ask
from or_instrument._money.growth import begin, windows
from or_instrument._money.own_side import Scope
from or_instrument._money.readings import Reading, readings_of
from or_instrument._money.reconcile import Place, Side, compare, theirs_of, total
from or_instrument._openrouter.account_records import Activity, KeyStatus

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger("or_instrument")
_ANSWER_S: Final = 10.0
_PATIENCE: Final = 3


def look_up(client: Any, books: Iterable[sqlite3.Connection], scope: Scope) -> None:
    """Look up the calls whose cost is not known, and fill their rows; give up where there is no answer three times.

    That one is not on file is an answer.
    """
    failures = 0
    for book in books:
        for call in own_side.unknown_in(book, scope):
            try:
                own_side.recover(book, call, ask(client, filed_question(call.generation_id), _ANSWER_S))
            except LookupFailed as failed:
                failures += "404" not in failed.last_answer
                if failures == _PATIENCE:
                    _log.warning("looking up what is not known was given up: %s", failed)
                    return


def activity(client: Any, scope: Scope, key: str | None = None) -> list[Activity]:
    """Return what OpenRouter tells of the days, of the whole account or of one key. Raises `LookupFailed`."""
    rows = ask(client, activity_question(key), _ANSWER_S)
    return [row for row in rows if scope.since <= (row.date or "")[:10] < scope.until]


def ours_of(books: Iterable[sqlite3.Connection], scope: Scope) -> dict[Place, Side]:
    """Return what the ledgers have, by day and model."""
    sums: dict[Place, Side] = {}
    for book in books:
        for place, side in own_side.sums_of(book, scope).items():
            sums[place] = sums.get(place, Side()).plus(side)
    return sums


def covered_from(books: Iterable[sqlite3.Connection]) -> str:
    """Return from when on the ledgers have every call: since the first began, and all that was removed was earlier."""
    covered = [own_side.coverage_of(book) for book in books]
    return max(min(begun for begun, _ in covered), *(pruned for _, pruned in covered))


def growth_start(books: Sequence[sqlite3.Connection], scope: Scope, status: KeyStatus) -> Reading | None:
    """Return the reading of a key to compare with, from the first day of a scope on and before its end.

    What the key's status tells is of that moment, `scope.until`; so are its day, week and month.
    """
    readings = readings_of(books, scope.host, scope.key or "", scope.until)
    today = date.fromisoformat(scope.until[:10])
    return begin(readings, windows(status, today, covered_from(books)), scope.since or None)


@contextmanager
def one_moment(books: Iterable[sqlite3.Connection]) -> Iterator[None]:
    """Have all that is asked of a ledger inside told as of one moment, whatever others write and remove."""
    with ExitStack() as stack:
        for book in books:
            book.execute("BEGIN")
            stack.callback(book.execute, "ROLLBACK")
        yield


def others(account: Sequence[Activity], rows: Sequence[Activity]) -> Side | None:
    """Return what the account has beside some rows of it, `None` where that is nothing."""
    whole, part = total(compare({}, theirs_of(account))).theirs, total(compare({}, theirs_of(rows))).theirs
    if whole.calls == part.calls and whole.usd == part.usd:
        return None
    return Side(add(whole.usd, part.usd.copy_negate()), whole.calls - part.calls)
