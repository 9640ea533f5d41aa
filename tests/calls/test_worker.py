"""Facts about the threads of ours, and what each process makes for itself."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest
from installed import need

from or_instrument._calls import shield as _shield
from or_instrument._calls import worker as _worker
from or_instrument._calls.worker import Once, PerKind, PerProcess, Worker, is_exiting, new_lock

WAIT_S = 60


class Work:
    """Work that counts how often it was done."""

    def __init__(self, *waits: float | None) -> None:
        self.done = threading.Semaphore(0)
        self.thread: threading.Thread | None = None
        self._waits = list(waits)

    def __call__(self) -> float | None:
        """Count, and tell the next wait."""
        self.thread = threading.current_thread()
        self.done.release()
        return self._waits.pop(0) if self._waits else None


def test_work_is_done_at_the_start_and_when_woken() -> None:
    """What came before the start is not forgotten."""
    work = Work()
    worker = Worker("or_instrument-test", work)
    worker.wake()
    assert worker.start()
    assert work.done.acquire(timeout=WAIT_S)
    worker.wake()
    assert work.done.acquire(timeout=WAIT_S)
    assert work.thread is not None
    assert (work.thread.name, work.thread.daemon) == ("or_instrument-test", True)
    worker.stop()


def test_work_is_done_when_its_time_has_come() -> None:
    """A wait of no time at all, or of less, is allowed."""
    work = Work(0.001, 0.0, -1.0)
    worker = Worker("or_instrument-test", work)
    worker.start()
    for _ in range(4):
        assert work.done.acquire(timeout=WAIT_S)
    worker.stop()


def test_a_worker_that_was_stopped_ends_and_does_not_start_again() -> None:
    """Closed is closed."""
    work = Work()
    worker = Worker("or_instrument-test", work)
    worker.start()
    assert work.done.acquire(timeout=WAIT_S)
    worker.stop()
    assert work.thread is not None
    work.thread.join(WAIT_S)
    assert not work.thread.is_alive()
    assert not worker.start()


@pytest.mark.parametrize("failure", [ValueError, SystemExit])
def test_work_that_fails_is_reported_and_done_again(
    failure: type[BaseException], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure does not end the thread, nor does a sink that asks the program to exit."""
    monkeypatch.setattr(_shield, "_reported", set())
    begun, threads = threading.Semaphore(0), list[threading.Thread]()

    def fail() -> None:
        threads.append(threading.current_thread())
        begun.release()
        raise failure

    worker = Worker("or_instrument-test", fail)
    worker.start()
    assert begun.acquire(timeout=WAIT_S)
    worker.wake()
    assert begun.acquire(timeout=WAIT_S)
    assert f"the thread or_instrument-test failed with {failure.__name__}" in caplog.text
    worker.stop()
    threads[0].join(WAIT_S)  # else it reports the second failure to whoever listens then


def test_where_greenlets_have_come_it_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread from before does nothing more: nobody who waits for what it holds would be woken."""
    work = Work()
    worker = Worker("or_instrument-test", work)
    worker.start()
    assert work.done.acquire(timeout=WAIT_S)
    before, bell = work.thread, worker._bell
    monkeypatch.setattr(_worker, "kind_of_threads", lambda: "greenlets")
    assert bell is not None
    bell.release()
    assert worker.start()
    assert work.done.acquire(timeout=WAIT_S)
    assert work.thread is not before
    worker.wake()
    assert work.done.acquire(timeout=WAIT_S)
    assert not work.done.acquire(blocking=False)
    worker.stop()


def test_a_lock_is_of_the_kind_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one as long as they are what they were; what belongs to the process stays."""
    lock, owned = PerKind(new_lock), PerProcess(object)
    first, mine = lock(), owned()
    assert lock() is first
    monkeypatch.setattr(_worker, "kind_of_threads", lambda: "greenlets")
    assert lock() is not first
    assert owned() is mine


def test_many_threads_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many begin at once."""
    started: list[object] = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        if thread.name == "or_instrument-test":
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    worker = Worker("or_instrument-test", Work())
    threads = [threading.Thread(target=worker.start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.stop()
    assert len(started) == 1


def test_where_no_thread_starts_the_caller_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does the work itself; when threads start again, so does ours."""
    monkeypatch.setattr(_shield, "_reported", set())

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    work = Work()
    worker = Worker("or_instrument-test", work)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert not worker.start()
    assert "starting a thread failed with RuntimeError" in caplog.text
    worker.wake()
    assert worker.start()
    assert work.done.acquire(timeout=WAIT_S)
    worker.stop()


def test_a_finaliser_may_wake_it() -> None:
    """Waking takes no lock that the interrupted code may hold, not even twice in a row."""
    work = Work()
    worker = Worker("or_instrument-test", work)
    worker.start()
    assert work.done.acquire(timeout=WAIT_S)

    class Garbage:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            worker.wake()
            worker.wake()

    Garbage()
    gc.collect()
    assert work.done.acquire(timeout=WAIT_S)
    worker.stop()


def test_what_belongs_to_a_process_is_made_once_at_its_first_use() -> None:
    """Later uses get the same."""
    lock = PerProcess(new_lock)
    assert lock.made is None
    assert lock() is lock() is lock.made


def test_once_is_once() -> None:
    """Of all callers one is the first."""
    first = Once()
    assert [first(), first(), first()] == [True, False, False]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_makes_all_of_it_anew() -> None:
    """The lock that a thread of the parent holds, the thread that is not there, and what is done once."""
    work, lock, first = Work(), PerProcess(new_lock), Once()
    worker = Worker("or_instrument-test", work)
    worker.start()
    assert work.done.acquire(timeout=WAIT_S)
    assert first()
    lock().acquire()
    child = os.fork()
    if not child:
        work.done = threading.Semaphore(0)  # the old one may have been held by the thread that is not there
        is_new = lock().acquire(blocking=False) and first() and worker.start() and work.done.acquire(timeout=WAIT_S)
        os._exit(0 if is_new else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    worker.stop()


def test_a_fork_hook_only_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gevent's subprocess runs it between fork and exec, where it may start no thread."""

    def refuse(_thread: threading.Thread) -> None:
        raise AssertionError

    worker = Worker("or_instrument-test", Work())
    worker.start()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    _worker._forget_all()
    worker.wake()


def test_an_exiting_interpreter_is_told_from_a_running_one() -> None:
    """Exit functions run when the main thread is over."""
    assert not is_exiting()
    script = """if True:
        import atexit
        from or_instrument._calls.worker import is_exiting
        atexit.register(lambda: print(is_exiting()))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


PATCHED_LATE = """
import sys
sys.modules["trio"] = None  # is imported where it is there, and does not bear eventlet's sockets
from or_instrument._calls.worker import Worker, PerProcess, new_lock
import threading
done = []
worker = Worker("or_instrument-test", lambda: done.append(threading.get_ident()))
lock = PerProcess(new_lock)
{patch}
import time
worker.start()
time.sleep(0)
with lock():
    worker.wake()
    while len(done) < 2:
        time.sleep(0.01)
assert type(lock()).__module__.startswith("{library}"), type(lock())
print("done")
"""


@pytest.mark.parametrize(
    ("library", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_threads_that_become_greenlets_after_the_import_wait_as_greenlets(library: str, patch: str) -> None:
    """A worker and a lock made before the patch, and first used after it, stop nobody."""
    need(library)
    script = PATCHED_LATE.format(library=library, patch=patch)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "done\n", done.stderr
