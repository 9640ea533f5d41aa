"""Runs later what a finaliser must not run now.

The garbage collector may run while this very thread holds a lock of the OpenTelemetry SDK; recording from a finaliser
would then wait for that lock for ever. A finaliser only appends to a deque and puts a token on a `SimpleQueue`, whose
`put` is made for that (https://docs.python.org/3/library/queue.html#simplequeue-objects). A daemon thread, `flush()`
or the interpreter's exit does the work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from or_instrument._shield import report


class Reaper:
    """Work put off, the thread that does it, and the lock under which it is done."""

    def __init__(self) -> None:
        self._work: deque[Callable[[], None]] = deque()
        self._reset()

    def defer(self, work: Callable[[], None]) -> None:
        """Have the work done soon; safe in a finaliser."""
        self._work.append(work)
        self._wake.put(None)

    def start(self) -> None:
        """Start the thread unless it runs; not for finalisers, which may hold the lock that starting takes."""
        if self._is_started or not self._starting.acquire(blocking=False):
            return
        self._is_started = True
        threading.Thread(target=self._run, args=(self._wake,), name="or_instrument-reaper", daemon=True).start()

    def drain(self) -> None:
        """Do all work that is due, in this thread."""
        with self._lock:
            while self._work:
                work = self._work.popleft()
                try:
                    work()
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("recording an abandoned call", exc)

    def after_fork(self) -> None:
        """Forget the thread, the locks and the work of the parent process: the parent records what is its own."""
        self._work.clear()
        self._reset()

    def _reset(self) -> None:
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._is_started = False

    def _run(self, wake: SimpleQueue[None]) -> None:
        while True:
            wake.get()
            self.drain()


REAPER = Reaper()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REAPER.after_fork)
