"""The seam of the OpenAI SDK: `request` of its two clients, where a call begins and ends, and its response.

Every `create`, `parse`, stream and raw call of the SDK goes through `request`, all retries inside it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

from opentelemetry.context import attach, detach, get_current

from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight
from or_instrument._calls.observer import Observer, Seen
from or_instrument._calls.shield import report
from or_instrument._clients import openai_sdk
from or_instrument._clients.openai_body import Additions
from or_instrument._clients.openai_tap import tapped
from or_instrument._clients.patch import post_import
from or_instrument._clients.sdk_call import SDK_CALL, SDKCall
from or_instrument._clients.seam import Seam
from or_instrument._clients.target import target_of
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.hosts import Endpoint

_log = logging.getLogger("or_instrument")
_CLIENT_MODULE: Final = "openai._client"
_LAST_MODULE: Final = "openai._module_client"
_OLDEST, _NEWEST_MAJOR = (1, 40), 3
_METHODS: Final = ("request", "_process_response")

Opened: TypeAlias = tuple[Seen, tuple[Any, ...], Mapping[str, Any]]
"""A call about to be sent, and the arguments of `request`."""

_EXCHANGE: Final[ContextVar[Exchange | None]] = ContextVar("or_instrument.openai", default=None)
"""Of the innermost `request` that runs in this context; a task that is started in it may outlive it with a copy."""


class OpenAIPatch(Seam):
    """The wrappers of one `instrument()`; they do nothing once it is removed."""

    def __init__(self, observer: Observer, additions: Additions, *, records: bool = True) -> None:
        """Record calls, or only note that they are under way, so that the seam below does not take them for its own."""
        super().__init__(observer)
        self._records = records
        self._additions = additions
        self._is_tapped = False

    def install(self) -> None:
        """Wrap the SDK's clients now if it is imported, otherwise when it is; imports nothing itself."""
        post_import(self._wrap, _CLIENT_MODULE, last=_LAST_MODULE)

    def _wrap(self, _module: ModuleType) -> None:
        if self._observer is None:
            return
        client = sys.modules[_CLIENT_MODULE]
        problem = _unsupported(client)
        if problem:
            _log.warning("%s; supported: %s. Nothing is recorded.", problem, openai_sdk.SUPPORTED)
            return
        self._is_tapped = not openai_sdk.closes_when_raising()
        for owner, request in ((client.OpenAI, self._request), (client.AsyncOpenAI, self._arequest)):
            self._wrappers.put_on(owner, "request", request)
            self._wrappers.put_on(owner, "_process_response", _process_response)

    def _request(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        endpoint = self._endpoint(client, args, kwargs)
        if endpoint is None:
            return _unrecorded(wrapped, args, kwargs)
        opened = self._open(endpoint, client, args, kwargs)
        call, token = _begun(client)
        try:
            if opened is None:
                return _unrecorded(wrapped, args, kwargs)
            return self._recorded(wrapped, *opened)
        finally:
            _ended(call, token)

    def _recorded(
        self, wrapped: Callable[..., Any], seen: Seen, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        flight, exchange, context = seen
        tokens = None if context is None else attach(context), _EXCHANGE.set(exchange)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as exc:
            exchange.raised(exc)
            raise
        finally:
            if tokens[0] is not None:
                detach(tokens[0])
            _EXCHANGE.reset(tokens[1])
        return self._returned(flight, exchange, result)

    async def _arequest(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        endpoint = self._endpoint(client, args, kwargs)
        if endpoint is None:
            return await _aunrecorded(wrapped, args, kwargs)
        opened = self._open(endpoint, client, args, kwargs)
        call, token = _begun(client)
        try:
            if opened is None:
                return await _aunrecorded(wrapped, args, kwargs)
            return await self._arecorded(wrapped, *opened)
        finally:
            _ended(call, token)

    async def _arecorded(
        self, wrapped: Callable[..., Any], seen: Seen, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        flight, exchange, context = seen
        tokens = None if context is None else attach(context), _EXCHANGE.set(exchange)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as exc:
            exchange.raised(exc)
            raise
        finally:
            # A coroutine may be destroyed in another context than it ran in; the tokens are of no use there.
            if tokens[0] is not None and get_current() is context:
                detach(tokens[0])
            if _EXCHANGE.get() is exchange:
                _EXCHANGE.reset(tokens[1])
        return self._returned(flight, exchange, result)

    def _endpoint(self, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Endpoint | None:
        """Return where a call goes, `None` where nothing is recorded of it: told first, as most hosts are others."""
        observer = self._observer
        if observer is None:
            return None
        try:
            return observer.endpoint(openai_sdk.url_of(client, openai_sdk.options_of(args, kwargs)))
        except Exception as exc:  # noqa: BLE001 - the shield
            report("looking at a call", exc)
            return None

    def _open(self, endpoint: Endpoint, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Opened | None:
        """Return the opened call, `None` where it is none of ours or where something of ours failed.

        Raises `BudgetExceeded` where the code around the call has asked for it.
        """
        observer = self._observer
        try:
            if observer is None or not self._records or observer.is_idle():
                return None
            options = openai_sdk.options_of(args, kwargs)
            asked = openai_sdk.sent_body(options), bool(kwargs.get("stream"))
            whom = partial(target_of, client, options)
            seen = observer.see(
                endpoint, options.method.upper(), options.url, lambda: asked, client="openai", whom=whom
            )
            if seen is None:
                return None
        except BudgetExceeded:
            raise
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a call", exc)
            return None
        if endpoint.is_named and seen.context is not None and not options.files:
            try:
                operation = seen.flight.request.operation
                changes = self._additions.changes(client, operation, options, asked[0], seen.context)
                if changes is not None:
                    args, kwargs = openai_sdk.with_changes(args, kwargs, changes)
            except Exception as exc:  # noqa: BLE001 - the shield
                report("asking for usage", exc)
        return seen, args, kwargs

    def _returned(self, flight: Flight, exchange: Exchange, result: Any) -> Any:
        exchange.returned()
        if self._is_tapped and flight.is_open:
            try:
                openai_sdk.replace_iterator(result, partial(tapped, flight))
            except Exception as exc:  # noqa: BLE001 - the shield
                report("observing a stream", exc)
        return result


def _process_response(
    wrapped: Callable[..., Any], _client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    exchange = _EXCHANGE.get()
    if exchange is not None and exchange.is_awaited:
        exchange.answered(kwargs.get("response"))
    return wrapped(*args, **kwargs)


def _begun(client: Any) -> tuple[SDKCall, Token[SDKCall | None]]:
    call = SDKCall(getattr(client, "_client", None))
    return call, SDK_CALL.set(call)


def _ended(call: SDKCall, token: Token[SDKCall | None]) -> None:
    call.is_running = False
    if SDK_CALL.get() is call:
        SDK_CALL.reset(token)


def _unrecorded(wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    # Inside of one that is recorded (a hook asks something), its answer is not that one's.
    if _EXCHANGE.get() is None:
        return wrapped(*args, **kwargs)
    token = _EXCHANGE.set(None)
    try:
        return wrapped(*args, **kwargs)
    finally:
        _EXCHANGE.reset(token)


async def _aunrecorded(wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if _EXCHANGE.get() is None:
        return await wrapped(*args, **kwargs)
    token = _EXCHANGE.set(None)
    try:
        return await wrapped(*args, **kwargs)
    finally:
        _EXCHANGE.reset(token)


def _unsupported(client: ModuleType) -> str | None:
    said, version = openai_sdk.said_version(), openai_sdk.version()
    if version is None or not _OLDEST <= version < (_NEWEST_MAJOR + 1, 0):
        return f"openai {said} was found"
    for owner in ("OpenAI", "AsyncOpenAI"):
        for method in _METHODS:
            if not callable(getattr(getattr(client, owner, None), method, None)):
                return f"openai {said} has no {owner}.{method}"
    return None
