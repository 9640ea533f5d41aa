"""One request on its way out of an HTTP client: whether it is recorded, and once, also where sends are nested.

A send inside another carries the same call if it sends the outer one's own request on (aiohttp under an httpx
transport), or if its response is the outer one's or in its history (requests follows redirects inside `send`): the
outermost records. Any other is a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context, attach, detach, get_current

from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight
from or_instrument._calls.observer import Asked, Observer
from or_instrument._calls.shield import report
from or_instrument._clients.sdk_call import SDK_CALL, is_sdks
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.hosts import Endpoint

_NO_BODY: Final[Mapping[str, object]] = {}
_JSON_LIMIT: Final = 32 * 1024 * 1024


class Sent(NamedTuple):
    """What is sent, as far as it can be seen without reading what is the user's to read."""

    method: str
    """In upper case."""
    url: str
    body: object = None
    """Bytes, a text or an object; `None` where there is none or it is a stream, a generator or a file."""
    agent: str = ""
    """Who says that it sends this."""

    def is_same(self, other: Sent) -> bool:
        """Return whether another is the same request; a body that cannot be seen is taken for the same."""
        if self.method != other.method or self.url != other.url:
            return False
        return self.body == other.body or type(self.body) is not type(other.body)


class Sending:
    """One send that is under way: current while it is, as a context manager; tells of its answer, or what was raised.

    Without a flight it records nothing, and only stands for its request where others are inside it.
    """

    __slots__ = ("_context", "_exchange", "_flight", "_outer", "_read", "_tokens", "inside", "is_running", "sdk_call")

    def __init__(
        self,
        read: Callable[[], Sent],
        outer: Sending | None,
        flight: Flight | None = None,
        exchange: Exchange | None = None,
        context: Context | None = None,
    ) -> None:
        self._read = read
        self._outer = outer
        self._flight = flight
        self._exchange = exchange
        self._context = context
        self.inside: list[tuple[Flight, object, Callable[[], None]]] = []
        """Calls that were made meanwhile: response or exception of each, and what ends it if it is one of its own."""
        self._tokens: tuple[Any, Any] = (None, None)
        self.is_running = True
        self.sdk_call = SDK_CALL.get()
        """The call of the OpenAI SDK inside which this is sent."""

    def __enter__(self) -> Sending:
        """Be the innermost send."""
        self._tokens = (None if self._context is None else attach(self._context)), _INNERMOST.set(self)
        return self

    def __exit__(self, _kind: type[BaseException] | None, exc: BaseException | None, _tb: TracebackType | None) -> None:
        """End; an exception in flight ends the call."""
        self.is_running = False
        attached, token = self._tokens
        # A coroutine may be destroyed in another context than it ran in; the tokens are of no use there.
        if attached is not None and get_current() is self._context:
            detach(attached)
        if _INNERMOST.get() is self:
            _INNERMOST.reset(token)
        if exc is not None:
            self._raised(exc)
            self._settle(exc)

    def carries(self, sent: Sent) -> bool:
        """Return whether a send inside this one sends its request on."""
        return self._read().is_same(sent)

    def answered(
        self,
        response: object,
        status_code: int,
        headers: Any,
        body: bytes | None,
        watch: Callable[[Flight], object],
    ) -> None:
        """See the response: `watch` has the flight see its body where that is not in memory."""
        flight, exchange, outer = self._flight, self._exchange, self._outer
        if flight is not None and exchange is not None:
            exchange.came(response, status_code, headers, body, watch, ends=outer is None)
            if outer is not None:
                at_its_end = body is not None
                outer.inside.append((flight, response, lambda: _finish(flight) if at_its_end else None))
        self._settle(response)

    def _raised(self, exc: BaseException) -> None:
        exchange, outer, flight = self._exchange, self._outer, self._flight
        if exchange is None or flight is None:
            return
        if outer is None:
            exchange.raised(exc, with_response=False)
        else:
            outer.inside.append((flight, exc, lambda: exchange.raised(exc, with_response=False)))

    def _settle(self, end: object) -> None:
        """End the calls inside this one, but for those that turn out to be its own."""
        history = getattr(end, "history", ())
        for flight, theirs, finish in self.inside:
            if theirs is end or any(theirs is one for one in history):
                flight.drop()
            else:
                finish()
        self.inside.clear()


class Sends:
    """What the seams of the HTTP clients share: each asks here about a request to a named host."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def begin(
        self,
        client: str,
        http: object,
        endpoint: Endpoint,
        read: Callable[[], Sent],
        whom: Callable[[], Any],
    ) -> Sending | None:
        """Return the send that begins, `None` where nothing is to be seen of it.

        `client` names the seam, `http` is the client's own object. Raises `BudgetExceeded` where the code around the
        call has asked for it.
        """
        try:
            return self._begin(client, http, endpoint, read, whom)
        except BudgetExceeded:
            raise
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a request", exc)
            return None

    def _begin(
        self, client: str, http: object, endpoint: Endpoint, read: Callable[[], Sent], whom: Callable[[], Any]
    ) -> Sending | None:
        outer, sdk_call = _INNERMOST.get(), SDK_CALL.get()
        outer = outer if outer is not None and outer.is_running else None
        # Inside a send of the SDK's, a hook may send by the same client, or have the SDK make a call of its own.
        may_be_sdks = outer is None or outer.sdk_call is not sdk_call
        if may_be_sdks and sdk_call is not None and sdk_call.is_sent_by(http):
            return Sending(read, None)
        sent = read()
        if outer is not None and outer.carries(sent):
            return None
        if may_be_sdks and is_sdks(sent.agent):
            return Sending(read, None)
        if self._observer.is_idle():
            return None
        seen = self._observer.see(endpoint, sent.method, sent.url, partial(_asked, sent.body), client=client, whom=whom)
        return None if seen is None else Sending(read, outer, *seen)


_INNERMOST: Final[ContextVar[Sending | None]] = ContextVar("or_instrument.sending", default=None)
"""A task that is started inside may outlive it with a copy of the context."""


def _finish(flight: Flight) -> None:
    flight.finish("complete", at_last_read=True)


def _asked(body: object) -> Asked:
    sent = _object(body)
    return sent, sent.get("stream") is True


def _object(body: object) -> Mapping[str, object]:
    """Return the JSON object that is sent; what is no JSON, or of an extraordinary size, tells nothing."""
    if isinstance(body, Mapping):
        return body
    if not isinstance(body, (bytes, str)) or len(body) > _JSON_LIMIT:
        return _NO_BODY
    start = body[:64].lstrip()[:1]
    if start not in (b"{", "{"):
        return _NO_BODY
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return _NO_BODY
    return parsed if isinstance(parsed, dict) else _NO_BODY
