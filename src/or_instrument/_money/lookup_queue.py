"""The queue of calls whose cost is looked up in the background, and the one daemon thread that does it.

Nobody ever waits for an answer. Who asks, and how, is told in `lookup.py`, which is imported where look-ups are asked
for: the queue is here for all, since `flush()` and the end of a process wait for it.
"""

from __future__ import annotations

import atexit
from time import monotonic
from typing import TYPE_CHECKING, Final

from or_instrument._calls.live import abandon_all
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.worker import OF_THIS_PROCESS, Once, PerKind, Worker, new_condition

if TYPE_CHECKING:
    from or_instrument._money.lookup import Lookup

FAILED: Final = "lookup_failed"
DROPPED: Final = "lookup_dropped"
EXIT_WAIT_S: Final = 2.0
_CAPACITY: Final = 1000
_TIMEOUT_S: Final = 30.0


class Lookups:
    """The queue of calls to be looked up, oldest first, and the thread that does it."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: dict[int, Lookup] = {}
        self._changed = PerKind(new_condition)
        self._worker = Worker("or_instrument-lookup", self._ask_due)
        self._first = Once()
        OF_THIS_PROCESS.add(self)

    def start(self) -> None:
        """Start the thread. With the first call and not at the end: a process that exits can start none."""
        self._worker.start()
        if self._first():
            atexit.register(self._exit)

    def add(self, lookup: Lookup) -> None:
        """Put a call into the queue; where it is full, the oldest is given up."""
        dropped = None
        with self._changed():
            if len(self._waiting) >= self._capacity:
                dropped = self._waiting.pop(next(iter(self._waiting)))
            self._waiting[lookup.call.id] = lookup
        self._worker.wake()
        if dropped is not None:
            dropped.give_up(DROPPED)

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing is left to be looked up; return whether that came to pass."""
        changed = self._changed()
        with changed:
            return changed.wait_for(lambda: not self._waiting, max(timeout_s, 0.0))

    def close(self, timeout_s: float = EXIT_WAIT_S) -> None:
        """Wait for what is being looked up, and give up the rest."""
        if self.wait(timeout_s):
            return
        with self._changed():
            rest = list(self._waiting.values())
            self._waiting.clear()
        for lookup in rest:
            lookup.give_up(FAILED)

    def forget(self) -> None:
        """Forget the look-ups of the process that this one was forked from."""
        self._waiting = {}

    def _exit(self) -> None:
        abandon_all()
        REAPER.drain()
        self.close()

    def _ask_due(self) -> float | None:
        while (lookup := self._soonest()) is not None:
            wait_s = lookup.due - monotonic()
            if wait_s > 0:
                return wait_s
            if lookup.ask(_TIMEOUT_S):
                changed = self._changed()
                with changed:
                    self._waiting.pop(lookup.call.id, None)
                    changed.notify_all()
        return None

    def _soonest(self) -> Lookup | None:
        with self._changed():
            return min(self._waiting.values(), key=lambda waiting: waiting.due, default=None)


LOOKUPS: Final = Lookups()
