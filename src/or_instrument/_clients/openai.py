"""The seam of the OpenAI SDK: `request` of its two clients, where a call begins and ends, and its response.

Every `create`, `parse`, stream and raw call of the SDK goes through `request`, all retries inside it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

import wrapt
from opentelemetry.context import Context, attach, detach, get_current

from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight
from or_instrument._calls.observer import Observer
from or_instrument._calls.shield import report
from or_instrument._clients import openai_sdk
from or_instrument._clients.openai_body import Additions
from or_instrument._clients.openai_tap import tapped
from or_instrument._clients.patch import Wrappers
from or_instrument._clients.target import target_of
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.request import operation_of

_log = logging.getLogger("or_instrument")
_CLIENT_MODULE: Final = "openai._client"
_LAST_MODULE: Final = "openai._module_client"
_OLDEST, _NEWEST_MAJOR = (1, 40), 3
_METHODS: Final = ("request", "_process_response")

Opened: TypeAlias = tuple[Flight, Exchange, Context, tuple[Any, ...], Mapping[str, Any]]
"""A call about to be sent: the flight, who sees its answer, the context to be current, the arguments of `request`."""

_EXCHANGE: Final[ContextVar[Exchange | None]] = ContextVar("or_instrument.openai", default=None)
"""Of the innermost `request` that runs in this context; a task that is started in it may outlive it with a copy."""


class OpenAIPatch:
    """The wrappers of one `instrument()`; they do nothing once it is removed."""

    def __init__(self, observer: Observer, additions: Additions) -> None:
        self._observer: Observer | None = observer
        self._additions = additions
        self._wrappers = Wrappers()
        self._is_tapped = False

    def install(self) -> None:
        """Wrap the SDK's clients now if it is imported, otherwise when it is; imports nothing itself."""
        module = sys.modules.get(_CLIENT_MODULE)
        half_imported = getattr(getattr(module, "__spec__", None), "_initializing", False)
        awaited = _LAST_MODULE if half_imported else _CLIENT_MODULE
        wrapt.register_post_import_hook(self._wrap, awaited)

    def remove(self) -> None:
        """Take the wrappers off."""
        self._observer = None
        self._wrappers.take_off()

    def lost(self) -> list[str]:
        """Return the methods that another library has taken our wrappers off."""
        return self._wrappers.lost()

    def mend(self) -> None:
        """Put those wrappers on again."""
        self._wrappers.mend()

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
        opened = self._open(client, args, kwargs)
        if opened is None:
            return _unrecorded(wrapped, args, kwargs)
        flight, exchange, context, args, kwargs = opened
        tokens = attach(context), _EXCHANGE.set(exchange)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as exc:
            exchange.raised(exc)
            raise
        finally:
            detach(tokens[0])
            _EXCHANGE.reset(tokens[1])
        return self._returned(flight, exchange, result)

    async def _arequest(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        opened = self._open(client, args, kwargs)
        if opened is None:
            return await _aunrecorded(wrapped, args, kwargs)
        flight, exchange, context, args, kwargs = opened
        tokens = attach(context), _EXCHANGE.set(exchange)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as exc:
            exchange.raised(exc)
            raise
        finally:
            # A coroutine may be destroyed in another context than it ran in; the tokens are of no use there.
            if get_current() is context:
                detach(tokens[0])
            if _EXCHANGE.get() is exchange:
                _EXCHANGE.reset(tokens[1])
        return self._returned(flight, exchange, result)

    def _open(self, client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Opened | None:
        """Return the opened call, `None` where it is none of ours or where something of ours failed.

        Raises `BudgetExceeded` where the code around the call has asked for it.
        """
        observer = self._observer
        try:
            if observer is None or observer.is_idle():
                return None
            options = openai_sdk.options_of(args, kwargs)
            operation = operation_of(options.url) if options.method.lower() == "post" else None
            endpoint = None if operation is None else observer.endpoint(openai_sdk.url_of(client, options))
            if operation is None or endpoint is None:
                return None
            body, stream = openai_sdk.sent_body(options), bool(kwargs.get("stream"))
            whom = partial(target_of, client, options)
            flight, exchange, context = observer.open(endpoint, operation, body, stream=stream, whom=whom)
        except BudgetExceeded:
            raise
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a call", exc)
            return None
        if endpoint.is_named and not options.files:
            try:
                changes = self._additions.changes(client, operation, options, body, context)
                if changes is not None:
                    args, kwargs = openai_sdk.with_changes(args, kwargs, changes)
            except Exception as exc:  # noqa: BLE001 - the shield
                report("asking for usage", exc)
        return flight, exchange, context, args, kwargs

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
