"""Opens a flight for every call that is to be recorded: describes it, starts its span, asks for its usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.context import Context, get_current

from or_instrument import _sdk
from or_instrument._flight import Flight, abandon_all
from or_instrument._hosts import Endpoint, Hosts
from or_instrument._landing import Landing
from or_instrument._reaper import REAPER
from or_instrument._records import Request, Sink
from or_instrument._request import describe, operation_of, with_usage_option
from or_instrument._scope import ATTRIBUTES
from or_instrument._shield import report

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


class Opened(NamedTuple):
    """A call about to be sent."""

    landing: Landing
    context: Context
    """To be current around the call."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


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
    ) -> None:
        self._hosts = hosts
        self._sinks = sinks
        self._open_span = open_span
        self._is_suppressed = is_suppressed
        self._inject_usage = inject_usage

    def open(self, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Opened | None:
        """Return the opened call, `None` where it is none of ours or where something of ours failed."""
        try:
            options = _sdk.options_of(args, kwargs)
            operation = operation_of(options.url) if options.method.lower() == "post" else None
            if operation is None or self._is_suppressed(get_current()):
                return None
            endpoint = self._hosts.endpoint(_sdk.url_of(client, options))
            return None if endpoint is None else self._opened(endpoint, operation, options, args, kwargs)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a call", exc)
            return None

    def _opened(
        self,
        endpoint: Endpoint,
        operation: str,
        options: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Opened:
        stream = bool(kwargs.get("stream"))
        request = describe(endpoint, operation, _sdk.sent_body(options), stream=stream, attributes=ATTRIBUTES.get())
        extra = None
        if self._inject_usage and endpoint.is_named and not options.files:
            extra = with_usage_option(operation, options.json_data, options.extra_json)
        flight = Flight(request, self._sinks)
        try:
            landing = Landing(flight)
            observed = _sdk.with_options(args, kwargs, _sdk.observed(options, landing.parsed, extra))
            context = self._open_span(request, flight.started_ns) if self._open_span else get_current()
        except BaseException:
            flight.discard()
            raise
        flight.context = context
        REAPER.start(at_exit=abandon_all)
        return Opened(landing, context, *observed)
