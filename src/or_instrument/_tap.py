"""Taps the chunks of an SDK stream in place: each is handed on untouched, and one end is seen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

from or_instrument._content import Collector
from or_instrument._failure import failure_of_exception
from or_instrument._flight import Flight
from or_instrument._read import get, items
from or_instrument._records import Request
from or_instrument._sdk import error_chunk

T = TypeVar("T")

_FINISHED_KEPT: Final = 128


class Chunks:
    """What is kept of a stream: the last two chunks, those with which one of several choices ended, a first event."""

    __slots__ = ("error", "finished", "first", "last_two", "see")

    def __init__(self, request: Request, collector: Collector | None = None) -> None:
        self.first: object = None
        self.error: object = None
        self.last_two: Callable[[], tuple[object, ...]] = tuple
        self.finished: Iterable[object] = ()
        several = request.operation == "text_completion" or "gen_ai.request.choice.count" in request.parameters
        # Each chunk passes here: in most streams there is nothing to call.
        self.see: Callable[[object], None] | None = None if collector is None else collector.see
        if several:
            self.finished = finished = deque[object](maxlen=_FINISHED_KEPT)
            self.see = partial(_see_choices, finished, self.see)

    def start(self, chunk: object) -> None:
        """See the first chunk: of the events of a Responses stream, not all carry the id and the model."""
        if get(chunk, "type") is not None:
            self.first = chunk
        if self.see is not None:
            self.see(chunk)

    def __call__(self) -> list[object]:
        """Return the kept chunks, oldest first."""
        kept = (self.first, *self.finished, *self.last_two(), self.error)
        return [chunk for chunk in kept if chunk is not None]


def _see_choices(finished: deque[object], see: Callable[[object], None] | None, chunk: object) -> None:
    if any(get(choice, "finish_reason") for choice in items(get(chunk, "choices"))):
        finished.append(chunk)
    if see is not None:
        see(chunk)


def tap(iterator: Iterator[T], flight: Flight) -> Generator[T, None, None]:
    """Yield what the iterator yields; tell the flight of the end."""
    chunks = flight.chunks = Chunks(flight.request, flight.collector)
    see, before, last = chunks.see, None, None
    # Variables that a function shares are the cheapest place to put a chunk.
    chunks.last_two = lambda: (before, last)
    try:
        for chunk in iterator:
            flight.first_chunk_at = perf_counter()
            chunks.start(chunk)
            last = chunk
            yield chunk
            break
        for chunk in iterator:
            before, last = last, chunk
            if see is not None:
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


async def atap(iterator: AsyncIterator[T], flight: Flight) -> AsyncGenerator[T, None]:
    """`tap` for async streams."""
    chunks = flight.chunks = Chunks(flight.request, flight.collector)
    see, before, last = chunks.see, None, None
    # Variables that a function shares are the cheapest place to put a chunk.
    chunks.last_two = lambda: (before, last)
    try:
        async for chunk in iterator:
            flight.first_chunk_at = perf_counter()
            chunks.start(chunk)
            last = chunk
            yield chunk
            break
        async for chunk in iterator:
            before, last = last, chunk
            if see is not None:
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
