"""Which poll of a job tells its bill: the first that finds it over, however often it is asked after."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Final

from or_instrument._calls.flight import Collector
from or_instrument._openrouter.values import get
from or_instrument._records import Call, Content, Usage

_UNDER_WAY: Final = frozenset(("pending", "queued", "validating", "in_progress", "finalizing", "cancelling"))
_OVER: Final = frozenset(("completed", "failed", "cancelled", "expired"))
_KEPT: Final = 4096


class Poll:
    """One look at a job; a collector of what it says, for another that captures content."""

    __slots__ = ("_captures", "_status")

    def __init__(self, captures: Collector | None) -> None:
        self._captures = captures
        self._status: object = None

    def see(self, body: object) -> None:
        """Take in the job."""
        self._status = get(body, "status")
        if self._captures is not None:
            self._captures.see(body)

    def content(self, call: Call) -> Content | None:
        """Return what was captured."""
        return None if self._captures is None else self._captures.content(call)

    def is_final(self, usage: Usage) -> bool:
        """Return whether the bill is the whole: one of a job under way may grow.

        Where no status that is known says whether it is, a cost of 0 may be only that of the beginning.
        """
        if isinstance(self._status, str) and self._status in _UNDER_WAY | _OVER:
            return self._status in _OVER
        return bool(usage.cost or usage.spend)


class RecordedJobs:
    """The jobs that have been recorded, up to a bound; the oldest is forgotten."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = Lock()

    def is_first(self, key: Hashable) -> bool:
        """Return whether a job is recorded for the first time, and remember it."""
        with self._lock:
            if key in self._seen:
                return False
            self._seen[key] = None
            if len(self._seen) > self._kept:
                self._seen.popitem(last=False)
            return True
