"""What is under way in this context: a call of the OpenAI SDK, or a send of an HTTP client inside one or by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote
from weakref import WeakValueDictionary

from opentelemetry.context import attach, detach

from or_instrument._calls.exchange import Exchange
from or_instrument._clients.inside import Inside, answers_of, response_of
from or_instrument._clients.sent import Sent, plain, says_same

T = TypeVar("T", bound="UnderWay")
SDKSends: TypeAlias = "Callable[[], tuple[str, Mapping[str, object]]]"
"""Tells the end of the URL that the SDK asks, and the JSON object that it sends."""


class UnderWay:
    """A call until its client has answered: the innermost one while it is, as a context manager."""

    __slots__ = ("_tokens", "exchange", "inside", "is_running", "read", "task")

    def __init__(self, exchange: Exchange | None = None) -> None:
        """Have `exchange` see what is raised, and its span be current; without one nothing is recorded."""
        self.exchange = exchange
        self.is_running = True
        self.read: Callable[[], Sent] | None = None
        """Tells what is being sent, while something is."""
        self.inside: list[Inside] = []
        """Calls that were made meanwhile."""
        self.task: object = None
        """The task of asyncio that this is of, where it is async."""
        self._tokens: tuple[Any, Any] = (None, None)

    def __enter__(self: T) -> T:
        """Be the innermost."""
        context = None if self.exchange is None else self.exchange.flight.context
        self._tokens = None if context is None else attach(context), INNERMOST.set(self)
        return self

    def __exit__(self, _kind: type[BaseException] | None, exc: BaseException | None, _tb: TracebackType | None) -> None:
        """End; an exception in flight is that of the call."""
        self.is_running = False
        attached, token = self._tokens
        try:
            INNERMOST.reset(token)
        except ValueError:
            pass  # a coroutine that is destroyed in another context than it ran in: the tokens are of no use there
        else:
            if attached is not None:
                detach(attached)
        if exc is not None:
            self.raised(exc)
            self.let_go()

    def let_go(self) -> None:
        """Hold nothing any more: a timer that was started meanwhile keeps a copy of the context, and so this."""
        self.exchange = self.read = None

    @property
    def is_sending(self) -> bool:
        """Whether something is being sent, so that other sends may be part of it."""
        return self.is_running and self.read is not None

    def is_strangers(self) -> bool:
        """Return whether this is another task's, and is seen here because both share one context.

        A task that is started inside has a copy, which may be part of this: in a copy its token is of no use.
        """
        if self.task is None or not self.is_running or self.task is current_task():
            return False
        attached, token = self._tokens
        try:
            INNERMOST.reset(token)
        except (ValueError, RuntimeError):
            return False
        self._tokens = attached, INNERMOST.set(self)
        return True

    def sdk_call(self, _http: object) -> SDKCall | None:
        """Return the call of the SDK that this is, if what this HTTP client sends next is the SDK's own request."""
        return None

    def raised(self, exc: BaseException) -> None:
        """See what was raised in place of an answer."""
        raise NotImplementedError

    def carries(self, sent: Sent) -> bool:
        """Return whether a send inside this one sends its request on."""
        read = self.read  # it may be in another thread that this ends
        return read is not None and read().is_same(sent)

    def settle(self, end: object, read: Callable[[], Sent] | None = None) -> None:
        """Let go on the calls inside this one, but for those that turn out to be its own; `read` tells what it sent."""
        inside, self.inside = self.inside, []
        own = answers_of(end, read or self.read) if inside else ()
        for it in inside:
            if it.is_own(own):
                it.flight.drop()
                it.held.drop()
            else:
                it.held.release()


class SDKCall(UnderWay):
    """One `request` of the SDK, all its retries inside: what it sends is recorded by the SDK's seam or not at all."""

    __slots__ = ("__weakref__", "_http", "_last_read", "last", "sends")

    def __init__(self, http: object, exchange: Exchange | None = None, sends: SDKSends | None = None) -> None:
        """Know the HTTP client through which it sends, and what."""
        super().__init__(exchange)
        self.sends = sends
        self._http = http
        self._last_read: Callable[[], Sent] | None = None
        self.last: object = None
        """The last response to what was sent, or what was raised in its place, where its client's `send` is ours."""
        if sends is not None:
            _SDK_CALLS[id(self)] = self

    @property
    def is_sending(self) -> bool:
        """Whether other sends may be part of it: always, since a client may have a `send` of its own, and by others."""
        return self.is_running

    def raised(self, exc: BaseException) -> None:
        """See what was raised; a hook may have raised the answer to a request of its own."""
        if self.exchange is not None:
            is_others = getattr(exc, "response", None) is not None and response_of(exc, self._last_read) is None
            self.exchange.raised(exc, by_hook=is_others)
        if self.inside:
            self.settle(exc)

    def let_go(self) -> None:
        """Hold nothing any more."""
        super().let_go()
        self._last_read = self.last = self.sends = None

    def sdk_call(self, http: object) -> SDKCall | None:
        """Return this, unless the client that sends is another or sends something already: that is a hook's."""
        return self if http is self._http and self.is_running and self.read is None else None

    def sent(self, end: object) -> None:
        """See the response to what was sent, or what was raised in its place."""
        self._last_read, self.read, self.last = self.read, None, end
        if self.inside:
            self.settle(end, self._last_read)


INNERMOST: Final[ContextVar[UnderWay | None]] = ContextVar("or_instrument.under_way", default=None)
"""A task that is started inside may outlive it with a copy of the context."""


_SDK_CALLS: Final[WeakValueDictionary[int, SDKCall]] = WeakValueDictionary()
"""Those that are under way, in whatever context, by their ids; one that has ended says no more what it sends.

Held weakly: a task that is dropped takes its call with it.
"""


def is_of_sdk_call(sent: Sent) -> bool:
    """Return whether a request of the SDK's is one of a call that is under way, though not in this context.

    A client of the user's, or a transport, may send in a thread of its own, such as for a timeout over all. What a
    proxy hands on says that it is the SDK's too: so only the same body tells, and one that cannot be seen does not.
    """
    url = _path(sent.url)
    under_way = [call.sends for ref in _SDK_CALLS.valuerefs() if (call := ref()) is not None]
    sent_by_sdk = [sends() for sends in under_way if sends is not None]
    given = [body for path, body in sent_by_sdk if url.endswith(_path(path))]
    if not given:
        return False
    body = plain(sent.body)
    return any(says_same(one, body) for one in given)


def _path(url: str) -> str:
    return unquote(url.partition("?")[0])


def current_task() -> object:
    """Return the task of asyncio that runs here, `None` where none does."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
