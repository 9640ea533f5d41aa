"""Opens a flight for every call that is to be recorded: decides whether it is, describes it, starts its span."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Collector, Flight, abandon_all
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.scope import ATTRIBUTES, TRACKERS, Tracker
from or_instrument._calls.shield import report
from or_instrument._openrouter.headers import Named
from or_instrument._openrouter.hosts import URL, Endpoint, Hosts
from or_instrument._openrouter.request import describe
from or_instrument._records import Call, Request, Sink


class KeyedSink(Protocol):
    """A sink of one call, which is also told the headers that the call was sent with."""

    def sent(self, headers: Named, /) -> None:
        """Take the headers."""

    def __call__(self, call: Call, /) -> None:
        """Take the call."""


class Observer:
    """What `instrument()` sets up once: whose calls are recorded, and where the records go.

    Its methods may raise what is a fault of ours: a seam keeps that from the caller.
    """

    def __init__(
        self,
        hosts: Hosts,
        sinks: Sequence[Sink],
        *,
        open_span: Callable[[Request, int], Context] | None,
        is_suppressed: Callable[[Context], bool],
        capture: Callable[[Mapping[str, object]], Collector | None] | None = None,
        look_inside: Callable[[Context], Context] | None = None,
        amend: Callable[[Call], Call] | None = None,
        recovery: Callable[[Callable[[], Any], Sequence[Sink]], Sink] | None = None,
        keyed: Callable[[], KeyedSink] | None = None,
    ) -> None:
        self._hosts = hosts
        self._sinks = sinks
        self._open_span = open_span
        self._is_suppressed = is_suppressed
        self._capture = capture
        self._look_inside = look_inside
        self._amend = amend
        self._recovery = recovery
        self._keyed = keyed

    def is_idle(self) -> bool:
        """Return whether there is nobody to tell of a call, or whether the user wants none recorded."""
        return (not self._sinks and self._keyed is None and not TRACKERS.get()) or self._is_suppressed(get_current())

    def endpoint(self, url: URL) -> Endpoint | None:
        """Return where a URL leads, `None` where its calls are not recorded."""
        return self._hosts.endpoint(url)

    def open(
        self,
        endpoint: Endpoint,
        operation: str,
        body: Mapping[str, object],
        *,
        stream: bool,
        whom: Callable[[], Any],
    ) -> tuple[Flight, Exchange, Context]:
        """Return the opened call: its flight, who sees its answer, and the context that is to be current around it.

        `whom` says whom to ask about the call afterwards. Raises `BudgetExceeded` where the code around the call has
        asked for it.
        """
        keyed = None if self._keyed is None else self._keyed()
        sinks = self._sinks_for(endpoint, whom, self._sinks if keyed is None else (keyed, *self._sinks))
        request = describe(endpoint, operation, body, stream, ATTRIBUTES.get())
        collector = None if self._capture is None else self._capture(body)
        flight = Flight(request, sinks, None, collector, self._amend)
        try:
            flight.context = context = self._context(request, flight.started_ns)
        except BaseException:
            flight.discard()
            raise
        REAPER.start(at_exit=abandon_all)
        return flight, Exchange(flight, self._look_inside, None if keyed is None else keyed.sent), context

    def _context(self, request: Request, started_ns: int) -> Context:
        if self._open_span is None:
            return get_current()
        try:
            return self._open_span(request, started_ns)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("starting a span", exc)
            # The span that is current now is the user's: nothing of the call must be written on it.
            return set_span_in_context(INVALID_SPAN)

    def _sinks_for(self, endpoint: Endpoint, whom: Callable[[], Any], sinks: Sequence[Sink]) -> Sequence[Sink]:
        trackers = TRACKERS.get()
        if not endpoint.is_named or not (trackers or self._recovery is not None):
            return sinks
        sinks = self._with_trackers(trackers, sinks) if trackers else sinks
        return sinks if self._recovery is None else (*sinks, self._recovery(whom, sinks))

    def _with_trackers(self, trackers: Sequence[Tracker], sinks: Sequence[Sink]) -> Sequence[Sink]:
        once = dict.fromkeys(trackers)
        for tracker in once:
            tracker.check_budget()
        # One that counts the whole process may be entered too, for its limit.
        return (*sinks, *(tracker for tracker in once if tracker not in sinks))
