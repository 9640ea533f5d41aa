"""Sees the requests that an auth of httpx makes by itself: the client sends what its flow yields without any `send`.

An auth that exchanges a token, or asks something, before it lets a request go makes calls of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeAlias

import wrapt

from or_instrument._clients.http_send import Sending
from or_instrument._clients.under_way import current_task

LIBRARIES: Final = ("httpx", "httpx2")
_CLIENTS_OWN: Final = "UseClientDefault"
Begin: TypeAlias = Callable[[Any], "Sending | None"]
"""Takes a request; returns the send that begins, `None` where nothing is to be seen of it."""
Came: TypeAlias = Callable[[Sending, Any], object]
"""Takes that send and its response."""


def watched(auth: Any, clients: Any, begin: Begin, came: Came) -> Any:
    """Return an auth that does what another does, and shows what it sends; `None` where there is nothing to see.

    That is for a tuple, a function, and the library's own, which sign the request that they are given.
    """
    auth = clients if type(auth).__name__ == _CLIENTS_OWN else auth
    library = next((name for base in type(auth).__mro__ if (name := _package(base)) in LIBRARIES), None)
    return None if library is None or _package(type(auth)) == library else _Watched(auth, begin, came)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


class _Watched(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """Stands for an auth, and sees what its flow yields."""

    def __init__(self, theirs: Any, begin: Begin, came: Came) -> None:
        super().__init__(theirs)
        self._self_begin = begin
        self._self_came = came

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        flow, own, response = self.__wrapped__.sync_auth_flow(request), request, None
        try:
            while True:
                try:
                    request = next(flow) if response is None else flow.send(response)
                except StopIteration:
                    return
                with self._sending(request, own) as sending:
                    response = yield request
                if sending is not None:
                    self._self_came(sending, response)
        finally:
            flow.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        flow, own, response = self.__wrapped__.async_auth_flow(request), request, None
        try:
            while True:
                try:
                    request = await (anext(flow) if response is None else flow.asend(response))
                except StopAsyncIteration:
                    return
                with self._sending(request, own) as sending:
                    response = yield request
                if sending is not None:
                    self._self_came(sending, response)
        finally:
            await flow.aclose()

    def _sending(self, request: Any, own: Any) -> AbstractContextManager[Sending | None]:
        sending = None if request is own else self._self_begin(request)
        if sending is None:
            return nullcontext()
        sending.is_of_auth, sending.task = True, current_task()
        return sending
