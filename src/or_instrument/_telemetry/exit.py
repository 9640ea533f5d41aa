"""Has our own providers export what they hold when the process ends, however it ends, within a bounded time.

Each provider gets a thread that waits for that moment: at exit Python starts no new thread, a signal handler must not
take locks that the interrupted code may hold, and an exporter that hangs must not keep the process.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any, Final

from or_instrument._calls.flight import abandon_all
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.shield import report
from or_instrument._calls.worker import Worker
from or_instrument._money.lookup import LOOKUPS

TIMEOUT_S: Final = 5.0


class Exit:
    """What is to be done at the end of this process."""

    def __init__(self) -> None:
        self._ends: list[_End] = []
        self._holds_sigterm = False

    def register(self, shut_down: Callable[[], object]) -> None:
        """Call `shut_down` at the end, when the calls that are still open have been recorded."""
        end = _End(shut_down)
        if not self._ends:
            self._hook()
        self._ends.append(end)

    def close(self, *_signal: object, **_celery: object) -> None:
        """End everything now; wait at most `TIMEOUT_S` seconds."""
        abandon_all()
        ends, deadline = self._ends, monotonic() + TIMEOUT_S
        for end in ends:
            end.begin()
        for end in ends:
            end.wait(max(0.0, deadline - monotonic()))
        if self._holds_sigterm:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    def forget(self) -> None:
        """Drop what the process had to do that this one was forked from."""
        self._ends = []

    def on_sigterm(self) -> None:
        """Close on SIGTERM too, where the application does not handle it; other handlers are left alone.

        Only the main thread can: https://docs.python.org/3/library/signal.html#signals-and-threads
        """
        if threading.current_thread() is not threading.main_thread():
            return
        theirs = signal.getsignal(signal.SIGTERM)
        if theirs is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminate)
        elif callable(theirs) and str(getattr(theirs, "__module__", "")).startswith("uvicorn."):
            signal.signal(signal.SIGTERM, self._held_back(theirs))

    def _hook(self) -> None:
        atexit.unregister(self.close)
        atexit.register(self.close)
        # Two kinds of child process end without running exit functions.
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.Finalize(None, self.close, exitpriority=0)
        celery = sys.modules.get("celery.signals")
        if celery is not None:
            celery.worker_process_shutdown.connect(self.close, weak=False, dispatch_uid="or_instrument")

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        self.close()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _held_back(self, theirs: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        # After its graceful shutdown uvicorn restores the default handler and raises the signal again, which would end
        # the process before any exit function. Blocked, that second signal waits until we have exported.
        def handler(number: int, frame: FrameType | None) -> None:
            theirs(number, frame)
            self._holds_sigterm = True
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

        return handler


class _End:
    """One provider's end, and the thread that waits for it."""

    def __init__(self, shut_down: Callable[[], object]) -> None:
        self._shut_down = shut_down
        self._is_wanted = False
        self._done = threading.Event()
        self._worker = Worker("or_instrument-exit", self._work)
        self._worker.start()

    def begin(self) -> None:
        self._is_wanted = True
        self._worker.wake()

    def wait(self, timeout_s: float) -> None:
        self._done.wait(timeout_s)

    def _work(self) -> None:
        if not self._is_wanted or self._done.is_set():
            return
        try:
            REAPER.drain()
            LOOKUPS.close()
            self._shut_down()
        except Exception as exc:  # noqa: BLE001 - the shield
            report("exporting at exit", exc)
        finally:
            self._done.set()


EXIT: Final = Exit()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=EXIT.forget)
