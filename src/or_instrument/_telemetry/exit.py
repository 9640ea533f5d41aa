"""Has the ledger and all providers in use write out what they hold when the process ends, within a bounded time.

At exit Python starts no new thread, a signal handler must not take locks that the interrupted code may hold, and an
exporter that hangs must keep neither the process nor the other exporters: so a few threads, started with the first
call, wait for that moment. Nothing is shut down, since other exit functions may still make calls.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final, TypeAlias

from or_instrument._calls.live import abandon_all
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.shield import report
from or_instrument._calls.worker import OF_THIS_PROCESS, Once, Worker, is_exiting
from or_instrument._money.lookup_queue import LOOKUPS
from or_instrument._money.open_ledgers import close_ledgers
from or_instrument._records import Call
from or_instrument._telemetry.undelivered import UNDELIVERED

TIMEOUT_S: Final = 5.0
_TELLING_S: Final = 0.3
"""Of these, kept for saying what could not be exported."""
_THREADS: Final = 4  # traces, metrics, logs; the ledger, and what is said of them
Providers: TypeAlias = Callable[[], Iterable[object]]


class Exit:
    """What is to be done at the end of this process."""

    def __init__(self) -> None:
        self._providers: list[Providers] = []
        self._jobs: deque[Callable[[], None]] = deque()
        self._workers = [Worker("or_instrument-exit", self._work) for _ in range(_THREADS)]
        self._first = Once()
        self.forget()
        OF_THIS_PROCESS.add(self)

    def forget(self) -> None:
        """Begin anew: this is another process than the one that it was forked from."""
        self._has_news = False
        self._is_over = False
        self._left_s = TIMEOUT_S
        self._flushing: list[threading.Event] = []

    def watch(self, providers: Providers) -> None:
        """Have these providers export at the end; which they are is asked then."""
        self._providers.append(providers)

    def unwatch(self, providers: Providers) -> None:
        """Leave these providers to others."""
        self._providers.remove(providers)

    def prepare(self) -> None:
        """Be ready for the end: to be called at the start of every call.

        Not earlier: exit functions run last in, first out, and the application's providers must still be there.
        """
        if not self._first():
            return
        self._is_over = is_exiting()
        for worker in self._workers:
            worker.start()
        atexit.unregister(self._exit)
        atexit.register(self._exit)
        # Children of multiprocessing run no exit functions but its own.
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.Finalize(None, self._exit, exitpriority=0)
        if not self._is_over:
            _start_resolvers()

    def note(self, _call: Call) -> None:
        """Know that there is something to export; of a call that an exit function made, export it at once."""
        self._has_news = True
        if self._is_over:
            self.close()

    def close(self) -> None:
        """Record the calls that are still open and export everything; wait at most `TIMEOUT_S` seconds in all.

        Where nothing has been recorded since the last time, it exports nothing.
        """
        began = monotonic()

        def left_s(kept: float = 0.0) -> float:
            return max(0.0, self._left_s - kept - (monotonic() - began))

        try:
            abandon_all()
            if self._has_news or REAPER.is_waited_for:
                self._flushing = [self._begin(partial(self._flush, flush)) for flush in self._flushes()]
            for flushed in self._flushing:
                flushed.wait(left_s(_TELLING_S))
            if not all(flushed.is_set() for flushed in self._flushing):
                # Not here: logging takes locks.
                self._flushing.append(self._begin(UNDELIVERED.tell))
            for flushed in self._flushing:
                flushed.wait(left_s())
        finally:
            self._left_s = left_s()

    def _exit(self) -> None:
        is_closed = False
        while not is_closed:
            # A signal handler may ask for the exit that is under way: at Ctrl-C a worker of gunicorn hears two signals.
            with suppress(SystemExit):
                self.close()
                is_closed = True
        self._is_over = True

    def _flushes(self) -> list[Callable[[float], object]]:
        providers = {id(provider): provider for in_use in self._providers for provider in in_use()}
        exports = [
            partial(_force_flush, provider) for provider in providers.values() if hasattr(provider, "force_flush")
        ]
        return [close_ledgers, *exports]

    def _begin(self, do: Callable[[], object]) -> threading.Event:
        done = threading.Event()

        def job() -> None:
            try:
                do()
            except Exception as exc:  # noqa: BLE001 - the shield
                report("exporting at exit", exc)
            finally:
                done.set()

        self._jobs.append(job)
        if all(worker.start() for worker in self._workers):
            for worker in self._workers:
                worker.wake()
        else:
            self._work()
        return done

    def _work(self) -> None:
        while self._jobs:
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            job()

    def _flush(self, flush: Callable[[float], object]) -> None:
        if not self._is_over:  # then this may be part of the recording of a call, which must not wait for itself
            REAPER.drain()
            LOOKUPS.close()
        self._has_news = False
        flush(max(0.0, self._left_s - _TELLING_S))


def _start_resolvers() -> None:
    """Start the threads in which gevent looks up names: each export needs one, and from 3.12 on none starts at exit."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        pool = sys.modules["gevent"].get_hub().threadpool
        pool.size = max(pool.size, min(_THREADS, pool.maxsize))


def _force_flush(provider: Any, timeout_s: float) -> None:
    try:
        provider.force_flush(timeout_millis=int(timeout_s * 1000))
    except Exception as exc:  # noqa: BLE001 - the shield
        report(f"exporting at exit by the {type(provider).__qualname__}", exc)


EXIT: Final = Exit()
