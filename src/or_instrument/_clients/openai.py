"""The seam of the OpenAI SDK: `request` of its two clients, where a call begins and ends, and its response.

Every `create`, `parse`, stream and raw call of the SDK goes through `request`, all retries inside it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

from or_instrument._calls.observer import Asked, Observer
from or_instrument._calls.shield import report
from or_instrument._clients import openai_sdk
from or_instrument._clients.openai_body import Additions
from or_instrument._clients.openai_tap import tapped
from or_instrument._clients.own_context import in_own_context
from or_instrument._clients.patch import Seam
from or_instrument._clients.target import target_of
from or_instrument._clients.under_way import INNERMOST, SDKCall, current_task
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.hosts import Endpoint
from or_instrument._openrouter.request import session_in, with_session

_log = logging.getLogger("or_instrument")
_CLIENT_MODULE: Final = "openai._client"
_OLDEST, _NEWEST_MAJOR = (1, 40), 3
_METHODS: Final = ("request", "_process_response")

Opened: TypeAlias = tuple[SDKCall, tuple[Any, ...], Mapping[str, Any]]
"""A call about to be sent, and the arguments of `request`."""


class OpenAIPatch(Seam):
    """The wrappers of one `instrument()`; they do nothing once it is removed."""

    def __init__(self, observer: Observer, additions: Additions, *, records: bool = True) -> None:
        """Record calls, or only note that they are under way, so that the seam below does not take them for its own."""
        super().__init__(observer)
        self._records = records
        self._additions = additions
        self._is_tapped = False

    def misses_calls(self) -> bool:
        """Return whether the SDK is imported and its calls are not seen: not supported, or our wrappers taken off."""
        return _CLIENT_MODULE in sys.modules and (not self.are_on or bool(self.lost()))

    def _wrap(self, library: ModuleType) -> None:  # noqa: ARG002 - what is half imported hands over its last module
        client = sys.modules[_CLIENT_MODULE]
        problem = _unsupported(client)
        if problem:
            _log.warning("%s; supported: %s. Nothing is recorded.", problem, openai_sdk.SUPPORTED)
            return
        self._is_tapped = not openai_sdk.closes_when_raising()
        for owner, request in ((client.OpenAI, self._request), (client.AsyncOpenAI, self._arequest)):
            self.put_on(owner, "request", request)
            self.put_on(owner, "_process_response", _process_response)

    def _request(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        opened = self._open(client, args, kwargs)
        if opened is None:
            return wrapped(*args, **kwargs)
        call, args, kwargs = opened
        with call:
            result = wrapped(*args, **kwargs)
        return self._returned(call, result)

    async def _arequest(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        around = INNERMOST.get()
        if around is not None and around.is_strangers():
            return await in_own_context(INNERMOST, self._arequest, wrapped, client, args, kwargs)
        opened = self._open(client, args, kwargs)
        if opened is None:
            return await wrapped(*args, **kwargs)
        call, args, kwargs = opened
        call.task = current_task()
        with call:
            result = await wrapped(*args, **kwargs)
        return self._returned(call, result)

    def _open(self, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Opened | None:
        """Return the call that begins, `None` where nothing is to be recorded, here or below.

        Raises `BudgetExceeded` where the code around the call has asked for it.
        """
        observer = self._observer
        if observer is None:
            return None
        try:
            options = openai_sdk.options_of(args, kwargs)
            endpoint = observer.hosts.endpoint(openai_sdk.url_of(client, options))
            if endpoint is None or observer.is_idle():
                # Inside of one that is recorded (a hook asks something), its answer is not that one's.
                return None if INNERMOST.get() is None else (SDKCall(None), args, kwargs)
            call = self._call(observer, endpoint, client, options, stream=bool(kwargs.get("stream")))
        except BudgetExceeded:
            raise
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a call", exc)
            return SDKCall(getattr(client, "_client", None)), args, kwargs
        flight = None if call.exchange is None else call.exchange.flight
        if flight is None or flight.context is None or not endpoint.is_named or options.files:
            return call, args, kwargs
        try:
            changes = self._additions.changes(client, flight.request.operation, options, flight.context)
            if changes:
                args, kwargs = openai_sdk.with_changes(args, kwargs, options, changes)
                call.sends = partial(_sends, openai_sdk.options_of(args, kwargs))
        except Exception as exc:  # noqa: BLE001 - the shield
            report("asking for usage", exc)
        return call, args, kwargs

    def _call(self, observer: Observer, endpoint: Endpoint, client: Any, options: Any, *, stream: bool) -> SDKCall:
        http, sends = openai_sdk.http_of(client), partial(_sends, options)
        if not self._records:
            return SDKCall(http, None, sends)
        asked, whom = partial(_asked, client, options, stream), partial(target_of, client, options)
        exchange = observer.see(endpoint, options.method.upper(), options.url, asked, client="openai", whom=whom)
        return SDKCall(http, exchange, sends)

    def _returned(self, call: SDKCall, result: Any) -> Any:
        exchange, last = call.exchange, call.last
        if call.inside:
            call.settle(None)
        call.let_go()
        if exchange is None:
            return result
        if exchange.is_awaited and self._observer is None and getattr(last, "is_success", False):
            exchange.answered(last)  # our wrapper was taken off before the answer passed it
        exchange.returned()
        if self._is_tapped and exchange.flight.is_open:
            try:
                openai_sdk.replace_iterator(result, partial(tapped, exchange.flight))
            except Exception as exc:  # noqa: BLE001 - the shield
                report("observing a stream", exc)
        return result


def _process_response(
    wrapped: Callable[..., Any], _client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    call = INNERMOST.get()
    if call is not None and call.inside:
        call.settle(kwargs.get("response"))
    if call is not None and call.exchange is not None and call.exchange.is_awaited:
        call.exchange.answered(kwargs.get("response"))
    return wrapped(*args, **kwargs)


def _sends(options: Any) -> tuple[str, Mapping[str, object]]:
    return options.url, openai_sdk.sent_body(options)


def _asked(client: Any, options: Any, stream: bool) -> Asked:
    body, default = openai_sdk.sent_body(options), openai_sdk.default_headers_of(client)
    if options.headers or default:
        body = with_session(body, session_in(options.headers, default))
    return body, stream


def _unsupported(client: ModuleType) -> str | None:
    said, version = openai_sdk.said_version(), openai_sdk.version()
    if version is None or not _OLDEST <= version < (_NEWEST_MAJOR + 1, 0):
        return f"openai {said} was found"
    for owner in ("OpenAI", "AsyncOpenAI"):
        for method in _METHODS:
            if not callable(getattr(getattr(client, owner, None), method, None)):
                return f"openai {said} has no {owner}.{method}"
    return None
