"""What is under way in this context: a call of the OpenAI SDK, or a send of an HTTP client inside one or by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

from opentelemetry.context import Context, attach, detach

from or_instrument._calls.delivery import Held
from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight
from or_instrument._calls.shield import report

T = TypeVar("T", bound="UnderWay")
_AGENT: Final = "OpenAI/Python "


class Sent(NamedTuple):
    """What is sent, as far as it can be seen without reading what is the user's to read."""

    method: str
    """In upper case."""
    url: str
    body: object = None
    """Bytes, a text or an object; `None` where there is none or it is a stream, a generator or a file."""
    agent: str = ""
    """Who says that it sends this."""
    session: object = None
    """Which session a header says that this is of."""

    def is_same(self, other: Sent) -> bool:
        """Return whether another is the same request; a body that cannot be seen is taken for the same.

        Libraries escape the same URL in different ways, and have the same body as an object, a text or bytes.
        """
        if self.method != other.method or unquote(self.url) != unquote(other.url):
            return False
        if self.body is None or other.body is None or self.body == other.body:
            return True
        return _plain(self.body) == _plain(other.body)


def _plain(body: object) -> object:
    if not isinstance(body, (bytes, str)):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")


def _answers_of(end: object) -> tuple[object, ...]:
    """Return the response or exception itself, and the responses before it."""
    try:
        # Too many redirects are an exception, which has the last response.
        last = getattr(end, "response", None) if isinstance(end, BaseException) else end
        history = getattr(last, "history", None)
        return (end, last, *history) if isinstance(history, (list, tuple)) else (end, last)
    except Exception as exc:  # noqa: BLE001 - the shield
        report("looking at the end of a send", exc)
        return (end,)


class UnderWay:
    """A call until its client has answered: the innermost one while it is, as a context manager."""

    __slots__ = ("_tokens", "context", "exchange", "inside", "is_running", "read")

    def __init__(self, exchange: Exchange | None = None, context: Context | None = None) -> None:
        """Have `exchange` see what is raised, and `context` be current; without them nothing is recorded."""
        self.exchange = exchange
        self.is_running = True
        self.read: Callable[[], Sent] | None = None
        """Tells what is being sent, while something is."""
        self.inside: list[tuple[Flight, Held, object]] = []
        """Calls that were made meanwhile: what keeps each back, and its response or exception."""
        self.context = context
        self._tokens: tuple[Any, Any] = (None, None)

    def __enter__(self: T) -> T:
        """Be the innermost."""
        self._tokens = (None if self.context is None else attach(self.context)), INNERMOST.set(self)
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
        self.exchange = self.context = self.read = None

    @property
    def is_sending(self) -> bool:
        """Whether something is being sent, so that other sends may be part of it."""
        return self.is_running and self.read is not None

    def raised(self, exc: BaseException) -> None:
        """See what was raised in place of an answer."""
        if self.exchange is not None:
            self.exchange.raised(exc)

    def carries(self, sent: Sent) -> bool:
        """Return whether a send inside this one sends its request on."""
        return self.read is not None and self.read().is_same(sent)

    def settle(self, end: object) -> None:
        """Let go on the calls inside this one, but for those that turn out to be its own."""
        inside, self.inside = self.inside, []
        own = _answers_of(end) if inside else ()
        for flight, held, theirs in inside:
            if any(theirs is one for one in own):
                flight.drop()
                held.drop()
            else:
                held.release()


class SDKCall(UnderWay):
    """One `request` of the SDK, all its retries inside: what it sends is recorded by the SDK's seam or not at all."""

    __slots__ = ("_http",)

    def __init__(self, http: object, exchange: Exchange | None = None, context: Context | None = None) -> None:
        """Know the HTTP client through which it sends."""
        super().__init__(exchange, context)
        self._http = http

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """End; nobody asks for its exchange any more."""
        super().__exit__(kind, exc, tb)
        self.let_go()

    def is_sent_by(self, http: object) -> bool:
        """Return whether what this HTTP client sends next is the SDK's own request, not that of a hook inside one."""
        return http is self._http and self.is_running and self.read is None

    def sent(self, end: object) -> None:
        """See the response to what was sent, or what was raised in its place."""
        self.read = None
        if self.inside:
            self.settle(end)


INNERMOST: Final[ContextVar[UnderWay | None]] = ContextVar("or_instrument.under_way", default=None)
"""A task that is started inside may outlive it with a copy of the context."""


def is_sdks(agent: str) -> bool:
    """Return whether a request says that the SDK sends it.

    Where another patch has taken ours off the SDK, or its version is none of ours, nothing else tells.
    """
    return _AGENT in agent
