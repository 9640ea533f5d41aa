"""Recovers in the background, by `GET /generation`, the cost of calls that ended without usage.

Such calls are `pending`: each is followed by exactly one more `Call` that `recovers` it, with the bill or with the
reason why there is none. One daemon thread asks, so nobody ever waits for an answer; the queue is bounded.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from time import monotonic, time_ns
from typing import Final

from or_instrument._calls.delivery import deliver
from or_instrument._calls.live import abandon_all, new_id
from or_instrument._calls.missing import missing
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.shield import report
from or_instrument._calls.worker import Once, PerKind, Worker, new_condition
from or_instrument._clients.target import Target, sync_client
from or_instrument._errors import LookupFailed
from or_instrument._money.account import generation_question
from or_instrument._money.question import Attempts, Question, get
from or_instrument._openrouter.account import recovered_reply
from or_instrument._openrouter.generation import Generation
from or_instrument._openrouter.hosts import OPENROUTER
from or_instrument._records import PENDING, Call, Sink

FAILED: Final = "lookup_failed"
DROPPED: Final = "lookup_dropped"
EXIT_WAIT_S: Final = 2.0
_CAPACITY: Final = 1000
_TIMEOUT_S: Final = 30.0
_ONE_ANSWER_S: Final = 10.0
_NOBODY: Final = Target(None, "", {})
"""Asking it fails at once."""


def mark_pending(call: Call) -> Call:
    """Return the call as pending where a look-up can tell its cost, else as it is.

    A call that was refused (an HTTP error) is not charged, and not looked up.
    """
    # Of a stream that was broken off, the tokens may be known and the cost not.
    is_unknown = call.usage is None or (call.usage.cost is None and call.outcome != "complete")
    is_candidate = is_unknown and call.missing != "rejected" and call.request.provider == OPENROUTER
    return call._replace(missing=PENDING) if is_candidate and call.generation_id else call


class Lookup:
    """One call that is being looked up."""

    def __init__(self, call: Call, sinks: Sequence[Sink], target: Target) -> None:
        self.call = call
        self.due = 0.0
        self._sinks = sinks
        self._target = target
        self._question: Question[Generation] = generation_question(call.generation_id or "")
        self._attempts: Attempts | None = None
        self._asked_ns = time_ns()
        self._began = monotonic()
        # As in a flight: popping the only element is atomic, so that one end is seen.
        self._open = [True]

    def ask(self, timeout_s: float) -> bool:
        """Ask once; return whether this is the end of it."""
        if self._attempts is None:
            self._attempts = Attempts(self._question, timeout_s)
            self._asked_ns, self._began = time_ns(), monotonic()
        try:
            self._found(self._answer(min(self._attempts.left_s(), _ONE_ANSWER_S)))
        except Exception as exc:  # noqa: BLE001 - whatever it was, it was no answer
            try:
                self.due = monotonic() + self._attempts.wait_after(exc)
            except LookupFailed as failed:
                report("looking up the cost of a call", failed)
                self.give_up(FAILED)
                return True
            return False
        return True

    def give_up(self, reason: str) -> None:
        """End it without an answer."""
        self._end(self.call._replace(missing=reason))

    def _answer(self, timeout_s: float) -> Generation:
        asked, url, headers = self._target
        with sync_client(asked) as client:
            return self._question.read(get(client, self._question, timeout_s, url=url, headers=headers))

    def _found(self, generation: Generation) -> None:
        call = self.call
        broken_off = call.request.stream and call.outcome != "complete"
        reply = recovered_reply(call.reply, generation, broken_off=broken_off)
        self._end(call._replace(reply=reply, missing=missing(reply, call.outcome)))

    def _end(self, call: Call) -> None:
        try:
            self._open.pop()
        except IndexError:
            return
        told = call._replace(
            id=new_id(),
            started_ns=self._asked_ns,
            duration_s=monotonic() - self._began,
            time_to_first_chunk_s=None,
            content=None,
            recovers=self.call.id,
        )
        deliver(told, self._sinks)


class Lookups:
    """The queue of calls to be looked up, oldest first, and the thread that does it."""

    def __init__(self, capacity: int = _CAPACITY, timeout_s: float = _TIMEOUT_S) -> None:
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._waiting: dict[int, Lookup] = {}
        self._changed = PerKind(new_condition)
        self._worker = Worker("or_instrument-lookup", self._ask_due)
        self._first = Once()

    def sink(self, whom: Callable[[], Target], sinks: Sequence[Sink]) -> Sink:
        """Return the last sink of a call: it has the call looked up, and `sinks` told, where it is pending.

        `whom` says whom to ask; it is asked for while the call begins.
        """
        self._start()
        try:
            target = whom()
        except Exception as exc:  # noqa: BLE001 - the shield
            report("noting whom to ask about a call", exc)
            target = _NOBODY

        def look_up(call: Call) -> None:
            if call.missing == PENDING:
                self.add(Lookup(call, sinks, target))

        return look_up

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

    def reset(self) -> None:
        """Forget the look-ups of the process that this one was forked from."""
        self._waiting = {}

    def _start(self) -> None:
        # With the first call and not at the end: a process that exits can start no thread.
        self._worker.start()
        if self._first():
            atexit.register(self._exit)

    def _exit(self) -> None:
        abandon_all()
        REAPER.drain()
        self.close()

    def _ask_due(self) -> float | None:
        while (lookup := self._soonest()) is not None:
            wait_s = lookup.due - monotonic()
            if wait_s > 0:
                return wait_s
            if lookup.ask(self._timeout_s):
                changed = self._changed()
                with changed:
                    self._waiting.pop(lookup.call.id, None)
                    changed.notify_all()
        return None

    def _soonest(self) -> Lookup | None:
        with self._changed():
            return min(self._waiting.values(), key=lambda waiting: waiting.due, default=None)


LOOKUPS: Final = Lookups()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LOOKUPS.reset)
