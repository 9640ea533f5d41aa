"""One request on its way out of an HTTP client: whether it is recorded, and once, also where sends are nested.

A send inside another carries the same call if it sends the outer one's own request on (aiohttp under an httpx
transport), or if its response is the outer one's or in its history (requests follows redirects inside `send`): the
outermost records. Any other is a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight
from or_instrument._calls.observer import Asked, Observer
from or_instrument._calls.response import Answer
from or_instrument._calls.shield import report
from or_instrument._clients.inside import Inside, response_of
from or_instrument._clients.sent import Sent
from or_instrument._clients.under_way import INNERMOST, UnderWay
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.hosts import Endpoint
from or_instrument._openrouter.request import with_session

_NO_BODY: Final[Mapping[str, object]] = {}
_JSON_LIMIT: Final = 32 * 1024 * 1024


class Sending(UnderWay):
    """One send that is under way; tells of its answer, or what was raised.

    Without an exchange it records nothing, and only stands for its request where others are inside it.
    """

    __slots__ = ("_held", "_outer", "is_of_auth")

    def __init__(
        self,
        read: Callable[[], Sent],
        outer: UnderWay | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(exchange)
        self.read = read
        self.is_of_auth = False
        """Whether the auth of the send around this one makes it; its response is then in the history of the other's."""
        self._outer = outer
        self._held = None if outer is None or exchange is None else exchange.flight.hold()

    def answered(self, response: Any, apart: Callable[[Any], Answer]) -> None:
        """See the response, and what takes it apart."""
        self.settle(response)
        if self.exchange is not None:
            self.exchange.answered(response, apart)
            self._tell_outer(self.exchange.flight, response)

    def raised(self, exc: BaseException) -> None:
        """See what was raised: another exception is not looked at for a response, which may not be read yet."""
        self.settle(exc)
        if self.exchange is not None:
            self.exchange.raised(exc, by_hook=True, response=response_of(exc, self.read))
            self._tell_outer(self.exchange.flight, exc)

    def let_go(self) -> None:
        """Hold nothing any more."""
        super().let_go()
        self._outer = self._held = None

    def _tell_outer(self, flight: Flight, end: object) -> None:
        """Leave it to the send around this one whether this is a call of its own, if that has not ended meanwhile."""
        outer, held, read = self._outer, self._held, self.read
        if outer is None or held is None or read is None:
            return
        if outer.is_sending:
            outer.inside.append(Inside(flight, held, end, read, self.is_of_auth))
        else:
            held.release()


def begin(
    observer: Observer,
    client: str,
    endpoint: Endpoint,
    read: Callable[[], Sent],
    whom: Callable[[], Any],
    *,
    is_left_to_sdk: Callable[[Sent], bool],
) -> Sending | None:
    """Return the send that begins, `None` where nothing is to be seen of it; `client` names the seam that sees it.

    `is_left_to_sdk` says whether a request is the OpenAI SDK's, and recorded by its own seam or not at all.

    Raises `BudgetExceeded` where the code around the call has asked for it.
    """
    try:
        around, sent = INNERMOST.get(), read()
        outer = around if around is not None and around.is_sending and not around.is_strangers() else None
        if outer is not None and outer.carries(sent):
            outer.carried(whom)
            return None
        if outer is None and is_left_to_sdk(sent):
            return Sending(read)
        exchange = observer.see(endpoint, sent.method, sent.url, partial(_asked, sent), client=client, whom=whom)
        return None if exchange is None else Sending(read, outer, exchange)
    except BudgetExceeded:
        raise
    except Exception as exc:  # noqa: BLE001 - the shield
        report("describing a request", exc)
        return None


def _asked(sent: Sent) -> Asked:
    body = _object(sent.body)
    return with_session(body, sent.session), body.get("stream") is True


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
