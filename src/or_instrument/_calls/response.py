"""Watches one response in the manner of httpx: its bytes pass through untouched, and its end is the end of the call.

The hooks are attributes of the one response, removed when the call has ended, so that nothing of ours stays on an
object of the user's. Bytes count once: `iter_bytes` of httpx reads by its own `iter_raw`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from types import FrameType, MethodType
from typing import Any, Final

from or_instrument._calls.ending import (
    broken,
    end_closed,
    is_cancellation,
    is_closed_by_reader,
    is_read_by_stream,
    is_running,
)
from or_instrument._calls.flight import Flight
from or_instrument._calls.shield import report
from or_instrument._openrouter.failure import failure_of_exception

_MISUSES: Final = frozenset(("StreamConsumed", "StreamClosed"))
_SYNC: Final = ("iter_bytes", "iter_raw", "close")
_ASYNC: Final = ("aiter_bytes", "aiter_raw", "aclose")


def body_of(response: Any) -> bytes | None:
    """Return the body where it is in memory already, without consuming anything."""
    try:
        return response.content  # type: ignore[no-any-return]
    except RuntimeError:  # httpx.ResponseNotRead
        return None


class ResponseHooks:
    """The hooks on one response: its `iter_bytes`, `iter_raw` and `close`, or their async twins."""

    __slots__ = ("_flight", "_is_decoding", "_names", "_reader", "_response", "_theirs")

    def __init__(self, response: Any, flight: Flight) -> None:
        self._response = response
        self._flight = flight
        self._reader: object = None
        self._is_decoding = False
        held, stream = vars(response), response.stream
        self._names = _ASYNC if hasattr(stream, "__aiter__") else _SYNC
        self._theirs = {name: held[name] for name in self._names if name in held}
        for name in self._names:
            held[name] = getattr(self, name)
        flight.on_end = self.remove

    def remove(self) -> None:
        """Take the hooks off the response; what the user has put there before or since stays."""
        self._reader = None
        held = vars(self._response)
        for name in self._names:
            if held.get(name) == getattr(self, name):
                del held[name]
                if name in self._theirs:
                    held[name] = self._theirs[name]

    def iter_bytes(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Stand in for the response's own."""
        self._reader = reader = self._read(self._original("iter_bytes")(*args, **kwargs), is_decoded=True)
        return reader

    def iter_raw(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Stand in for the response's own."""
        theirs: Iterator[bytes] = self._original("iter_raw")(*args, **kwargs)
        if self._is_decoding:
            return theirs
        self._reader = reader = self._read(theirs, is_decoded=False)
        return reader

    def aiter_bytes(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        """Stand in for the response's own."""
        self._reader = reader = self._aread(self._original("aiter_bytes")(*args, **kwargs), is_decoded=True)
        return reader

    def aiter_raw(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        """Stand in for the response's own."""
        theirs: AsyncIterator[bytes] = self._original("aiter_raw")(*args, **kwargs)
        if self._is_decoding:
            return theirs
        self._reader = reader = self._aread(theirs, is_decoded=False)
        return reader

    def close(self) -> None:
        """Stand in for the response's own."""
        by_reader = self._closing(sys._getframe(1))  # noqa: SLF001 - the only way to see who closes
        try:
            self._original("close")()
        finally:
            self._closed(by_reader=by_reader)

    async def aclose(self) -> None:
        """Stand in for the response's own."""
        by_reader = self._closing(sys._getframe(1))  # noqa: SLF001 - likewise
        try:
            await self._original("aclose")()
        finally:
            self._closed(by_reader=by_reader)

    def _original(self, name: str) -> Callable[..., Any]:
        theirs: Callable[..., Any] | None = self._theirs.get(name)
        return theirs or MethodType(getattr(type(self._response), name), self._response)

    def _read(self, theirs: Iterator[bytes], *, is_decoded: bool) -> Iterator[bytes]:
        flight, see = self._flight, self._begin(is_decoded=is_decoded)
        try:
            for data in theirs:
                see(data)
                yield data
                if flight.first_chunk_at is not None:
                    break
            feed = flight.reader.feed_events
            for data in theirs:
                flight.last_read_at = perf_counter()
                try:
                    feed(data)
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("reading a stream", exc)
                yield data
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._broken(exc, sys._getframe(1))  # noqa: SLF001 - the only way to see who reads
            raise
        flight.finish("complete")

    async def _aread(self, theirs: AsyncIterator[bytes], *, is_decoded: bool) -> AsyncIterator[bytes]:
        flight, see = self._flight, self._begin(is_decoded=is_decoded)
        try:
            async for data in theirs:
                see(data)
                yield data
                if flight.first_chunk_at is not None:
                    break
            feed = flight.reader.feed_events
            async for data in theirs:
                flight.last_read_at = perf_counter()
                try:
                    feed(data)
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("reading a stream", exc)
                yield data
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._broken(exc, sys._getframe(1))  # noqa: SLF001 - the only way to see who reads
            raise
        flight.finish("complete")

    def _begin(self, *, is_decoded: bool) -> Callable[[bytes], None]:
        """Return what sees the bytes up to the first event; those of `iter_raw` can be read unless they are encoded."""
        self._is_decoding = self._is_decoding or is_decoded
        if is_decoded or not self._response.headers.get("content-encoding"):
            return self._flight.read
        return lambda _data: self._flight.read(b"")

    def _broken(self, exc: BaseException, frame: FrameType | None) -> None:
        # To read twice is refused, which is not the end of what is being read.
        if type(exc).__name__ in _MISUSES and self._flight.last_read_at is not None:
            return
        if self._flight.closing or is_cancellation(exc) or not is_read_by_stream(frame):
            broken(self._flight, exc)
        else:
            # The SDK makes an exception of its own of it, and closes the response (or is tapped) with that one.
            self._flight.cut = failure_of_exception(exc)

    def _closing(self, frame: FrameType) -> bool:
        by_reader = is_closed_by_reader(self._response, frame)
        # A close from elsewhere makes the read fail that waits for the next bytes, or is about to: by the user's wish.
        self._flight.closing = self._flight.closing or not by_reader
        return by_reader

    def _closed(self, *, by_reader: bool) -> None:
        # One that is at its bytes sees the end itself; asked when the close is over, since by then it may have stopped.
        if not is_running(self._reader):
            end_closed(self._flight, by_reader=by_reader)
