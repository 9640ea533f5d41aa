"""Tells by what ended the reading of an answer how the call ended: the user's wish is no error."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType, GeneratorType
from typing import Final

from or_instrument._calls.flight import Flight
from or_instrument._openrouter.failure import failure_of_exception

_STREAM: Final = "__stream__"
_READERS: Final = frozenset(("iter_raw", "aiter_raw", _STREAM))
_DEPTH: Final = 6


def broken(flight: Flight, exc: BaseException) -> None:
    """End a call whose answer an exception cut off; one that the user closed, cancelled or interrupted is no error."""
    if is_cancellation(exc):
        flight.finish("cancelled")
    elif flight.closing:
        flight.finish("closed")
    else:
        # What the service said of the error tells more than the exception that the client made of it.
        flight.finish("error", otherwise=failure_of_exception(exc))


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception is the user's wish: cancelled, interrupted, asked to exit."""
    # trio's exception cannot be imported where trio is not; its name is part of trio's public API.
    named = type(exc).__name__ == "Cancelled" and type(exc).__module__.startswith("trio")
    return named or isinstance(exc, (asyncio.CancelledError, KeyboardInterrupt, SystemExit))


def is_running(generator: object) -> bool:
    """Return whether a generator, sync or async, is executing at this moment."""
    if isinstance(generator, GeneratorType):
        return generator.gi_running
    return bool(getattr(generator, "ag_running", False))


def is_closed_by_reader(response: object, frame: FrameType | None) -> bool:
    """Return whether a response is closed by what reads it: the HTTP library's own generator, or the SDK's.

    They do so at the end of the body, after an error, and when they are destroyed; whoever else closes is the user.
    """
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_code.co_name in _READERS and response in _held_by(frame):
            return True
        frame = frame.f_back
    return False


def is_read_by_stream(frame: FrameType | None) -> bool:
    """Return whether bytes are read by a stream of the OpenAI SDK."""
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_code.co_name == _STREAM:
            return True
        frame = frame.f_back
    return False


def end_closed(flight: Flight, *, by_reader: bool) -> None:
    """End a call whose response has been closed while nobody was waiting for its bytes."""
    exc = sys.exc_info()[1]
    if isinstance(exc, GeneratorExit):
        # Either way this may be a finaliser.
        flight.put_off("abandoned" if by_reader else "closed")
    elif not by_reader:
        flight.finish("closed")
    elif exc is None:
        flight.finish("complete")
    else:
        broken(flight, exc)


def _held_by(frame: FrameType) -> tuple[object, object]:
    return frame.f_locals.get("self"), frame.f_locals.get("response")
