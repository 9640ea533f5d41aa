"""Watches one response in the manner of httpx: its bytes pass through untouched, and its end is the end of the call.

The hooks are attributes of the one response, removed when the call has ended, so that nothing of ours stays on an
object of the user's. Bytes count once: `iter_bytes` of httpx reads by its own `iter_raw`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from types import AsyncGeneratorType, FrameType, FunctionType, GeneratorType, MethodType
from typing import Any, Final, TypeAlias, TypeVar

from or_instrument._calls.ending import (
    broken,
    end_closed,
    is_cancellation,
    is_read_by_stream,
    is_running,
    passing,
    reader_closing,
)
from or_instrument._calls.flight import Flight
from or_instrument._calls.shield import report
from or_instrument._calls.stand_ins import put_on, take_off
from or_instrument._openrouter.failure import failure_of_exception

T = TypeVar("T")
Answer: TypeAlias = "tuple[int, Any, bytes | None, Callable[[Any, Flight], object]]"
"""Status, headers, and body of a response; what is put on it where its body, which is `None` then, is still to come."""
READABLE: Final = (None, "", "identity")
"""Content encodings whose bytes are those of the body."""
_MISUSES: Final = frozenset(("StreamConsumed", "StreamClosed"))
_NOTHING: Final[dict[str, Any]] = {}
_COPIED: Final = "__getstate__"
_SYNC: Final = ("iter_bytes", "iter_raw", "close", _COPIED)
_ASYNC: Final = ("aiter_bytes", "aiter_raw", "aclose", _COPIED)
_BOTH: Final = (*_SYNC, *_ASYNC)


def body_of(response: Any) -> bytes | None:
    """Return the body where it is in memory already, without consuming anything."""
    try:
        return response.content  # type: ignore[no-any-return]
    except RuntimeError:  # httpx.ResponseNotRead
        return None


def answer_of(response: Any) -> Answer:
    """Take a response in the manner of httpx apart."""
    return response.status_code, response.headers, body_of(response), ResponseHooks


class ResponseHooks:
    """The hooks on one response: its `iter_bytes`, `iter_raw` and `close`, or their async twins."""

    __slots__ = ("_flight", "_is_decoding", "_names", "_originals", "_reader", "_response", "_theirs")

    def __init__(self, response: Any, flight: Flight) -> None:
        self._response = response
        self._flight = flight
        self._reader: weakref.ref[Any] | None = None
        self._is_decoding = False
        stream = response.stream
        is_async = hasattr(stream, "__aiter__")
        # One that is both is read by whichever client has it.
        self._names = (_BOTH if hasattr(stream, "__iter__") else _ASYNC) if is_async else _SYNC
        self._originals = tuple([_unbound(getattr(response, name), response) for name in self._names])
        self._theirs = put_on(response, self, self._names) or _NOTHING
        flight.on_end = self.remove

    def remove(self) -> None:
        """Take the hooks off the response; what the user has put there before or since stays."""
        self._reader = None
        take_off(self._response, self, self._names, self._theirs)

    def iter_bytes(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return self._started(self._read(self._original("iter_bytes")(*args, **kwargs), is_decoded=True))

    def iter_raw(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        theirs: Iterator[bytes] = self._original("iter_raw")(*args, **kwargs)
        return theirs if self._is_decoding else self._started(self._read(theirs, is_decoded=False))

    def aiter_bytes(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        return self._started(self._aread(self._original("aiter_bytes")(*args, **kwargs), is_decoded=True))

    def aiter_raw(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        theirs: AsyncIterator[bytes] = self._original("aiter_raw")(*args, **kwargs)
        return theirs if self._is_decoding else self._started(self._aread(theirs, is_decoded=False))

    def close(self) -> None:
        reader = self._closing(sys._getframe(1))  # noqa: SLF001 - the only way to see who closes
        is_dropped = _is_dropped(reader)
        try:
            self._original("close")()
        finally:
            if is_dropped:
                # Not before: what drops it is often a `break`, and the end of a `with` comes next.
                self._flight.put_off("abandoned")
            self._closed(reader)

    async def aclose(self) -> None:
        reader = self._closing(sys._getframe(1))  # noqa: SLF001 - likewise
        if _is_dropped(reader):
            # Said before the close, which may wait: the event loop need not come back to it.
            self._flight.put_off("abandoned")
        try:
            await self._original("aclose")()
        finally:
            self._closed(reader)

    def __getstate__(self) -> Any:
        """Stand in for the response's own: a copy or a pickle of it is not watched."""
        return self._without_hooks(self._original(_COPIED)())

    def _without_hooks(self, state: Any) -> Any:
        if isinstance(state, tuple):
            return tuple(map(self._without_hooks, state))  # of a class of the user's
        if not isinstance(state, dict):
            return state
        return {name: value for name, value in state.items() if name not in self._names} | {
            name: value for name, value in self._theirs.items() if name in state
        }

    def _original(self, name: str) -> Any:
        return self._originals[self._names.index(name)].__get__(self._response)

    def _started(self, reader: T) -> T:
        # Held weakly: one that is let go of is destroyed at once, and closes the response as it would without us.
        self._reader = weakref.ref(reader)
        return reader

    def _read(self, theirs: Iterator[bytes], *, is_decoded: bool) -> Iterator[bytes]:
        flight, see, theirs = self._flight, self._begin(is_decoded=is_decoded), iter(theirs)
        try:
            for data in theirs:
                see(data)
                yield data
                if flight.first_chunk_at is not None:
                    break
            see = flight.reader.feed_events
            for data in theirs:
                flight.last_read_at = perf_counter()
                try:
                    see(data)
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("reading a stream", exc)
                yield data
        except GeneratorExit:
            # Closed here, as it would be without us, so that who closes this is told what is wrong.
            if isinstance(theirs, GeneratorType):
                theirs.close()
            raise
        except BaseException as exc:
            self._broken(exc, sys._getframe(1))  # noqa: SLF001 - the only way to see who reads
            raise
        flight.finish("complete")

    async def _aread(self, theirs: AsyncIterator[bytes], *, is_decoded: bool) -> AsyncIterator[bytes]:
        flight, see, theirs = self._flight, self._begin(is_decoded=is_decoded), aiter(theirs)
        try:
            async for data in theirs:
                see(data)
                yield data
                if flight.first_chunk_at is not None:
                    break
            see = flight.reader.feed_events
            async for data in theirs:
                flight.last_read_at = perf_counter()
                try:
                    see(data)
                except Exception as exc:  # noqa: BLE001 - the shield
                    report("reading a stream", exc)
                yield data
        except GeneratorExit:
            # Closed when this is, as it would be without us; where this is let go of, which a dead reference tells,
            # so is that, and the event loop closes both: trio logs who closes one that it is closing.
            if isinstance(theirs, AsyncGeneratorType) and self._reader is not None and self._reader() is not None:
                await theirs.aclose()
            raise
        except BaseException as exc:
            self._broken(exc, sys._getframe(1))  # noqa: SLF001 - the only way to see who reads
            raise
        flight.finish("complete")

    def _begin(self, *, is_decoded: bool) -> Callable[[bytes], None]:
        """Return what sees the bytes up to the first event; those of `iter_raw` can be read unless they are encoded."""
        self._is_decoding = self._is_decoding or is_decoded
        if is_decoded or self._response.headers.get("content-encoding") in READABLE:
            return self._flight.read
        return lambda _data: self._flight.read(b"")

    def _broken(self, exc: BaseException, frame: FrameType | None) -> None:
        # To read twice is refused, which is not the end of what is being read.
        if type(exc).__name__ in _MISUSES and self._flight.last_read_at is not None:
            return
        try:
            if self._flight.closing or is_cancellation(exc) or not is_read_by_stream(frame):
                broken(self._flight, exc)
            else:
                # The SDK makes an exception of its own of it, and closes the response (or is tapped) with that one.
                self._flight.cut = failure_of_exception(exc)
        except Exception as error:  # noqa: BLE001 - the shield
            report("seeing a stream break", error)
            self._flight.finish("error")

    def _closing(self, frame: FrameType) -> FrameType | None:
        """Return the frame of the reader that closes, `None` where the user does."""
        try:
            reader = reader_closing(self._response, frame)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("seeing who closes a response", exc)
            return None
        # A close from elsewhere makes the read fail that waits for the next bytes, or is about to: by the user's wish.
        self._flight.closing = self._flight.closing or reader is None
        return reader

    def _closed(self, reader: FrameType | None) -> None:
        # One that is at its bytes sees the end itself; asked when the close is over, since by then it may have stopped.
        if self._reader is not None and is_running(self._reader()):
            return
        if self._flight.is_put_off and reader is not None:
            return
        try:
            end_closed(self._flight, reader)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("ending a call at its close", exc)


def _is_dropped(reader: FrameType | None) -> bool:
    return reader is not None and isinstance(passing(reader), GeneratorExit)


def _unbound(method: Any, owner: object) -> Any:
    """Return a descriptor that gives a method of one object back: bound to it, each takes memory of an open stream."""
    is_plain = type(method) is MethodType and method.__self__ is owner and type(method.__func__) is FunctionType
    return method.__func__ if is_plain else staticmethod(method)
