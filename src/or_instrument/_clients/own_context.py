"""Runs a coroutine in a context of its own, within the same task: another task may be using the one that they share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_own_context(without: ContextVar[Any], run: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Await what `run(*args)` returns in a copy of the context in which a variable is `None`."""
    context = copy_context()
    context.run(without.set, None)
    return await _stepped(context, run(*args))


@coroutine
def _stepped(context: Context, running: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    step: Callable[[Any], Any] = running.send
    value: Any = None
    while True:
        try:
            awaited = context.run(step, value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            step, value = running.send, (yield awaited)
        except GeneratorExit:
            context.run(running.close)
            raise
        except BaseException as exc:  # noqa: BLE001 - it is the coroutine's
            step, value = running.throw, exc
