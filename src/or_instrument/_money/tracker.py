"""Counts the exact cost of the calls made inside a scope, and refuses to go on when a limit is reached."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from functools import reduce
from typing import Final

from or_instrument._amounts import add
from or_instrument._calls.scope import RECORDING, TRACKERS
from or_instrument._calls.shield import warn_once
from or_instrument._errors import BudgetExceeded, ConfigError
from or_instrument._money import export
from or_instrument._money.span_total import Span, total_of
from or_instrument._money.tally import Tally
from or_instrument._money.totals import MODEL, Row, row_of, usd_text
from or_instrument._records import Call

_OFF: Final = (
    "or_instrument is not switched on. Call or_instrument.instrument() first, and see that OR_INSTRUMENT_ENABLED is "
    "not false."
)
_LOCK: Final = threading.RLock()
"""One for all trackers, so that a fork can be made while none is being written."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


def track(
    name: str = "",
    *,
    limit_usd: Decimal | float | str | None = None,
    rows: bool = False,
    span: Span | None = None,
) -> CostTracker:
    """Count the cost of the OpenRouter calls that begin inside a `with` block, also of streams that end after it.

        with or_instrument.track("nightly report", limit_usd=5) as cost:
            client.chat.completions.create(...)
        print(cost.total_usd)

    Tasks, and threads that run in a copy of the context (`asyncio.to_thread`, `contextvars.copy_context().run`), count
    as inside; in any other thread, enter the same tracker again. Nested blocks add up: each counts what is inside it.
    Needs `instrument()`; calls to hosts that it does not name are not seen.

    Args:
        name: for exports and errors.
        limit_usd: when this much is spent, the next call raises `BudgetExceeded` and is not sent. Calls under way are
            finished, so concurrent calls can overshoot by what was under way. Cost that is unknown counts as nothing.
        rows: whether every call is remembered, for `export_csv(path, rows=True)`; memory then grows with the calls.
        span: gets the USD spent so far as `openrouter.tracked.spend`, as long as it has not ended; nothing where no
            cost is known. Blocks that are given the same span add up there, each call once.

    Raises:
        ConfigError: `limit_usd` is no amount of USD, `span` no span, `name` no text, or `rows` neither true nor false.

    """
    return CostTracker(name, limit_usd=limit_usd, rows=rows, span=span)


class CostTracker:
    """The cost of some calls, exact, in USD. A context manager, see `track()`; and a sink, for a whole process.

        everything = or_instrument.CostTracker("service")
        or_instrument.instrument(sinks=[everything])

    Any thread may use it. It remembers totals only, unless `rows` is asked for; a limit holds only inside `with`.
    """

    def __init__(
        self,
        name: str = "",
        *,
        limit_usd: Decimal | float | str | None = None,
        rows: bool = False,
        span: Span | None = None,
    ) -> None:
        _check(name, rows, span)
        self.name = name
        self.limit_usd: Decimal | None = None if limit_usd is None else _limit(limit_usd)
        self._tally = Tally(rows=rows)
        self._held: dict[int, Decimal] = {}
        with _LOCK:
            self._span = None if span is None else (span, total_of(span))

    def __repr__(self) -> str:
        """Return the name and the figures."""
        sum_ = self._tally.totals.all
        return (
            f"CostTracker(name={self.name!r}, total_usd={sum_.usd!r}, calls={sum_.calls}, unknown={sum_.unknown}, "
            f"lower_bound={sum_.lower_bound}, limit_usd={self.limit_usd!r})"
        )

    def __enter__(self) -> CostTracker:
        """Count the calls that begin from here on."""
        if not RECORDING.is_on:
            warn_once("track() counts nothing:", _OFF)
        TRACKERS.set((*TRACKERS.get(), self))
        return self

    def __exit__(self, *_raised: object) -> None:
        """Count no further calls."""
        active = list(reversed(TRACKERS.get()))
        with suppress(ValueError):
            active.remove(self)  # the last: an outer block of the same tracker goes on
        TRACKERS.set(tuple(reversed(active)))

    def __call__(self, call: Call) -> None:
        """Count a call, or the cost of an earlier one that has been looked up."""
        row = row_of(call)
        with _LOCK:
            self._held.pop(call.id, None)
            self._tally.add(call, row)
            if self._span is not None:
                span, total = self._span
                total.count(span, call, row)

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` where the limit is reached."""
        spent = self.total_usd
        if self._held:
            with _LOCK:
                spent = reduce(add, self._held.values(), spent)
        if self.limit_usd is not None and spent >= self.limit_usd:
            raise BudgetExceeded(self.name, spent, self.limit_usd)

    def hold(self, call: Call) -> None:
        """Take the spend of a call for spent before it is counted: whether it is part of another is not known yet."""
        usd = row_of(call).usd
        if usd:
            with _LOCK:
                self._held[call.id] = usd

    def let_go(self, call: Call) -> None:
        """Forget a call that is held: it turned out to be part of another."""
        with _LOCK:
            self._held.pop(call.id, None)

    @property
    def total_usd(self) -> Decimal:
        """USD, exact; the calls in `unknown` are not in it."""
        return self._tally.totals.all.usd

    @property
    def calls(self) -> int:
        """How many calls have ended."""
        return self._tally.totals.all.calls

    @property
    def unknown(self) -> int:
        """How many of them have a cost that is not known, or not yet; those refused with an HTTP error included."""
        return self._tally.totals.all.unknown

    @property
    def lower_bound(self) -> int:
        """How many of them cost at least what is counted: streams on the user's own key that were broken off."""
        return self._tally.totals.all.lower_bound

    def by_model(self) -> dict[str, Decimal]:
        """Return USD by the model that answered, the dearest first."""
        return self.by(MODEL)

    def by(self, attr: str) -> dict[str, Decimal]:
        """Return USD by the values of an attribute of `attributes(...)`, or by `model`, `provider` or `day` (UTC).

        The dearest first. Beyond 10,000 values, further ones are together under `(other)`.

        Raises:
            ConfigError: `attr` is no text.

        """
        if not isinstance(attr, str):
            raise ConfigError(
                f"attr={attr!r} is not allowed; allowed: a key of attributes(...), model, provider or day"
            )
        with _LOCK:
            return {value: part.usd for value, part in self._tally.totals.by(attr).items()}

    def export_json(self, path: str | os.PathLike[str]) -> None:
        """Write totals, and the rows if they are remembered, to a JSON file: whole or not at all.

        Raises:
            OSError: the file cannot be written.

        """
        head = {
            "name": self.name,
            "limit_usd": None if self.limit_usd is None else usd_text(self.limit_usd),
            "exported_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        with _LOCK:
            rows = self._tally.rows
            text = export.totals_json(self._tally.totals, head, None if rows is None else rows.values())
        export.write(path, text)

    def export_csv(self, path: str | os.PathLike[str], *, rows: bool = False) -> None:
        """Write a CSV file, whole or not at all: one line a total, or with `rows` one line a call.

        Raises:
            ConfigError: rows are asked for and not remembered.
            OSError: the file cannot be written.

        """
        with _LOCK:
            text = export.rows_csv(self._remembered()) if rows else export.totals_csv(self._tally.totals)
        export.write(path, text)

    def summary(self) -> str:
        """Return a table for people: the cost by model, and in all."""
        with _LOCK:
            return export.totals_table(self.name, self._tally.totals)

    def _remembered(self) -> Iterable[Row]:
        if self._tally.rows is None:
            raise ConfigError(
                "the calls were not remembered; make the tracker with rows=True to export one line a call"
            )
        return self._tally.rows.values()


def _check(name: object, rows: object, span: object) -> None:
    if not isinstance(name, str):
        raise ConfigError(f"name={name!r} is not allowed; allowed: a text, '' for none")
    if not isinstance(rows, bool):
        raise ConfigError(f"rows={rows!r} is not allowed; allowed: True or False")
    if span is not None and not callable(getattr(span, "set_attribute", None)):
        raise ConfigError(f"span={span!r} is not allowed; allowed: an OpenTelemetry span, or None")


def _limit(limit: Decimal | float | str) -> Decimal:
    try:
        usd = None if isinstance(limit, bool) else Decimal(str(limit))
    except InvalidOperation:
        usd = None
    if usd is None or not usd.is_finite() or usd < 0:
        raise ConfigError(f"limit_usd={limit!r} is not allowed; allowed: an amount of USD from 0, or None for no limit")
    return usd
