"""The fake behind a mock transport: one handler for the sync and async clients of `httpx` and of `httpx2`."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ._exchange import Received

if TYPE_CHECKING:
    from types import ModuleType

    from ._reply import Reply

Handler = Callable[[Any], Any]
"""From the ``Request`` of either library to a ``Response`` of the same."""


class _Request(Protocol):
    """What the ``Request`` of both libraries has."""

    method: str
    url: object
    headers: Mapping[str, str]
    content: bytes


def make_handler(answer: Callable[[Received], Reply]) -> Handler:
    """Return a handler for ``MockTransport``.

    It does not wait: delays, pauses and gates are passed over; a client that stops reading is not noticed.
    """

    def handler(request: _Request) -> object:
        library = importlib.import_module(type(request).__module__.partition(".")[0])
        received = Received.of(request.method, str(request.url), dict(request.headers), request.content)
        reply = answer(received)
        if reply.aborted and not reply.streamed:
            raise library.RemoteProtocolError("Server disconnected without a response.", request=request)
        stream = _stream(library, reply)
        return library.Response(reply.status, headers=dict(reply.headers), stream=stream, request=request)

    return handler


def _stream(library: ModuleType, reply: Reply) -> object:
    class Body(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc,name-defined]
        """The steps of a reply, and the error of a connection that is dropped."""

        def __iter__(self) -> Iterator[bytes]:
            yield from (step.data for step in reply.steps)
            if reply.aborted:
                raise library.RemoteProtocolError("peer closed connection (incomplete chunked read)")

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for data in self:
                yield data

    return Body()
