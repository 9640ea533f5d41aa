"""What is under way in this context: a call of the OpenAI SDK, or a send of an HTTP client inside one or by itself."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, TypeVar

from opentelemetry.context import Context, attach, detach

from or_instrument._calls.exchange import Exchange

T = TypeVar("T", bound="UnderWay")
_AGENT: Final = "OpenAI/Python "


class UnderWay:
    """A call until its client has answered: the innermost one while it is, as a context manager."""

    __slots__ = ("_tokens", "context", "exchange", "is_running")

    def __init__(self, exchange: Exchange | None = None, context: Context | None = None) -> None:
        """Have `exchange` see what is raised, and `context` be current; without them nothing is recorded."""
        self.exchange = exchange
        self.is_running = True
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

    def raised(self, exc: BaseException) -> None:
        """See what was raised in place of an answer."""
        if self.exchange is not None:
            self.exchange.raised(exc)


class SDKCall(UnderWay):
    """One `request` of the SDK, all its retries inside: what it sends is recorded by the SDK's seam or not at all."""

    __slots__ = ("_http",)

    def __init__(self, http: object, exchange: Exchange | None = None, context: Context | None = None) -> None:
        """Know the HTTP client through which it sends."""
        super().__init__(exchange, context)
        self._http = http

    def is_sent_by(self, http: object) -> bool:
        """Return whether what this HTTP client sends now is the SDK's own request."""
        return self.is_running and http is self._http


INNERMOST: Final[ContextVar[UnderWay | None]] = ContextVar("or_instrument.under_way", default=None)
"""A task that is started inside may outlive it with a copy of the context."""


def is_sdks(agent: str) -> bool:
    """Return whether a request says that the SDK sends it.

    Where another patch has taken ours off the SDK, or its version is none of ours, nothing else tells.
    """
    return _AGENT in agent
