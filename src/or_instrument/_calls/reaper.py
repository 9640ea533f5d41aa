"""Ends later what a finaliser must not end now.

The garbage collector may run while this very thread holds a lock of the OpenTelemetry SDK; recording from a finaliser
would then wait for that lock for ever. A finaliser only appends to a deque and puts a token on a `SimpleQueue`, whose
`put` is made for that (https://docs.python.org/3/library/queue.html#simplequeue-objects). A daemon thread, `flush()`
or the interpreter's exit does the work.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from or_instrument._calls.shield import report

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
        self._is_started = False
        self._starting = threading.Lock()
        self._settling = threading.RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._unsettled: deque[Unsettled] = deque()

    def defer(self, call: Unsettled) -> None:
        """Have a call settled soon; safe in a finaliser."""
        self._unsettled.append(call)
        self._wake.put(None)

    def start(self, at_exit: Callable[[], None]) -> None:
        """Start the thread, unless it runs; at the interpreter's exit, call `at_exit` and drain.

        Not for finalisers, which may hold the lock that starting takes. To be called with the first call, when
        providers have been set up: exit hooks run last in, first out, and the providers must still be there.
        """
        if self._is_started or not self._starting.acquire(blocking=False):
            return
        self._is_started = True
        atexit.register(self._exit, at_exit)
        threading.Thread(target=self._run, args=(self._wake,), name="or_instrument-reaper", daemon=True).start()

    def drain(self, timeout_s: float = -1) -> bool:
        """Settle, in this thread, all calls that wait for it; return whether that was done.

        It is not where another thread has been settling, held up by a sink, for `timeout_s` seconds (-1: any time).
        """
        if not self._settling.acquire(timeout=timeout_s):
            return False
        try:
            while self._unsettled:
                try:
                    self._unsettled.popleft().settle()
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("recording an abandoned call", exc)
        finally:
            self._settling.release()
        return True

    def reset(self) -> None:
        """Forget the thread, the locks and the calls of the process that this one was forked from."""
        for call in self._unsettled:
            call.discard()
        self.__init__()  # type: ignore[misc]

    def _run(self, wake: SimpleQueue[None]) -> None:
        while True:
            wake.get()
            self.drain()

    def _exit(self, at_exit: Callable[[], None]) -> None:
        at_exit()
        self.drain(_EXIT_TIMEOUT_S)


REAPER = Reaper()
