"""Facts about what is refused before anything is patched: providers, sinks and functions that cannot be such."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

import or_instrument
from or_instrument import Call, ConfigError
from or_instrument._checks import checked_redact, checked_sinks


class Sinks:
    """Sinks of every kind, sync and async."""

    def keep(self, call: Call) -> None:
        """Take a call."""

    async def send(self, call: Call) -> None:
        """Take a call, when somebody awaits it."""

    @classmethod
    async def send_by_class(cls, call: Call) -> None:
        """Take a call, when somebody awaits it."""

    @staticmethod
    async def send_by_nobody(call: Call) -> None:
        """Take a call, when somebody awaits it."""

    async def stream(self, call: Call) -> AsyncIterator[Call]:
        """Take a call, when somebody iterates."""
        yield call

    def listed(self, call: Call) -> Iterator[Call]:
        """Take a call, when somebody iterates."""
        yield call


class Called:
    """A sink that is an object."""

    def __call__(self, call: Call) -> None:
        """Take a call."""


class Awaited:
    """An object that would be awaited."""

    async def __call__(self, call: Call) -> None:
        """Take a call, when somebody awaits it."""


ASLEEP: dict[str, Any] = {
    "method": Sinks().send,
    "class method": Sinks.send_by_class,
    "static method": Sinks().send_by_nobody,
    "object": Awaited(),
    "object's method": Awaited().__call__,
    "partial": partial(Sinks.send_by_nobody),
    "partial of a method": partial(Sinks().send),
    "partial of a partial of an object": partial(partial(Awaited())),
    "marked object": AsyncMock(),
    "async generator": Sinks().stream,
    "generator": Sinks().listed,
}
AWAKE: dict[str, Any] = {
    "method": Sinks().keep,
    "object": Called(),
    "partial": partial(Sinks().keep),
    "builtin method": [].append,
    "builtin": print,
    "unbound method": str.upper,
    "class": Called,
}


def test_sinks_are_callables() -> None:
    """A list of them, or one that was given alone and is no list."""

    def sink(_call: Call) -> None:
        """Take a call."""

    assert checked_sinks(()) == ()
    assert checked_sinks([sink]) == (sink,)
    for wrong in ([sink, "print"], 7, "ab"):
        with pytest.raises(ConfigError, match="a list of callables that take one Call"):
            checked_sinks(wrong)


@pytest.mark.parametrize("sink", ASLEEP.values(), ids=ASLEEP)
def test_a_sink_that_only_runs_when_it_is_awaited_is_refused(sink: Any) -> None:
    """It would take no call: a coroutine function or a generator, also as a method, a partial or an object."""
    with pytest.raises(ConfigError, match="nobody awaits it or iterates over it; allowed: a list of plain functions"):
        or_instrument.instrument(sinks=[print, sink])
    assert not or_instrument.is_instrumented()


@pytest.mark.parametrize("sink", AWAKE.values(), ids=AWAKE)
def test_every_other_callable_is_a_sink(sink: Any) -> None:
    """Whatever it is made of."""
    assert checked_sinks([sink]) == (sink,)


@pytest.mark.parametrize(
    ("option", "wrong", "method"),
    [
        ("tracer_provider", "x", "get_tracer"),
        ("tracer_provider", MeterProvider(shutdown_on_exit=False), "get_tracer"),
        ("tracer_provider", TracerProvider, "get_tracer"),
        ("meter_provider", 5, "get_meter"),
        ("meter_provider", TracerProvider(shutdown_on_exit=False), "get_meter"),
        ("logger_provider", object(), "get_logger"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_provider_is_refused(option: str, wrong: object, method: str) -> None:
    """The error names the option, the value, and what it lacks; nothing is patched."""
    options: dict[str, Any] = {option: wrong}
    with pytest.raises(ConfigError) as caught:
        or_instrument.instrument(**options)
    assert str(caught.value) == (
        f"{option}={wrong!r} is not allowed; allowed: a provider, with {method}(), or None for the global one"
    )
    assert not or_instrument.is_instrumented()


def test_redact_is_a_callable_or_none() -> None:
    """What cannot be called cannot redact."""
    assert checked_redact(None) is None
    assert checked_redact(str.upper) is str.upper
    with pytest.raises(ConfigError, match="redact='upper' is not allowed; allowed: a callable"):
        checked_redact("upper")
