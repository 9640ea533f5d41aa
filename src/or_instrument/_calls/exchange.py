"""Sees how one call comes back: the response that its client goes on with, or what was raised in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from or_instrument._calls.flight import Flight
from or_instrument._calls.response import Answer, answer_of, body_of
from or_instrument._calls.shield import report
from or_instrument._openrouter.failure import failure_of_exception, refusal_of
from or_instrument._openrouter.headers import Named, read_headers
from or_instrument._openrouter.json_text import parse_json
from or_instrument._openrouter.values import get
from or_instrument._records import Call

_REFUSED: Final = 400


class KeyedSink(Protocol):
    """A sink of one call, which is also told where the request went that was answered, and with which headers."""

    def sent(self, headers: Named, url: object, /) -> None:
        """Take the headers, and the URL, which is a text or an object of its client's."""

    def __call__(self, call: Call, /) -> None:
        """Take the call."""


class RecoverySink(KeyedSink, Protocol):
    """A sink that has a call looked up."""

    def carried(self, whom: Callable[[], Any], /) -> None:
        """Take who says how to ask through another client, which sends the request on."""


class Exchange:
    """One flight and its answer; none of its methods raises."""

    __slots__ = ("_look_inside", "_recovery", "_told", "flight", "is_awaited")

    def __init__(
        self,
        flight: Flight,
        look_inside: Callable[[Any], Any] | None = None,
        told: Sequence[KeyedSink] = (),
        recovery: RecoverySink | None = None,
    ) -> None:
        self.flight = flight
        self._look_inside = look_inside
        self._told = told
        self._recovery = recovery
        self.is_awaited = True
        """Until the response is there, or something was raised."""

    def answered(self, response: Any, apart: Callable[[Any], Answer] = answer_of) -> None:
        """See the response: one in memory ends the call, any other when it has been read, closed or dropped."""
        flight, self.is_awaited = self.flight, False
        try:
            if self._look_inside is not None:
                self._look(self._look_inside)
            if self._told:
                self._tell(response)
            status_code, headers, body, hooks = apart(response)
            self._answered_with(status_code, headers)
            if body is None:
                hooks(response, flight)
            else:
                flight.answered(body)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("observing a response", exc)

    def _tell(self, response: Any) -> None:
        try:
            request = getattr(response, "request_info", None) or response.request
            for sink in self._told:
                sink.sent(request.headers, request.url)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("seeing what was sent", exc)

    def carried(self, whom: Callable[[], Any]) -> None:
        """See that another client sends the request on; `whom` says how to ask through that one."""
        if self._recovery is not None:
            self._recovery.carried(whom)

    def returned(self) -> None:
        """See that the call is over; a client may have answered it without any response."""
        if self.is_awaited:
            self.is_awaited = False
            self.flight.finish("complete")

    def raised(self, exc: BaseException, *, by_hook: bool = False, response: Any = None) -> None:
        """See an exception in flight; a cancelled call is one like any other. It has the response that it is about.

        One that a hook may have raised (`by_hook`) may be about any: then `response` is the one that it refuses, whose
        body may still have to be read. The status and the headers are seen, and the body only where it has been read.
        """
        flight, self.is_awaited = self.flight, False
        if not flight.is_open:
            return
        try:
            error_type = None
            if by_hook:
                if response is not None and self._is_refused(response):
                    flight.finish("error")
                    return
            elif (response := getattr(exc, "response", None)) is not None:
                error_type = self._refused(response)
            # A coroutine that is being destroyed may be so by the garbage collector.
            end = flight.put_off if isinstance(exc, GeneratorExit) else flight.finish
            end("error", failure_of_exception(exc, error_type))
        except Exception as error:  # noqa: BLE001 - the shield
            report("observing an exception", error)
            flight.finish("error")

    def _answered_with(self, status_code: int, headers: Any) -> None:
        reader = self.flight.reader
        reader.headers = read_headers(status_code, headers)
        if status_code >= _REFUSED:
            reader.refusal = refusal_of(status_code, headers)

    def _is_refused(self, response: Any) -> bool:
        self._answered_with(response.status_code, response.headers)
        body = getattr(response, "_content", None)  # what a hook has read; `content` might read it
        if isinstance(body, bytes):
            self.flight.reader.read(body)
        return self.flight.reader.refusal is not None

    def _refused(self, response: Any) -> object:
        reader = self.flight.reader
        reader.headers = read_headers(response.status_code, response.headers)
        body = body_of(response)
        if body is None:
            return None
        reader.read(body)
        said = parse_json(body)
        return get(said[0], "error_type") if said else None

    def _look(self, look_inside: Callable[[Any], Any]) -> None:
        try:
            self.flight.context = look_inside(self.flight.context)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("looking for another instrumentation's span", exc)
