"""Taps the chunks of an SDK stream in place: each is handed on untouched, and one end is seen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

from or_instrument._calls.flight import Flight
from or_instrument._clients.openai_sdk import error_chunk
from or_instrument._content.capture import Collector
from or_instrument._openrouter.events import Telltale
from or_instrument._openrouter.failure import failure_of_exception
from or_instrument._openrouter.values import get, items
from or_instrument._records import Request

T = TypeVar("T")

_LAST_KEPT: Final = 4
_WHO: Final = ("id", "model", "provider")
_FINISHED_KEPT: Final = 128


class Chunks:
    """What is kept of a stream: the last few chunks, those with which one of several choices ended, a first event.

    Where many calls are on their way at once, chunks of mere text are let go of when the next bytes come: four of them
    hold as much memory as all else that a stream needs here.
    """

    __slots__ = ("_is_heard", "_needs_all", "error", "finished", "first", "last", "see")

    def __init__(self, request: Request, collector: Collector | None = None) -> None:
        self.first: object = None
        self.error: object = None
        self.last: deque[object] = deque(maxlen=_LAST_KEPT)
        self.finished: deque[object] | None = None
        # Each chunk passes here, so what is called is no more than an append where that will do.
        self.see: Callable[[object], object] = self.last.append
        self._is_heard = False
        several = request.operation == "text_completion" or "gen_ai.request.choice.count" in request.parameters
        self._needs_all = several or collector is not None
        if collector is not None:
            self.see = partial(_see_both, self.see, collector.see)
        if several:
            self.finished = deque(maxlen=_FINISHED_KEPT)
            self.see = partial(_see_both, self.see, partial(_see_choices, self.finished))

    def listener(self) -> Callable[[bytes], None] | None:
        """Return what is to hear the bytes before chunks are made of them, `None` where all chunks are needed."""
        if self._needs_all:
            return None
        self._is_heard = True
        is_text, last = Telltale().is_text, self.last

        def hear(data: bytes) -> None:
            if self._is_heard and is_text(data):
                # To clear it would leave it holding two blocks of memory.
                while last:
                    last.popleft()

        return hear

    def start(self, chunk: object) -> None:
        """See the first chunk: who answers is not told by all events of Responses, nor by chunks that are let go of."""
        if get(chunk, "type") is not None:
            self.first, self._is_heard = chunk, False
        elif self._is_heard:
            self.first = {name: get(chunk, name) for name in _WHO}
        self.see(chunk)

    def __call__(self) -> list[object]:
        """Return the kept chunks, oldest first."""
        kept = (self.first, *(self.finished or ()), *self.last, self.error)
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
