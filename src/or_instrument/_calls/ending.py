"""Tells by what ended the reading of an answer how the call ended: the user's wish is no error."""

from __future__ import annotations

import asyncio
import sys
from traceback import walk_tb
from types import FrameType, GeneratorType
from typing import Final

from or_instrument._calls.flight import Flight
from or_instrument._openrouter.failure import failure_of_exception

_STREAM: Final = "__stream__"
_READERS: Final = frozenset(("iter_raw", "aiter_raw", _STREAM))
_DEPTH: Final = 6
_CANCELLED: Final = frozenset(
    (("trio", "Cancelled"), ("greenlet", "GreenletExit"), ("gevent", "Timeout"), ("eventlet", "Timeout"))
)
"""By package and name. A timeout of greenlets is thrown into them, as one of asyncio cancels a task."""


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
    if isinstance(exc, (asyncio.CancelledError, KeyboardInterrupt, SystemExit)):
        return True
    # Those of trio, gevent and eventlet cannot be imported where these are not; their names are public.
    return any((str(kind.__module__).partition(".")[0], kind.__name__) in _CANCELLED for kind in type(exc).__mro__)


def is_running(generator: object) -> bool:
    """Return whether a generator, sync or async, is executing at this moment."""
    if isinstance(generator, GeneratorType):
        return generator.gi_running
    return bool(getattr(generator, "ag_running", False))


def reader_closing(response: object, frame: FrameType | None) -> FrameType | None:
    """Return the frame of what reads a response where it is that which closes it: the HTTP library's, or the SDK's.

    They do so at the end of the body, after an error, and when they are destroyed; whoever else closes is the user.
    """
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if frame.f_code.co_name in _READERS and response in _held_by(frame):
            return frame
        frame = frame.f_back
    return None


def is_read_by_stream(frame: FrameType | None) -> bool:
    """Return whether bytes are read by a stream of the OpenAI SDK."""
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_code.co_name == _STREAM:
            return True
        frame = frame.f_back
    return False


def passing(reader: FrameType | None) -> BaseException | None:
    """Return the exception that makes somebody close a response; one that the user handles while he reads does not."""
    exc = sys.exc_info()[1]
    if exc is None or reader is None or any(frame is reader for frame, _ in walk_tb(exc.__traceback__)):
        return exc
    return None


def end_closed(flight: Flight, reader: FrameType | None) -> None:
    """End a call whose response has been closed, by its reader or the user, while nobody was waiting for its bytes."""
    exc = passing(reader)
    if isinstance(exc, GeneratorExit):
        # Either way this may be a finaliser.
        flight.put_off("closed" if reader is None else "abandoned")
    elif reader is None:
        flight.finish("closed")
    elif exc is None:
        flight.finish("complete")
    else:
        broken(flight, exc)


def _held_by(frame: FrameType) -> tuple[object, object]:
    return frame.f_locals.get("self"), frame.f_locals.get("response")
