"""Threads of ours, and what each process makes for itself.

gevent and eventlet replace threads by greenlets, often after this was imported; a lock made before waits for a thread
and stops every greenlet of the process. And a forked process has the memory of its parent but not its threads. So
whatever waits is made together with what runs, at its first use in the process that uses it, and forgotten in a fork;
and once more where greenlets have come after that: eventlet wakes nobody who waits for what another thread holds.
A hook that runs in a forked child only forgets: gevent's `subprocess` forks in Python, and a child that starts a thread
or takes a lock there would go on with its parent's greenlets.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from or_instrument._calls.shield import report

T = TypeVar("T")


class _Forgetful(Protocol):
    def forget(self) -> None: ...


OF_THIS_PROCESS: Final[weakref.WeakSet[_Forgetful]] = weakref.WeakSet()
"""What forgets, in each process that is forked off this one."""


class PerProcess(Generic[T]):
    """Something that is made at its first use in each process: `lock = PerProcess(new_lock)`, `with lock(): ...`.

    Two threads that are first at once may both make one; both get the same, the other is dropped.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[object, T] = {}
        OF_THIS_PROCESS.add(self)

    def __call__(self) -> T:
        """Return it."""
        kind = self._kind()
        try:
            return self._made[kind]
        except KeyError:
            return self._made.setdefault(kind, self._make())

    @property
    def made(self) -> T | None:
        """What was made in this process, if anything was."""
        return self._made.get(self._kind())

    def forget(self) -> None:
        """Have it made anew at the next use."""
        self._made = {}

    def _kind(self) -> object:
        return None


class PerKind(PerProcess[T]):
    """Likewise, and made anew where threads have become greenlets since."""

    def _kind(self) -> object:
        return kind_of_threads()


def kind_of_threads() -> object:
    """Return what tells threads from greenlets: both libraries put a lock of their own there."""
    return threading.Lock


def new_lock() -> threading.Lock:
    """Return a lock of the kind that runs now; `threading.Lock` itself, looked up earlier, may be another kind's."""
    return threading.Lock()


def new_rlock() -> Any:
    """Return a lock that its owner may take again, likewise."""
    return threading.RLock()


def new_condition() -> threading.Condition:
    """Return a condition, likewise."""
    return threading.Condition()


class Once:
    """Returns true to one caller in each process, false to all others. No thread waits for another."""

    def __init__(self) -> None:
        self.forget()
        OF_THIS_PROCESS.add(self)

    def __call__(self) -> bool:
        """Return whether this is the first call."""
        # Popping the only element is atomic.
        try:
            return self._left.pop() if self._left else False
        except IndexError:  # pragma: no cover - another thread was first in this very moment
            return False

    def forget(self) -> None:
        """Return true once more."""
        self._left = [True]


class Worker:
    """A daemon thread that calls `work` at its start, whenever it is woken, and when the time that `work` tells is up.

    Args:
        name: the thread's.
        work: does all there is to do; returns after how many seconds to be called again though nobody wakes it, or
            `None`. What it raises is reported, and it is called again when woken.

    """

    def __init__(self, name: str, work: Callable[[], float | None]) -> None:
        self._name = name
        self._work = work
        self.is_stopped = False
        self._first = PerKind(Once)
        self._kind: object = None
        self._bell: threading.Lock | None = None
        OF_THIS_PROCESS.add(self)

    def start(self) -> bool:
        """Start the thread, unless it runs in this process; return whether it does.

        It does not where Python starts no more threads, as at its exit: the caller then has to do the work itself.
        Not for finalisers. Costs nothing where the thread runs, so call it with every piece of work.
        """
        if self.is_stopped:
            return False
        kind = kind_of_threads()
        if (self._bell is not None and self._kind is kind) or not self._first()():
            return True
        self._kind, self._bell = kind, (bell := threading.Lock())
        bell.acquire()
        try:
            threading.Thread(target=self._run, args=(bell, kind), name=self._name, daemon=True).start()
        except RuntimeError as exc:
            self.forget()
            self._first.forget()
            if not is_exiting():  # pragma: no branch - nobody is told at the end of the interpreter
                report("starting a thread", exc)
            return False
        return True

    def wake(self) -> None:
        """Have the work done soon, once the thread is started. Safe in a finaliser and in a signal handler."""
        # A lock is the one thing that can be released at any moment: it waits for nothing and is no Python code.
        if self._bell is not None:
            try:
                self._bell.release()
            except RuntimeError:
                return  # it has been woken already

    def stop(self) -> None:
        """End the thread after what it is doing; it does not start again."""
        self.is_stopped = True
        self.wake()

    def forget(self) -> None:
        """Have the thread started anew: this is another process."""
        self._bell = None

    def _run(self, bell: threading.Lock, kind: object) -> None:
        while not self.is_stopped:
            # A thread that was there before the greenlets sleeps on: Python cannot end it quietly any more.
            wait_s = self._done() if kind is kind_of_threads() else None
            bell.acquire(timeout=-1 if wait_s is None else max(wait_s, 0.0))

    def _done(self) -> float | None:
        try:
            return self._work()
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - the shield; a sink may ask the program to exit
            report(f"the thread {self._name}", exc)
            return None


def is_exiting() -> bool:
    """Return whether the interpreter runs its exit functions: registers no more of them and may start no thread."""
    return not threading.main_thread().is_alive()


def _forget_all() -> None:  # pragma: no cover - runs in a forked child, where nothing is measured
    for thing in list(OF_THIS_PROCESS):
        thing.forget()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_forget_all)
