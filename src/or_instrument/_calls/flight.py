"""A call on its way: the one mutable object, which ends exactly once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Final, Protocol

from or_instrument._calls.delivery import Held, deliver
from or_instrument._calls.live import LIVE, new_id
from or_instrument._calls.missing import missing
from or_instrument._calls.reader import Reader
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.scope import TRACKERS
from or_instrument._calls.shield import report
from or_instrument._records import Call, Content, Failure, Outcome, Reply, Request, Sink

if TYPE_CHECKING:
    from opentelemetry.context import Context

_LET_GO: Final = frozenset(("closed", "abandoned", "cancelled"))
_SEVERAL: Final = "gen_ai.request.choice.count"


class Collector(Protocol):
    """Collects what one call says, where its content is captured."""

    def see(self, body: object) -> None:
        """Take in a body, a chunk or an event; raises nothing."""

    def content(self, call: Call) -> Content | None:
        """Return what the finished call said, `None` where it must not be shown."""


class Flight:
    """One call between its start and its end.

    Whoever sees the end first calls `finish`; later ends are nothing. A flight that is dropped unfinished (a stream
    broken off and let go of) puts itself on the reaper's list, since a finaliser must not record.
    """

    __slots__ = (
        "__weakref__",
        "_amend",
        "_began",
        "_put_off",
        "_sinks",
        "closing",
        "collector",
        "context",
        "cut",
        "first_chunk_at",
        "id",
        "last_read_at",
        "on_end",
        "reader",
        "request",
        "started_ns",
    )

    def __init__(
        self,
        request: Request,
        sinks: Sequence[Sink],
        context: Context | None = None,
        collector: Collector | None = None,
        amend: Callable[[Call], Call] | None = None,
    ) -> None:
        self.id = new_id()
        self.request = request
        self.context = context
        self.collector = collector
        several = request.operation == "text_completion" or _SEVERAL in request.parameters
        see = None if collector is None else collector.see
        self.reader = Reader(several=several, see=see)
        self.on_end: Callable[[], None] | None = None
        self.first_chunk_at: float | None = None
        self.last_read_at: float | None = None
        self.closing = False
        self.cut: Failure | None = None
        """What cut the answer off, where its reader is still to tell."""
        self._put_off: tuple[Outcome, Failure | None] | None = None
        self._sinks = sinks
        self._amend = amend
        LIVE[self.id] = weakref.ref(self)
        self.started_ns = time_ns()
        self._began = perf_counter()

    @property
    def is_open(self) -> bool:
        """Whether no end has been seen."""
        return self.id in LIVE

    def read(self, data: bytes) -> None:
        """See the next bytes of the answer, up to the first event of a stream."""
        self._see(self.reader.feed, data)

    def answered(self, body: bytes) -> None:
        """End the call with an answer that is in memory."""
        self._see(self.reader.read, body)
        self.finish("complete")

    def _see(self, read: Callable[[bytes], None], data: bytes) -> None:
        self.last_read_at = perf_counter()
        try:
            read(data)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("reading an answer", exc)
        if self.first_chunk_at is None and self.request.stream and self.reader.has_event:
            self.first_chunk_at = self.last_read_at

    def finish(self, outcome: Outcome, failure: Failure | None = None, *, otherwise: Failure | None = None) -> None:
        """End the call, unless it has ended: fold what was answered and hand the `Call` to every sink.

        A `failure` goes before the one that the answer itself tells of, which goes before the one `otherwise`.
        """
        # Popping a key is atomic: of two threads that see an end, one wins, without a lock.
        if LIVE.pop(self.id, None) is None:
            return
        try:
            self._end(outcome, failure, otherwise)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("ending a call", exc)

    def _end(self, outcome: Outcome, failure: Failure | None, otherwise: Failure | None) -> None:
        # One that was dropped has been so for an unknown time.
        ended = (self.last_read_at or self._began) if outcome == "abandoned" else perf_counter()
        if self.cut is not None and outcome in _LET_GO:
            outcome, otherwise = "error", self.cut
        self._unwatch()
        call = self._call(outcome, self.reader.reply(failure, otherwise), ended - self._began)
        if self.collector is not None:
            call = call._replace(content=self.collector.content(call))
            self.collector = None
        if self._amend is not None:
            try:
                call = self._amend(call)
            except Exception as exc:  # noqa: BLE001 - the shield
                report("amending a call", exc)
        # A reply that the user keeps keeps the flight, which must then not keep what the sinks hold.
        sinks, self._sinks = self._sinks, ()
        deliver(call, sinks)

    @property
    def is_put_off(self) -> bool:
        """Whether an end has been seen that is to be recorded later."""
        return self._put_off is not None

    def put_off(self, outcome: Outcome, failure: Failure | None = None) -> None:
        """End the call later, as of its last read: safe in a finaliser."""
        if self.is_open and self._put_off is None:
            self._put_off = (outcome, failure)
            REAPER.defer(self)

    def settle(self) -> None:
        """Record the end that was put off."""
        outcome, failure = self._put_off or ("abandoned", None)
        self.finish(outcome, failure)

    def discard(self) -> None:
        """End the call without a record: it was never sent, or it is another process's."""
        LIVE.pop(self.id, None)
        self._sinks = ()

    def hold(self) -> Held:
        """Keep the call back from its sinks until it is told whether it is one of its own."""
        held = Held(self._sinks, tuple(dict.fromkeys(TRACKERS.get())))
        self._sinks = (held,)
        return held

    def drop(self) -> None:
        """Let go of a call that turned out to be part of another, with what watches its answer."""
        self._unwatch()
        self.discard()

    def __del__(self) -> None:
        """Leave the recording of a dropped call to the reaper."""
        if self.id in LIVE:
            self.put_off("abandoned")

    def _unwatch(self) -> None:
        # Let go of it as well: what it belongs to holds this flight, and a cycle is work for the collector.
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    def _call(self, outcome: Outcome, reply: Reply, duration: float) -> Call:
        if outcome in _LET_GO and self.reader.is_ended:
            # All of the answer had arrived, whether or not the user looked at each chunk.
            outcome = "complete"
        is_refused = self.reader.refusal is not None and outcome in _LET_GO
        if is_refused or (reply.failure is not None and outcome == "complete"):
            outcome = "error"
        first = self.first_chunk_at
        return Call(
            self.id,
            self.request,
            reply,
            outcome,
            self.started_ns,
            duration,
            None if first is None else first - self._began,
            missing(reply, outcome),
            self.context,
        )
