"""Processes that fork: nothing is counted twice, nothing is lost, nothing locks up."""

from __future__ import annotations

import signal
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from fresh_install import CALL, run, running, until
from otlp_receiver import Received
from served import free_port

from or_instrument.testing import FakeOpenRouter

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")]


def _assert_true_sum(fake: FakeOpenRouter, receiver: Received, calls: int) -> None:
    assert len(fake.requests) == calls
    assert len(receiver.spans()) == calls
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_a_bare_fork(fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]) -> None:
    """A child forked after calls starts its own count, and the parent goes on with its own."""
    code = """
ask()
child = os.fork()
ask()
if child:
    os.waitpid(child, 0)
"""
    run("-c", CALL + code, env=switched_on)
    _assert_true_sum(fake, receiver, 3)


def test_a_child_exports_while_it_runs(fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]) -> None:
    """A forked child's exporter threads are its own: it exports before it ends, and ends without exit functions."""
    code = """
import or_instrument
ask()
child = os.fork()
if not child:
    ask()
    os._exit(0 if or_instrument.flush() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    run("-c", CALL + code, env=switched_on)
    _assert_true_sum(fake, receiver, 2)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(("method", "count"), [("fork", 4), ("spawn", 2)])
def test_multiprocessing(
    method: str, count: int, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]
) -> None:
    """Worker processes and their parent: every call arrives, once."""
    (tmp_path / "app.py").write_text(
        CALL
        + f"""
import multiprocessing

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    ask()
    workers = [context.Process(target=ask) for _ in range({count})]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert [worker.exitcode for worker in workers] == [0] * {count}
    ask()
"""
    )
    run("app.py", env=switched_on, cwd=tmp_path)
    _assert_true_sum(fake, receiver, count + 2)


def test_fork_while_others_call(fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]) -> None:
    """Children forked in the midst of other threads' calls make their own calls, and none locks up."""
    # A first call before: Python itself locks up where it is forked while a thread imports modules.
    code = """
import threading
ask()
threads = [threading.Thread(target=lambda: [ask() for _ in range(5)]) for _ in range(3)]
for thread in threads: thread.start()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        ask()
        raise SystemExit(0)
    children.append(child)
for thread in threads: thread.join()
for child in children: assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    run("-W", "ignore::DeprecationWarning", "-c", CALL + code, env=switched_on)
    _assert_true_sum(fake, receiver, 19)


WSGI = (
    CALL
    + """
if os.environ.get("CALL_EARLY"):
    ask()

def app(environ, start_response):
    ask()
    list(ask(stream=True))
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
)


@pytest.mark.parametrize("options", [(), ("--preload", "early")])
def test_gunicorn(
    options: tuple[str, ...], tmp_path: Path, fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]
) -> None:
    """Four prefork workers, with preload and without, even with calls before the fork: SIGTERM loses nothing."""
    pytest.importorskip("gunicorn")
    (tmp_path / "app.py").write_text(WSGI)
    is_early = "early" in options
    address = f"127.0.0.1:{free_port()}"
    arguments = ("-m", "gunicorn", "-w", "4", "-b", address, *(o for o in options if o != "early"), "app:app")
    with running(*arguments, env=switched_on | ({"CALL_EARLY": "1"} if is_early else {}), cwd=tmp_path) as process:
        until(lambda: _pid(address), "the server")
        workers = {_pid(address) for _ in range(7)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert workers
    _assert_true_sum(fake, receiver, len(fake.requests))
    assert len(fake.requests) == 16 + is_early


def _pid(address: str) -> bytes:
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/") as answer:
        return bytes(answer.read())
    return b""


def test_celery(tmp_path: Path, fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]) -> None:
    """Celery's prefork pool on a file broker: a warm shutdown loses nothing."""
    pytest.importorskip("celery")
    (tmp_path / "tasks.py").write_text(
        CALL
        + """
import celery

app = celery.Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control", "store_processed": False,
}
os.makedirs("queue", exist_ok=True)

@app.task
def ask_once():
    ask()
"""
    )
    run("-c", "import tasks\nfor _ in range(6): tasks.ask_once.delay()", env=switched_on, cwd=tmp_path)
    worker = ("-m", "celery", "-A", "tasks", "worker", "-c", "2", "--without-gossip", "--without-mingle")
    with running(*worker, env=switched_on, cwd=tmp_path) as process:
        until(lambda: len(fake.requests) == 6, "the sixth call")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    _assert_true_sum(fake, receiver, 6)
