"""Refuses arguments that cannot be what they are given as, before anything is done with them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING

from or_instrument._errors import ConfigError
from or_instrument._records import Sink

if TYPE_CHECKING:
    from or_instrument._content.text import Redact


def checked_sinks(sinks: object) -> tuple[Sink, ...]:
    """Return the sinks as a tuple. Raises `ConfigError` where one cannot be called, or would only be awaited."""
    listed = tuple(sinks) if isinstance(sinks, Iterable) else (sinks,)
    for sink in listed:
        if not callable(sink):
            raise ConfigError(f"sinks has {sink!r}; allowed: a list of callables that take one Call")
        if _does_nothing_when_called(sink):
            raise ConfigError(
                f"sinks has {sink!r}, which does nothing when it is called: nobody awaits it or iterates over it; "
                "allowed: a list of plain functions that take one Call"
            )
    return listed


def checked_timeout(timeout_s: object) -> float:
    """Return the seconds to wait. Raises `ConfigError` where they are none that can be waited for."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not 0 <= timeout_s <= TIMEOUT_MAX:
        raise ConfigError(f"timeout_s={timeout_s!r} is not allowed; allowed: seconds, at least 0 and finite")
    return timeout_s


def checked_redact(redact: object) -> Redact | None:
    """Return the redact function. Raises `ConfigError` where it cannot be called."""
    if redact is not None and not callable(redact):
        raise ConfigError(f"redact={redact!r} is not allowed; allowed: a callable from a text to a text or None")
    return redact


def _does_nothing_when_called(sink: Callable[..., object]) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    # Of both: an object can be marked as a coroutine function itself.
    return any(is_kind(called) for is_kind in kinds for called in (sink, _function_of(sink)))


def _function_of(called: Callable[..., object]) -> Callable[..., object]:
    """Return the function that runs in the end, of a method, a partial or an object with `__call__`."""
    if isinstance(called, functools.partial):
        return _function_of(called.func)
    if inspect.ismethod(called):
        return _function_of(called.__func__)
    return called if inspect.isroutine(called) or isinstance(called, type) else _function_of(type(called).__call__)
