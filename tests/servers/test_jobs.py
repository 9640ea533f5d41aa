"""What runs jobs instead of requests: celery, rq, multiprocessing, a Jupyter kernel. Nothing is lost there either.

All of them: nox -s servers
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from books import REQUESTS, assert_books
from fresh_install import CALL, python, run, running, until
from otlp_receiver import Received
from served import free_port

from or_instrument.testing import FakeOpenRouter

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no such servers")]


@pytest.fixture
def env(switched_on: dict[str, str]) -> dict[str, str]:
    """Return an environment that switches everything on, and finds modules in the folder of the test."""
    return {**switched_on, "PYTHONPATH": "."}


CELERY = (
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


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGQUIT], ids=["warm", "cold"])
def test_celery(
    pool: str, ended_by: int, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """A warm shutdown and a cold one, when the jobs are done."""
    pytest.importorskip("celery")
    (tmp_path / "tasks.py").write_text(CELERY)
    run("-c", f"import tasks\nfor _ in range({REQUESTS}): tasks.ask_once.delay()", env=env, cwd=tmp_path)
    worker = ("-m", "celery", "-A", "tasks", "worker", "-P", pool, "-c", "2", "--without-gossip", "--without-mingle")
    with running(*worker, "-l", "info", env=env, cwd=tmp_path) as process:
        log = tmp_path / "server.log"
        until(lambda: log.read_text().count("succeeded in") == REQUESTS, "the last job")
        process.send_signal(ended_by)
        process.wait(60)
    assert_books(fake, receiver)


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.parametrize("worker", ["rq.worker.Worker", "rq.worker.SimpleWorker", "rq.worker.SpawnWorker"])
def test_rq(worker: str, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """Its work horse ends each job's process by `os._exit`: what the job recorded has gone out by then.

    A spawned one imports openai in the midst of its first and only job, too late to be hooked: there the job flushes.
    """
    pytest.importorskip("rq")
    flushes = "or_instrument.flush()" if worker.endswith("SpawnWorker") else ""
    (tmp_path / "jobs.py").write_text(f"{CALL}\nimport or_instrument\ndef job():\n    ask()\n    {flushes}\n")
    with _redis(tmp_path) as url:
        enqueue = f"""
import redis, rq, time
connection = redis.Redis.from_url({url!r})
for _ in range(100):
    try:
        connection.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
queue = rq.Queue(connection=connection)
for _ in range({REQUESTS}): queue.enqueue("jobs.job", result_ttl=0)
"""
        run("-c", enqueue, env=env, cwd=tmp_path)
        # Imported before the fork, as a service would; each spawned work horse has to import it all the same.
        start = "import openai, sys; from rq.cli import main; sys.exit(main())"
        options = ("worker", "--burst", "--url", url, "--worker-class", worker)
        with running("-c", start, *options, env=env, cwd=tmp_path) as process:
            assert process.wait(600) == 0
    assert_books(fake, receiver)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(
    method: str, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """Processes and pools of every start method."""
    (tmp_path / "main.py").write_text(
        CALL
        + f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def work(_number):
    ask()

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    ask()
    workers = [context.Process(target=work, args=(number,)) for number in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    with context.Pool(2) as pool:
        pool.map(work, range(7))
        pool.close()
        pool.join()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(work, range({REQUESTS - 11})))
"""
    )
    run("-W", "ignore::DeprecationWarning", "main.py", env=env, cwd=tmp_path)
    assert_books(fake, receiver)


def test_jupyter(tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """A kernel that is restarted, and one that is shut down."""
    manager = pytest.importorskip("jupyter_client").KernelManager()
    pytest.importorskip("ipykernel")
    manager.kernel_spec.argv[0] = str(python())
    manager.start_kernel(env=env, cwd=str(tmp_path))
    client = manager.blocking_client()
    client.start_channels()
    try:
        for calls in (REQUESTS // 2, REQUESTS - REQUESTS // 2):
            client.wait_for_ready(timeout=60)
            reply = client.execute_interactive(f"{CALL}\nfor _ in range({calls}): ask()", timeout=60)
            assert reply["content"]["status"] == "ok"
            if calls == REQUESTS // 2:
                manager.restart_kernel()
        manager.shutdown_kernel()
    finally:
        client.stop_channels()
        if manager.is_alive():
            manager.shutdown_kernel(now=True)
    assert_books(fake, receiver)


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGUSR1])
def test_killed(ended_by: int, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """A process that is killed loses what it has not exported since the last interval, and nothing else."""
    code = """
import signal, or_instrument
for _ in range(9): ask()
or_instrument.flush()
for _ in range(9): ask()
open("ready", "w").close()
signal.pause()
"""
    with running("-c", CALL + code, env=env | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}, cwd=tmp_path) as process:
        until((tmp_path / "ready").exists, "the calls")
        process.send_signal(ended_by)
        assert process.wait(60) == -ended_by
    assert len(fake.requests) == REQUESTS
    assert len(receiver.spans()) == 9
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd) / 2)
