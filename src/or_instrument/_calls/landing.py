"""Sees what comes back, whatever its shape: a parsed reply, a stream, a raw response, an exception."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from or_instrument._calls.flight import Flight, are_many_open
from or_instrument._calls.response import Wire
from or_instrument._calls.shield import report
from or_instrument._calls.tap import Chunks, atap, tap
from or_instrument._clients import openai_sdk
from or_instrument._content.capture import ContentKeeper
from or_instrument._openrouter.events import EventKeeper, JSONKeeper, parse_json
from or_instrument._openrouter.failure import failure_of_exception
from or_instrument._openrouter.values import get

_GENERATION_ID: Final = "x-generation-id"
_CACHE_STATUS: Final = "x-openrouter-cache-status"


class Landing:
    """The ends of one flight as the SDK shows them to us; none of its methods raises."""

    __slots__ = ("_flight", "_is_tapped", "_wire")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._wire: Wire | None = None
        self._is_tapped = False

    def parsed(self, reply: object) -> None:
        """See what the SDK has parsed; called inside the request, or later when a raw response is parsed."""
        if not self._flight.is_open or self._is_tapped:
            return
        try:
            if openai_sdk.is_stream(reply):
                self._tap(reply)
            else:
                self._read(reply)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("observing a reply", exc)

    def returned(self, result: object) -> None:
        """See what the request returned, where the SDK has parsed nothing yet."""
        if not self._flight.is_open or self._is_tapped:
            return
        try:
            response = openai_sdk.http_response_of(result)
            if response is None or (openai_sdk.body_of(response) is not None and not self._flight.request.stream):
                self._read(result)
            else:
                self._watch(response).keep(_keeper(self._flight, response))
        except Exception as exc:  # noqa: BLE001 - the shield
            report("observing a response", exc)

    def raised(self, exc: BaseException) -> None:
        """See an exception in flight; a cancelled call is one like any other."""
        try:
            response, error_type = getattr(exc, "response", None), None
            if response is not None:
                self._see_headers(response)
                error_type = _error_type(response)
            # A coroutine that is being destroyed may be so by the garbage collector.
            end = self._flight.put_off if isinstance(exc, GeneratorExit) else self._flight.finish
            end("error", failure_of_exception(exc, error_type))
        except Exception as error:  # noqa: BLE001 - the shield
            report("observing an exception", error)

    def _read(self, reply: object) -> None:
        response = openai_sdk.http_response_of(reply)
        if response is None:
            self._flight.chunks = lambda: (reply,)
        else:
            self._see_headers(response)
            body = openai_sdk.body_of(response)
            if body is not None and openai_sdk.is_json(response):
                self._flight.chunks = partial(parse_json, body)
            elif body is not None and openai_sdk.is_event_stream(response):
                self._flight.chunks = partial(_events, body)
        self._flight.finish("complete")

    def _tap(self, stream: Any) -> None:
        self._is_tapped = True
        wire = self._wire or self._watch(stream.response)
        chunks = Chunks(self._flight.request, self._flight.collector)
        readers = openai_sdk.replace_iterator(stream, partial(_tapped, self._flight, chunks))
        wire.leave_to(readers, chunks.listener() if are_many_open() else None)

    def _watch(self, response: Any) -> Wire:
        self._see_headers(response)
        self._wire = Wire(response, self._flight)
        return self._wire

    def _see_headers(self, response: Any) -> None:
        self._flight.generation_id = openai_sdk.header(response, _GENERATION_ID)
        self._flight.cache_status = openai_sdk.header(response, _CACHE_STATUS)


def _keeper(flight: Flight, response: Any) -> EventKeeper | JSONKeeper:
    # A body of the user's own may ask for a stream without the SDK's knowledge.
    if not flight.request.stream and not openai_sdk.is_event_stream(response):
        return JSONKeeper()
    return EventKeeper() if flight.collector is None else ContentKeeper(flight.collector.see)


def _events(body: bytes) -> list[object]:
    keeper = EventKeeper()
    keeper.feed(body)
    return keeper.chunks()


def _error_type(response: Any) -> object:
    bodies = parse_json(openai_sdk.body_of(response) or b"")
    return get(bodies[0], "error_type") if bodies else None


def _tapped(flight: Flight, chunks: Chunks, iterator: Any) -> Any:
    return (atap if hasattr(iterator, "__anext__") else tap)(iterator, flight, chunks)
