"""Opens a flight for every call that is to be recorded: describes it, starts its span, asks for its usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, get_current_span, set_span_in_context

from or_instrument._calls.flight import Flight, abandon_all
from or_instrument._calls.landing import Landing
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.scope import ATTRIBUTES, TRACKERS, Tracker
from or_instrument._calls.shield import report
from or_instrument._clients import openai_sdk
from or_instrument._content.capture import Capture
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.broadcast import with_trace
from or_instrument._openrouter.hosts import Endpoint, Hosts
from or_instrument._openrouter.request import describe, operation_of, with_usage_option
from or_instrument._records import Call, Request, Sink

Arguments: TypeAlias = tuple[tuple[Any, ...], Mapping[str, Any]]
Opened: TypeAlias = tuple[Landing, Context, tuple[Any, ...], Mapping[str, Any]]
"""A call about to be sent: who sees its end, the context to be current around it, and its arguments."""


class Observer:
    """What `instrument()` sets up once: whose calls are recorded, and where the records go."""

    def __init__(
        self,
        hosts: Hosts,
        sinks: Sequence[Sink],
        *,
        open_span: Callable[[Request, int], Context] | None,
        is_suppressed: Callable[[Context], bool],
        inject_usage: bool,
        capture: Capture | None = None,
        look_inside: Callable[[Context], Context] | None = None,
        amend: Callable[[Call], Call] | None = None,
        recovery: Callable[[Any, Any, Sequence[Sink]], Sink] | None = None,
        propagate: bool = False,
    ) -> None:
        self._hosts = hosts
        self._sinks = sinks
        self._open_span = open_span
        self._is_suppressed = is_suppressed
        self._inject_usage = inject_usage
        self._capture = capture
        self._look_inside = look_inside
        self._amend = amend
        self._recovery = recovery
        self._propagate = propagate

    def open(self, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Opened | None:
        """Return the opened call, `None` where it is none of ours or where something of ours failed.

        Raises `BudgetExceeded` where the code around the call has asked for it.
        """
        try:
            trackers = TRACKERS.get()
            if not self._sinks and not trackers:
                return None
            options = openai_sdk.options_of(args, kwargs)
            operation = operation_of(options.url) if options.method.lower() == "post" else None
            if operation is None or self._is_suppressed(get_current()):
                return None
            endpoint = self._hosts.endpoint(openai_sdk.url_of(client, options))
            if endpoint is None:
                return None
            sinks = self._sinks
            if endpoint.is_named and (trackers or self._recovery is not None):
                sinks = self._sinks_with(trackers, client, options)
            return self._opened(endpoint, operation, options, sinks, (args, kwargs))
        except BudgetExceeded:
            raise
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a call", exc)
            return None

    def _opened(
        self,
        endpoint: Endpoint,
        operation: str,
        options: Any,
        sinks: Sequence[Sink],
        arguments: Arguments,
    ) -> Opened:
        args, kwargs = arguments
        body = openai_sdk.sent_body(options)
        request = describe(endpoint, operation, body, bool(kwargs.get("stream")), ATTRIBUTES.get())
        collector = None if self._capture is None else self._capture.begin(body)
        flight = Flight(request, sinks, None, collector, self._amend)
        try:
            landing = Landing(flight)
            flight.context = context = self._context(request, flight.started_ns)
            extra = None
            if endpoint.is_named and not options.files:
                extra = self._extra(operation, options, body, context)
            observe = landing.parsed if self._look_inside is None else self._looking(flight, landing)
            args, kwargs = openai_sdk.with_options(args, kwargs, openai_sdk.observed(options, observe, extra))
        except BaseException:
            flight.discard()
            raise
        REAPER.start(at_exit=abandon_all)
        return landing, context, args, kwargs

    def _context(self, request: Request, started_ns: int) -> Context:
        if self._open_span is None:
            return get_current()
        try:
            return self._open_span(request, started_ns)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("starting a span", exc)
            # The span that is current now is the user's: nothing of the call must be written on it.
            return set_span_in_context(INVALID_SPAN)

    def _sinks_with(self, trackers: Sequence[Tracker], client: Any, options: Any) -> Sequence[Sink]:
        sinks = self._sinks
        if trackers:
            once = dict.fromkeys(trackers)
            for tracker in once:
                tracker.check_budget()
            # One that counts the whole process may be entered too, for its limit.
            sinks = (*sinks, *(tracker for tracker in once if tracker not in sinks))
        return sinks if self._recovery is None else (*sinks, self._recovery(client, options, sinks))

    def _extra(
        self, operation: str, options: Any, body: Mapping[str, object], context: Context
    ) -> Mapping[str, object] | None:
        extra = with_usage_option(operation, options.json_data, options.extra_json) if self._inject_usage else None
        if not self._propagate or operation != "chat":
            return extra
        span = get_current_span(context).get_span_context()
        if not span.trace_flags.sampled:
            return extra
        so_far = options.extra_json if extra is None else extra
        return with_trace(body, so_far, span.trace_id, span.span_id) or extra

    def _looking(self, flight: Flight, landing: Landing) -> Callable[[object], None]:
        look_inside = self._look_inside

        def parsed(reply: object) -> None:
            try:
                flight.context = look_inside(flight.context)  # type: ignore[misc, arg-type]
            except Exception as exc:  # noqa: BLE001 - the shield
                report("looking for another instrumentation's span", exc)
            landing.parsed(reply)

        return parsed
