"""Sees how a stream of an older OpenAI SDK ended, which closes no response when it raises; looks at no chunk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, TypeVar

from or_instrument._calls.ending import broken
from or_instrument._calls.flight import Flight

T = TypeVar("T")


def tapped(flight: Flight, iterator: Any) -> Any:
    """Return an iterator that yields what another does, and tells the flight of an exception."""
    return _atap(iterator, flight) if hasattr(iterator, "__anext__") else _tap(iterator, flight)


def _tap(iterator: Iterator[T], flight: Flight) -> Generator[T, None, None]:
    try:
        yield from iterator
    except GeneratorExit:
        raise
    except BaseException as exc:
        broken(flight, exc)
        raise


async def _atap(iterator: AsyncIterator[T], flight: Flight) -> AsyncGenerator[T, None]:
    try:
        async for chunk in iterator:
            yield chunk
    except GeneratorExit:
        raise
    except BaseException as exc:
        broken(flight, exc)
        raise
