"""The tap on a stream of an older SDK, on plain iterators: it passes all on, and sees by what the stream ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from or_instrument import Call, Request
from or_instrument._calls.flight import Flight
from or_instrument._clients.openai_tap import tapped

ENDS = [(ValueError("broken"), "error"), (KeyboardInterrupt(), "cancelled"), (asyncio.CancelledError(), "cancelled")]


def flown() -> tuple[Flight, list[Call]]:
    """Return a flight, and where its call goes."""
    calls: list[Call] = []
    return Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443, stream=True), [calls.append]), calls


def broken(exc: BaseException) -> Iterator[int]:
    """Yield once, and raise."""
    yield 1
    raise exc


async def abroken(exc: BaseException) -> AsyncIterator[int]:
    """Yield once, and raise."""
    yield 1
    raise exc


async def all_of(stream: Any) -> list[int]:
    """Return what an async iterator yields."""
    return [chunk async for chunk in stream]


def test_chunks_pass() -> None:
    """A stream that ends by itself is the same with the tap on, and its call is left to the response's close."""
    flight, calls = flown()
    assert list(tapped(flight, iter([1, 2]))) == [1, 2]
    assert flight.is_open
    assert not calls
    flight.discard()


@pytest.mark.anyio
async def test_async_chunks_pass() -> None:
    """So is an async one."""

    async def chunks() -> AsyncIterator[int]:
        yield 1
        yield 2

    flight, calls = flown()
    assert await all_of(tapped(flight, chunks())) == [1, 2]
    assert flight.is_open
    assert not calls
    flight.discard()


@pytest.mark.parametrize(("exc", "outcome"), ENDS)
def test_what_is_raised_ends_the_call(exc: BaseException, outcome: str) -> None:
    """The user gets the exception, and the call its outcome."""
    flight, calls = flown()
    with pytest.raises(type(exc)):
        list(tapped(flight, broken(exc)))
    assert [call.outcome for call in calls] == [outcome]


@pytest.mark.parametrize(("exc", "outcome"), ENDS)
def test_what_is_raised_ends_an_async_call(exc: BaseException, outcome: str) -> None:
    """The same where the stream is async."""
    flight, calls = flown()
    stream = tapped(flight, abroken(exc))

    async def read() -> type[BaseException] | None:
        try:
            await all_of(stream)
        except BaseException as raised:  # noqa: BLE001 - it is what is looked at
            return type(raised)
        return None

    assert asyncio.run(read()) is type(exc)
    assert [call.outcome for call in calls] == [outcome]


def test_a_tap_that_is_closed_ends_nothing() -> None:
    """Whoever closes the stream closes the response, which is the end."""
    flight, calls = flown()
    stream = tapped(flight, broken(ValueError()))
    next(stream)
    stream.close()
    assert flight.is_open
    assert not calls
    flight.discard()


@pytest.mark.anyio
async def test_an_async_tap_that_is_closed_ends_nothing() -> None:
    """The same where the stream is async."""
    flight, calls = flown()
    stream = tapped(flight, abroken(ValueError()))
    await anext(stream)
    await stream.aclose()
    assert flight.is_open
    assert not calls
    flight.discard()
