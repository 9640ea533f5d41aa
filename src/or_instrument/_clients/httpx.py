"""The seam of httpx and httpx2: `send` of their clients, which every request passes, with its redirects and its auth.

Through it go the official `openrouter` SDK, langchain-openrouter, LiteLLM, the anthropic SDK, and httpx itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

from or_instrument._calls.observer import Observer
from or_instrument._calls.response import ResponseHooks, body_of
from or_instrument._calls.shield import report
from or_instrument._clients.asking import HTTPXAsker
from or_instrument._clients.patch import post_import
from or_instrument._clients.seam import Seam
from or_instrument._clients.sending import Sending, Sends, Sent

LIBRARIES: Final = ("httpx", "httpx2")
_CLIENT: Final = "httpx"


class HTTPXPatch(Seam):
    """The wrappers of one `instrument()`; they do nothing once it is removed."""

    def __init__(self, observer: Observer, sends: Sends) -> None:
        super().__init__(observer)
        self._sends = sends
        self._search = observer.search

    def install(self) -> None:
        """Wrap the clients of each library now if it is imported, otherwise when it is; imports neither."""
        for library in LIBRARIES:
            post_import(self._wrap, library)

    def _wrap(self, library: ModuleType) -> None:
        if self._observer is None:
            return
        self._wrappers.put_on(library.Client, "send", self._send)
        self._wrappers.put_on(library.AsyncClient, "send", self._asend)

    def _send(self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        sending = None if self._is_other(args, kwargs) else self._begin(client, args, kwargs)
        if sending is None:
            return wrapped(*args, **kwargs)
        with sending:
            response = wrapped(*args, **kwargs)
        _answered(sending, response)
        return response

    def _asend(self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if self._is_other(args, kwargs):
            return wrapped(*args, **kwargs)
        return self._arecorded(wrapped, client, args, kwargs)

    async def _arecorded(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        sending = self._begin(client, args, kwargs)
        if sending is None:
            return await wrapped(*args, **kwargs)
        with sending:
            response = await wrapped(*args, **kwargs)
        _answered(sending, response)
        return response

    def _is_other(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        try:
            return not self._search((args[0] if args else kwargs["request"]).url.host)
        except Exception:  # noqa: BLE001 - the library itself says what is wrong with it
            return True

    def _begin(self, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sending | None:
        observer = self._observer
        if observer is None:
            return None
        request = args[0] if args else kwargs["request"]
        url = request.url
        endpoint = observer.named(url.scheme, url.host, url.port)
        if endpoint is None:
            return None
        return self._sends.begin(
            _CLIENT, client, endpoint, partial(_sent, request), partial(HTTPXAsker.target, client, request)
        )


def _sent(request: Any) -> Sent:
    agent = request.headers.get("user-agent", "")
    return Sent(request.method.upper(), str(request.url), body_of(request), agent)


def _answered(sending: Sending, response: Any) -> None:
    try:
        sending.answered(
            response, response.status_code, response.headers, body_of(response), partial(ResponseHooks, response)
        )
    except Exception as exc:  # noqa: BLE001 - the shield
        report("looking at a response", exc)
