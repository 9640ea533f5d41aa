"""One request on its way out of an HTTP client, which is recorded once, also where sends are nested.

A send inside another carries the same call if it sends the outer one's own request on (aiohttp under an httpx
transport), or if its response is the outer one's or in its history (requests follows redirects inside `send`): the
outermost records. Any other is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight
from or_instrument._calls.response import Answer
from or_instrument._clients.inside import Inside, response_of
from or_instrument._clients.sent import Sent
from or_instrument._clients.under_way import UnderWay


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
        if self.is_of_auth and isinstance(exc, GeneratorExit):
            exc = exc.__context__ or exc  # the client closes the flow while it handles what was raised
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
