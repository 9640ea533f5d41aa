"""Opens a flight for every call that is to be recorded: decides whether it is, describes it, starts its span."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from or_instrument._calls.delivery import deliver
from or_instrument._calls.exchange import Exchange, KeyedSink, RecoverySink
from or_instrument._calls.flight import Collector, Flight
from or_instrument._calls.jobs import Poll, RecordedJobs
from or_instrument._calls.live import abandon_all
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.scope import ATTRIBUTES, TRACKERS, Tracker
from or_instrument._calls.shield import report
from or_instrument._openrouter.hosts import Endpoint, Hosts
from or_instrument._openrouter.paths import is_job, is_new_job, job_of, operation_of, word_of
from or_instrument._openrouter.request import describe
from or_instrument._records import Call, Request, Sink

_UNNAMED: Final = "call"
Asked: TypeAlias = tuple[Mapping[str, object], bool]
"""The JSON object that is sent, and whether a stream is asked for."""
BeginCapture: TypeAlias = Callable[[Mapping[str, object]], Collector | None]
"""Takes the JSON object that is sent; returns what collects the content of that call, `None` where nothing does."""
Recovery: TypeAlias = Callable[[Callable[[], Any], Sequence[Sink]], RecoverySink]
"""Takes who says whom to ask, and whom to tell; returns the sink that has a call looked up."""


class Observer:
    """What `instrument()` sets up once: whose calls are recorded, and where the records go.

    Its methods may raise what is a fault of ours: a seam keeps that from the caller.
    """

    def __init__(
        self,
        hosts: Hosts,
        sinks: Sequence[Sink],
        *,
        open_span: Callable[[Request, int], Context],
        is_suppressed: Callable[[Context], bool],
        capture: BeginCapture | None = None,
        look_inside: Callable[[Context], Context] | None = None,
        amend: Callable[[Call], Call] | None = None,
        recovery: Recovery | None = None,
        keyed: Callable[[], KeyedSink] | None = None,
    ) -> None:
        self.hosts = hosts
        """Whose calls are recorded."""
        self._sinks = sinks
        self._open_span = open_span
        self._is_suppressed = is_suppressed
        self._capture = capture
        self._look_inside = look_inside
        self._amend = amend
        self._recovery = recovery
        self._keyed = keyed
        self._jobs = RecordedJobs()

    def is_idle(self) -> bool:
        """Return whether there is nobody to tell of a call, or whether the user wants none recorded."""
        context = get_current()
        is_suppressed = bool(context) and self._is_suppressed(context)
        return is_suppressed or (not self._sinks and self._keyed is None and not TRACKERS.get())

    def see(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        asked: Callable[[], Asked],
        *,
        client: str,
        whom: Callable[[], Any],
    ) -> Exchange | None:
        """Return who sees the answer to a request, `None` where it is none that can cost anything.

        `method` is in upper case; `asked` says what is sent; `client` is the seam that sees it; `whom` says whom to ask
        about the call afterwards. Raises `BudgetExceeded` where the code around the call has asked for it.
        """
        attributes = ATTRIBUTES.get()
        if method == "GET" and endpoint.is_named and (job := job_of(url)) is not None:
            request = describe(endpoint, job[0], {}, stream=False, attributes=attributes, client=client)
            return self._watch(request, {}, job=(endpoint.host, job[1]))
        operation = operation_of(url) if method == "POST" else None
        if operation is None and (method != "POST" or not endpoint.is_named or is_job(url)):
            if method == "POST" and endpoint.is_named and is_new_job(url):
                _check_budgets()
            return None
        body, stream = asked()
        named = operation or word_of(url) or _UNNAMED
        request = describe(endpoint, named, body, stream=stream, attributes=attributes, client=client)
        return self._watch(request, body) if operation is None else self._open(endpoint, request, body, whom)

    def _open(
        self, endpoint: Endpoint, request: Request, body: Mapping[str, object], whom: Callable[[], Any]
    ) -> Exchange:
        told = () if self._keyed is None else (self._keyed(),)
        # A tuple of its own takes memory of each open stream.
        sinks: Sequence[Sink] = (*told, *self._sinks) if told else self._sinks
        recovery = None
        if endpoint.is_named:
            if TRACKERS.get():
                _check_budgets()
                sinks = (*sinks, *self._trackers())
            if self._recovery is not None:
                recovery = self._recovery(whom, sinks)
                sinks, told = (*sinks, recovery), (*told, recovery)
        collector = None if self._capture is None else self._capture(body)
        flight = Flight(request, sinks, None, collector, self._amend)
        try:
            flight.context = self._context(request, flight.started_ns)
        except BaseException:
            flight.discard()
            raise
        REAPER.start(at_exit=abandon_all)
        return Exchange(flight, self._look_inside, told, recovery)

    def _watch(self, request: Request, body: Mapping[str, object], *, job: Hashable = None) -> Exchange:
        """Return a call that is one only if its answer tells a cost: until then there is no span and no limit."""
        around, told = get_current(), () if self._keyed is None else (self._keyed(),)
        sinks: Sequence[Sink] = (*told, *self._sinks, *self._trackers())
        collector = None if self._capture is None else self._capture(body)
        poll = None if job is None else Poll(collector)

        def record(call: Call) -> None:
            if call.usage is None or call.usage.cost is None:
                return
            if poll is not None and not (poll.is_final(call.usage) and self._jobs.is_first(job)):
                return
            token = attach(around)
            try:
                call = call._replace(context=self._context(request, call.started_ns))
            finally:
                detach(token)
            deliver(call, sinks)

        flight = Flight(request, (record,), None, poll or collector)
        REAPER.start(at_exit=abandon_all)
        return Exchange(flight, None, told)

    def _context(self, request: Request, started_ns: int) -> Context:
        try:
            return self._open_span(request, started_ns)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("starting a span", exc)
            # The span that is current now is the user's: nothing of the call must be written on it.
            return set_span_in_context(INVALID_SPAN)

    def _trackers(self) -> list[Tracker]:
        # One that counts the whole process may be entered too, for its limit.
        return [tracker for tracker in dict.fromkeys(TRACKERS.get()) if tracker not in self._sinks]


def _check_budgets() -> None:
    for tracker in TRACKERS.get():
        tracker.check_budget()
