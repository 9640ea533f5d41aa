"""Ends later what a finaliser must not end now.

The garbage collector may run while this very thread holds a lock of the OpenTelemetry SDK; recording from a finaliser
would then wait for that lock for ever. A finaliser only appends to a deque and wakes a worker. That one, `flush()` or
the interpreter's exit does the work.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from or_instrument._calls.shield import report
from or_instrument._calls.worker import Once, PerKind, Worker, new_rlock

_EXIT_TIMEOUT_S: Final = 5.0


class Unsettled(Protocol):
    """A call whose end has been seen and not yet recorded."""

    def settle(self) -> None:
        """Record the end."""

    def discard(self) -> None:
        """Forget the call."""


class Reaper:
    """Calls to be settled, the thread that does it, and the lock under which it is done."""

    def __init__(self) -> None:
        self._unsettled: deque[Unsettled] = deque()
        self._settling = PerKind(new_rlock)
        self._worker = Worker("or_instrument-reaper", self._work)
        self._first = Once()

    @property
    def is_waited_for(self) -> bool:
        """Whether a call waits to be settled."""
        return bool(self._unsettled)

    def defer(self, call: Unsettled) -> None:
        """Have a call settled soon; safe in a finaliser."""
        self._unsettled.append(call)
        self._worker.wake()

    def start(self, at_exit: Callable[[], None]) -> None:
        """Start the thread, unless it runs; at the interpreter's exit, call `at_exit` and drain.

        To be called with the first call, when providers have been set up: exit hooks run last in, first out, and the
        providers must still be there.
        """
        self._worker.start()
        if self._first():
            atexit.register(self._exit, at_exit)

    def drain(self, timeout_s: float = -1) -> bool:
        """Settle, in this thread, all calls that wait for it; return whether that was done.

        It is not where another thread has been settling, held up by a sink, for `timeout_s` seconds (-1: any time).
        """
        settling = self._settling()
        if not settling.acquire(timeout=timeout_s):
            return False
        try:
            while self._unsettled:
                try:
                    self._unsettled.popleft().settle()
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("recording an abandoned call", exc)
        finally:
            settling.release()
        return True

    def reset(self) -> None:
        """Forget the calls of the process that this one was forked from."""
        while self._unsettled:
            self._unsettled.popleft().discard()

    def _work(self) -> None:
        self.drain()

    def _exit(self, at_exit: Callable[[], None]) -> None:
        at_exit()
        self.drain(_EXIT_TIMEOUT_S)


REAPER = Reaper()
