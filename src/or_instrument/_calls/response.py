"""Watches the HTTP response under a stream or a raw reply: reads pass through untouched, closing ends the call.

Proxies read the raw bytes of a stream, so these pass a keeper of what the usage needs. The hooks are attributes of the
one response, removed when the call has ended, so that nothing of ours stays on an object of the user's.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any

from or_instrument._calls.flight import Flight
from or_instrument._calls.tap import broken
from or_instrument._clients.openai_sdk import is_closed_by_reader, is_running, methods_in_use
from or_instrument._openrouter.events import EventKeeper, JSONKeeper


class Wire:
    """The hooks on one response: its `iter_bytes` and `close`, or their async twins."""

    __slots__ = ("_flight", "_hear", "_hooks", "_keeper", "_originals", "_readers", "_response", "_theirs")

    def __init__(self, response: Any, flight: Flight) -> None:
        self._response = response
        self._flight = flight
        self._keeper: EventKeeper | JSONKeeper | None = None
        self._hear: Callable[[bytes], None] | None = None
        self._readers: tuple[object, ...] = ()
        self._hooks = methods_in_use(response)
        self._originals: dict[str, Callable[..., Any]] = {}
        held = vars(response)
        self._theirs = {name: held[name] for name in self._hooks if name in held}
        for name in self._hooks:
            self._originals[name] = getattr(response, name)
            held[name] = getattr(self, name)
        flight.on_end = self.remove

    def keep(self, keeper: EventKeeper | JSONKeeper) -> None:
        """Keep what the usage needs of a body that is read raw."""
        self._keeper = keeper
        self._flight.chunks = keeper.chunks

    def leave_to(self, readers: tuple[object, ...], hear: Callable[[bytes], None] | None) -> None:
        """Leave the end to the generators that read a stream: a close of their own is no wish of the user's.

        They may want to `hear` the bytes before they get chunks of them.
        """
        self._keeper = None
        self._readers = readers
        self._hear = hear

    def remove(self) -> None:
        """Take the hooks off the response; what the user has put there before or since stays."""
        self._readers, self._hear = (), None
        held = vars(self._response)
        for name in self._hooks:
            if held.get(name) == getattr(self, name):
                del held[name]
                if name in self._theirs:
                    held[name] = self._theirs[name]

    def iter_bytes(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Stand in for the response's own."""
        reader = self._read(self._originals["iter_bytes"](*args, **kwargs))
        if self._keeper is not None:
            self._readers = (reader,)
        return reader

    def aiter_bytes(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        """Stand in for the response's own."""
        reader = self._aread(self._originals["aiter_bytes"](*args, **kwargs))
        if self._keeper is not None:
            self._readers = (reader,)
        return reader

    def close(self) -> None:
        """Stand in for the response's own."""
        self._closing()
        try:
            self._originals["close"]()
        finally:
            self._closed()

    async def aclose(self) -> None:
        """Stand in for the response's own."""
        self._closing()
        try:
            await self._originals["aclose"]()
        finally:
            self._closed()

    def _read(self, theirs: Iterator[bytes]) -> Iterator[bytes]:
        flight, hear = self._flight, self._listener()
        try:
            for data in theirs:
                flight.last_read_at = perf_counter()
                if hear is not None:
                    hear(data)
                yield data
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._broken(exc)
            raise
        self._ended()

    async def _aread(self, theirs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        flight, hear = self._flight, self._listener()
        try:
            async for data in theirs:
                flight.last_read_at = perf_counter()
                if hear is not None:
                    hear(data)
                yield data
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._broken(exc)
            raise
        self._ended()

    def _listener(self) -> Callable[[bytes], None] | None:
        """Return what is to hear the bytes, if anything is."""
        flight, keeper = self._flight, self._keeper
        if keeper is None:
            return self._hear

        def keep(data: bytes) -> None:
            keeper.feed(data)
            if flight.first_chunk_at is None and flight.request.stream and keeper.has_data:
                flight.first_chunk_at = flight.last_read_at

        return keep

    def _is_read(self) -> bool:
        return any(map(is_running, self._readers))

    def _ended(self) -> None:
        # A body too large to keep may yet be parsed by the SDK, which then ends the call.
        if self._keeper is not None and self._keeper.is_whole:
            self._flight.finish("complete")

    def _broken(self, exc: BaseException) -> None:
        if self._keeper is not None:
            broken(self._flight, exc)

    def _closing(self) -> None:
        # A close from elsewhere makes the read fail that waits for the next bytes, or that is just about to: by the
        # user's wish. The reader's own close after an error comes with that error in flight.
        if sys.exc_info()[1] is None or not self._is_read():
            self._flight.closing = True

    def _closed(self) -> None:
        # Asked anew: a reader that was at it when the close began may have got its bytes and stopped.
        if self._is_read():
            return
        exc = sys.exc_info()[1]
        if isinstance(exc, GeneratorExit):
            # A generator that is destroyed closes the response, the user's own or the HTTP library's: either way this
            # may be a finaliser.
            self._flight.put_off("abandoned" if is_closed_by_reader() else "closed")
        else:
            # Read by `iter_raw`, past us: the HTTP library closes a response that is at its end.
            self._flight.finish("complete" if exc is None and is_closed_by_reader() else "closed")
