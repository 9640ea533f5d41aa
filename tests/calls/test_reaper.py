"""Facts about the reaper, which ends later what a finaliser must not end."""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Callable

import pytest

from or_instrument._calls import reaper as _reaper
from or_instrument._calls import shield as _shield
from or_instrument._calls.reaper import Reaper

WAIT_S = 60


class Unsettled:
    """A call that notes what is done with it."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.settled = self.discarded = 0
        self.thread: threading.Thread | None = None
        self.is_done = threading.Event()
        self._then = then

    def settle(self) -> None:
        """Note it, and do what was wished."""
        self.settled += 1
        self.thread = threading.current_thread()
        self.is_done.set()
        self._then()

    def discard(self) -> None:
        """Note it."""
        self.discarded += 1


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return the exit hooks that are registered, which the interpreter is not told of."""
    hooks: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", lambda hook, *args: hooks.append(lambda: hook(*args)))
    return hooks


def test_a_deferred_call_is_settled_by_drain_once_and_in_this_thread() -> None:
    """`flush()` does the work where it is called."""
    reaper, call = Reaper(), Unsettled()
    reaper.defer(call)
    assert call.settled == 0
    reaper.drain()
    reaper.drain()
    assert call.settled == 1
    assert call.thread is threading.current_thread()


def test_the_thread_settles_without_being_asked(at_exit: list[Callable[[], None]]) -> None:
    """An application that makes no other call still sees its abandoned one."""
    reaper, call = Reaper(), Unsettled()
    reaper.start(lambda: None)
    reaper.defer(call)
    assert call.is_done.wait(WAIT_S)
    assert call.thread is not None
    assert call.thread.name == "or_instrument-reaper"
    assert call.thread.daemon
    assert len(at_exit) == 1


def test_what_was_deferred_before_the_start_is_settled_after_it(at_exit: list[Callable[[], None]]) -> None:
    """No call is forgotten for having come early."""
    reaper, call = Reaper(), Unsettled()
    reaper.defer(call)
    reaper.start(lambda: None)
    assert call.is_done.wait(WAIT_S)
    assert at_exit


def test_the_thread_starts_once(at_exit: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls there are, from however many threads."""
    started: list[object] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread))  # noqa: PLW0108 - a method
    reaper = Reaper()
    reaper.start(lambda: None)
    reaper.start(lambda: None)
    assert len(started) == len(at_exit) == 1


def test_at_exit_open_calls_are_put_off_and_then_all_are_settled(at_exit: list[Callable[[], None]]) -> None:
    """Streams that are alive when the interpreter exits are recorded too."""
    reaper, call = Reaper(), Unsettled()
    reaper.start(lambda: reaper._unsettled.append(call))
    (leave,) = at_exit
    leave()
    assert call.settled == 1


def test_a_call_that_cannot_be_settled_holds_up_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the next one is settled."""
    monkeypatch.setattr(_shield, "_reported", set())

    def fail() -> None:
        raise ValueError

    reaper, broken, good = Reaper(), Unsettled(fail), Unsettled()
    reaper.defer(broken)
    reaper.defer(good)
    reaper.drain()
    assert (broken.settled, good.settled) == (1, 1)
    assert "recording an abandoned call failed with ValueError" in caplog.text


def test_settling_may_drain_again() -> None:
    """A sink that calls `flush()` does not wait for itself."""
    reaper, second = Reaper(), Unsettled()
    first = Unsettled(reaper.drain)
    reaper.defer(first)
    reaper.defer(second)
    reaper.drain()
    assert (first.settled, second.settled) == (1, 1)


def test_a_finaliser_may_defer_in_the_midst_of_draining() -> None:
    """Garbage is collected at any moment, in the very thread that drains."""
    reaper, late = Reaper(), Unsettled()

    class Garbage:
        """A cycle whose finaliser defers a call."""

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            """Defer."""
            reaper.defer(late)

    def collect() -> None:
        Garbage()
        gc.collect()

    reaper.defer(Unsettled(collect))
    reaper.drain()
    assert late.settled == 1


def test_two_threads_that_drain_settle_each_call_once() -> None:
    """`flush()` and the thread do not do the same work twice."""
    reaper = Reaper()
    calls = [Unsettled() for _ in range(200)]
    for call in calls:
        reaper.defer(call)
    threads = [threading.Thread(target=reaper.drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [call.settled for call in calls] == [1] * 200


def test_a_drain_waits_until_what_another_thread_settles_is_settled() -> None:
    """When `flush()` returns, everything is recorded."""
    reaper, go_on = Reaper(), threading.Event()
    slow = Unsettled(lambda: go_on.wait(WAIT_S))
    reaper.defer(slow)
    first = threading.Thread(target=reaper.drain)
    first.start()
    assert slow.is_done.wait(WAIT_S)
    second = threading.Thread(target=reaper.drain)
    second.start()
    assert second.is_alive()
    go_on.set()
    first.join(WAIT_S)
    second.join(WAIT_S)
    assert not second.is_alive()


def test_a_call_that_never_settles_holds_up_no_exit_and_no_flush(
    at_exit: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that hangs in our thread costs the process a bounded time."""
    monkeypatch.setattr(_reaper, "_EXIT_TIMEOUT_S", 0.01)
    reaper, go_on = Reaper(), threading.Event()
    stuck, call = Unsettled(go_on.wait), Unsettled()
    reaper.start(lambda: reaper.defer(call))
    reaper.defer(stuck)
    assert stuck.is_done.wait(WAIT_S)

    at_exit[0]()
    assert not reaper.drain(0)
    assert call.settled == 0
    go_on.set()
    assert reaper.drain()
    assert call.settled == 1


def test_a_forked_process_forgets_the_calls_of_its_parent() -> None:
    """The parent records them."""
    reaper, call = Reaper(), Unsettled()
    reaper.defer(call)
    reaper.reset()
    reaper.drain()
    assert (call.settled, call.discarded) == (0, 1)


def test_there_is_one_reaper_for_all() -> None:
    """The one that `flush()` drains."""
    assert isinstance(_reaper.REAPER, Reaper)
