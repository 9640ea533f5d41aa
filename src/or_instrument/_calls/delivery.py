"""Hands a finished call to every sink."""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import Sequence

from or_instrument._calls.scope import Tracker
from or_instrument._calls.shield import report, warn_once
from or_instrument._records import Call, Sink


def deliver(call: Call, sinks: Sequence[Sink]) -> None:
    """Hand a call to every sink; the failure of one is none of the others'.

    What ends the program passes, once the others have the call: it may come from a signal handler, in whichever sink.
    """
    left = iter(sinks)
    for sink in left:
        try:
            answer: object = sink(call)
            if answer is not None:
                _let_go_of(answer, sink)
        except (Exception, CancelledError) as exc:  # noqa: BLE001 - the shield; nobody cancels what cannot wait
            report(f"the sink {_name(sink)}", exc)
        except BaseException:
            deliver(call, tuple(left))
            raise


class Held:
    """A sink that keeps a finished call back from others until it is known whether it is one of its own.

    Trackers are told at once what it has cost: their limits are for what is spent, and not for what is known.
    """

    __slots__ = ("_calls", "_is_released", "_sinks", "_trackers")

    def __init__(self, sinks: Sequence[Sink], trackers: Sequence[Tracker] = ()) -> None:
        self._sinks = sinks
        self._trackers = trackers
        self._calls: list[Call] = []
        self._is_released = False

    def __call__(self, call: Call) -> None:
        """Keep it, unless it is known by now."""
        for tracker in self._trackers:
            tracker.hold(call)
        self._calls.append(call)
        if self._is_released:
            self.release()

    def release(self) -> None:
        """Hand it on, once: now, or when it is finished."""
        self._is_released = True
        # Popping the only element is atomic: it may be finished by another thread in this moment.
        try:
            call = self._calls.pop()
        except IndexError:
            return
        deliver(call, self._sinks)

    def drop(self) -> None:
        """Forget it: it is part of another."""
        self._sinks = ()
        for call in self._calls:
            for tracker in self._trackers:
                tracker.let_go(call)
        self._calls.clear()


def _let_go_of(answer: object, sink: Sink) -> None:
    """Close what a sink wants to be awaited, since nobody does. A task or future runs by itself."""
    if not inspect.isawaitable(answer) or hasattr(answer, "add_done_callback"):
        return
    if hasattr(answer, "close"):
        answer.close()
    warn_once(
        f"the sink {_name(sink)}",
        "returns an awaitable, which nobody awaits, so it gets no call. Give a plain function, which may start a task.",
    )


def _name(sink: Sink) -> str:
    return getattr(sink, "__qualname__", type(sink).__qualname__)
