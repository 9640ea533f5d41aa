"""Facts about handing a call to sinks that want to be awaited; those that fail are among the facts about flights."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Generator
from typing import Any

import pytest

from or_instrument import Call, Reply, Request
from or_instrument._calls import shield
from or_instrument._calls.delivery import Held, deliver

CALL = Call(1, Request("chat", "openrouter", "acme/large", "openrouter.ai", 443), Reply(), "complete", 0, 1.0)


@pytest.fixture(autouse=True)
def _unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with nothing told."""
    monkeypatch.setattr(shield, "_reported", set())


async def post(calls: list[Call], call: Call) -> None:
    """Take a call, when somebody awaits it."""
    calls.append(call)


class Later(Awaitable[None]):
    """An awaitable that is no coroutine."""

    def __await__(self) -> Generator[Any, None, None]:
        """Do nothing."""
        yield


def test_a_coroutine_that_a_sink_returns_is_closed_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Python warns of no coroutine that was never awaited, and the other sinks get the call."""
    lost: list[Call] = []
    kept: list[Call] = []

    def wrapped(call: Call) -> Any:
        return post(lost, call)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(3):
            deliver(CALL, (wrapped, kept.append))
        gc.collect()
    assert (lost, kept, warned) == ([], [CALL] * 3, [])
    (record,) = caplog.records
    assert record.getMessage().startswith("the sink test_a_coroutine_that_a_sink_returns_is_closed_and_told_once.")
    assert "returns an awaitable, which nobody awaits" in record.getMessage()


def test_any_awaitable_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that cannot be closed."""
    deliver(CALL, (lambda _call: Later(),))  # type: ignore[arg-type,return-value]
    assert len(caplog.records) == 1


def test_a_task_that_a_sink_starts_runs(caplog: pytest.LogCaptureFixture) -> None:
    """It needs nobody who awaits it."""
    calls: list[Call] = []
    started: list[asyncio.Task[None]] = []

    def start(call: Call) -> Any:
        started.append(asyncio.get_running_loop().create_task(post(calls, call)))
        return started[0]

    async def main() -> None:
        deliver(CALL, (start,))
        await started[0]

    asyncio.run(main())
    assert calls == [CALL]
    assert caplog.records == []


def test_other_answers_of_a_sink_are_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Such as that of `set.add` or `queue.put_nowait`."""
    deliver(CALL, (lambda _call: 7, lambda _call: "close"))  # type: ignore[arg-type,return-value]
    assert caplog.records == []


def test_what_was_cancelled_in_a_sink_is_not_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    """It may ask a task of its own for a result; the caller would take it for the end of its own task."""
    calls: list[Call] = []

    def ask(_call: Call) -> None:
        raise asyncio.CancelledError

    deliver(CALL, (ask, calls.append))
    assert calls == [CALL]
    assert "failed with CancelledError" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_passes_once_the_other_sinks_have_the_call(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """A signal handler that exits is heard in a sink too; trackers stand last, and their sums are whole at the exit."""
    calls: list[Call] = []

    def leave(_call: Call) -> None:
        raise kind

    with pytest.raises(kind):
        deliver(CALL, (calls.append, leave, calls.append, calls.append))
    assert calls == [CALL] * 3
    assert caplog.records == []


def test_what_is_held_is_handed_on_once_it_is_released() -> None:
    """Whether it was finished before or after; what is dropped is not."""
    seen: list[Any] = []
    before, after, dropped = Held([seen.append]), Held([seen.append]), Held([seen.append])
    before("first")  # type: ignore[arg-type]
    assert not seen
    before.release()
    before.release()
    after.release()
    after("second")  # type: ignore[arg-type]
    dropped("third")  # type: ignore[arg-type]
    dropped.drop()
    dropped.release()
    assert seen == ["first", "second"]
