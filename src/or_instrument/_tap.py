"""Taps the chunks of an SDK stream in place: each is handed on untouched, and one end is seen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

from or_instrument._body import Telltale
from or_instrument._content import Collector
from or_instrument._failure import failure_of_exception
from or_instrument._flight import Flight
from or_instrument._read import get, items
from or_instrument._records import Request
from or_instrument._sdk import error_chunk

T = TypeVar("T")

_LAST_KEPT: Final = 4
_FINISHED_KEPT: Final = 128


class Chunks:
    """What is kept of a stream: the last few chunks, those with which one of several choices ended, a first event.

    Where many calls are on their way at once, chunks of mere text are not kept but for the newest one, which whoever
    reads the stream holds too: the garbage collector would take longer over thousands of them than all else here.
    """

    __slots__ = ("_is_heard", "_is_text", "_needs_all", "_see", "_text", "error", "finished", "first", "last")

    def __init__(self, request: Request, collector: Collector | None = None) -> None:
        self.first: object = None
        self.error: object = None
        self.last: deque[object] = deque(maxlen=_LAST_KEPT)
        self.finished: deque[object] | None = None
        self._see: Callable[[object], object] = self.last.append
        self._needs_all = self._is_heard = self._is_text = False
        self._text: object = None
        if collector is not None:
            self._needs_all = True
            self._see = partial(_see_both, self._see, collector.see)
        if request.operation == "text_completion" or "gen_ai.request.choice.count" in request.parameters:
            self._needs_all = True
            self.finished = deque(maxlen=_FINISHED_KEPT)
            self._see = partial(_see_both, self._see, partial(_see_choices, self.finished))

    @property
    def see(self) -> Callable[[object], object]:
        """What each chunk is to be shown to: no more than an append where that will do."""
        return self._sort if self._is_heard else self._see

    def listener(self) -> Callable[[bytes], None] | None:
        """Return what is to hear the bytes before chunks are made of them, `None` where all chunks are needed."""
        if self._needs_all:
            return None
        self._is_heard = True
        is_text = Telltale().is_text

        def hear(data: bytes) -> None:
            self._is_text = is_text(data)

        return hear

    def start(self, chunk: object) -> None:
        """See the first chunk: of the events of a Responses stream, not all carry the id and the model."""
        if get(chunk, "type") is not None:
            self.first = chunk
        self.see(chunk)

    def _sort(self, chunk: object) -> None:
        if self._is_text:
            self._text = chunk
            self.last.clear()
        else:
            self._see(chunk)

    def __call__(self) -> list[object]:
        """Return the kept chunks, oldest first."""
        kept = (self.first, *(self.finished or ()), self._text, *self.last, self.error)
        return [chunk for chunk in kept if chunk is not None]


def _see_both(one: Callable[[object], object], other: Callable[[object], object], chunk: object) -> None:
    one(chunk)
    other(chunk)


def _see_choices(finished: deque[object], chunk: object) -> None:
    if any(get(choice, "finish_reason") for choice in items(get(chunk, "choices"))):
        finished.append(chunk)


def tap(iterator: Iterator[T], flight: Flight, chunks: Chunks) -> Generator[T, None, None]:
    """Yield what the iterator yields; tell the flight of the end."""
    flight.chunks = chunks
    see = chunks.see
    try:
        for chunk in iterator:
            flight.first_chunk_at = perf_counter()
            chunks.start(chunk)
            yield chunk
            break
        for chunk in iterator:
            see(chunk)
            yield chunk
    except GeneratorExit:
        # Closed, or collected as garbage: either way this may be a finaliser.
        flight.put_off("abandoned")
        if isinstance(iterator, Generator):
            iterator.close()
        raise
    except BaseException as exc:
        chunks.error = error_chunk(exc)
        broken(flight, exc)
        raise
    flight.finish("complete")


async def atap(iterator: AsyncIterator[T], flight: Flight, chunks: Chunks) -> AsyncGenerator[T, None]:
    """`tap` for async streams."""
    flight.chunks = chunks
    see = chunks.see
    try:
        async for chunk in iterator:
            flight.first_chunk_at = perf_counter()
            chunks.start(chunk)
            yield chunk
            break
        async for chunk in iterator:
            see(chunk)
            yield chunk
    except GeneratorExit:
        # The event loop closes every dropped generator by itself; closing theirs here would run into that.
        flight.put_off("abandoned")
        raise
    except BaseException as exc:
        chunks.error = error_chunk(exc)
        broken(flight, exc)
        raise
    flight.finish("complete")


def broken(flight: Flight, exc: BaseException) -> None:
    """End a stream that an exception ended; one that the user closed, cancelled or interrupted is no error."""
    if is_cancellation(exc):
        flight.finish("cancelled")
    elif flight.closing:
        flight.finish("closed")
    else:
        flight.finish("error", failure_of_exception(exc))


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception is the user's wish: cancelled, interrupted, asked to exit."""
    # trio's exception cannot be imported where trio is not; its name is part of trio's public API.
    named = type(exc).__name__ == "Cancelled" and type(exc).__module__.startswith("trio")
    return named or isinstance(exc, (asyncio.CancelledError, KeyboardInterrupt, SystemExit))
