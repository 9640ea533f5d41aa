"""The real servers: what each lost of the fake service's books when it was ended. Nothing, in every row.

The quick rows: nox -s slow. All of them: nox -s servers
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from books import REQUESTS, assert_books
from fresh_install import CALL, environ, python, site_of, until
from fresh_install import running as running_python
from installed import need
from otlp_receiver import Received, http_receiver
from served import free_port
from server_rows import ROWS, Row

from or_instrument.testing import FakeOpenRouter

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no such servers")]

ALL = bool(os.environ.get("ALL_SERVERS"))
APP = '''
import asyncio
import itertools
import os
import subprocess
import sys

sys.modules["trio"] = None  # does not bear eventlet's sockets
_turn = itertools.count()

def answer():
    """One call, every other one a stream; and a child process, which gevent forks in Python."""
    import calls
    if next(_turn) % 2:
        list(calls.ask(stream=True))
    else:
        calls.ask()
    subprocess.run(["true"], check=True)

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/ask":
        answer()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", "2")])
    return [b"ok"]

async def lazy(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    if scope["path"] == "/ask":
        await asyncio.to_thread(answer)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

async def asgi(scope, receive, send):
    await lazy(scope, receive, send)

if not os.environ.get("LAZY"):
    import calls
'''


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name.replace(" ", "_")) for row in ROWS if ALL or row.is_quick]
)
def test_nothing_is_lost(row: Row, fake: FakeOpenRouter, tmp_path: Path) -> None:
    """Each request is answered, and after the signal spans and metrics are what the service's books say."""
    need(row.module) if row.module != "uwsgi" else _needs_uwsgi()
    (tmp_path / "calls.py").write_text(CALL)
    (tmp_path / "app.py").write_text(APP)
    with http_receiver() as receiver:
        with _served(row, _environment(row, fake, receiver), tmp_path) as (address, process):
            with ThreadPoolExecutor(3) as visitors:
                answers = list(visitors.map(lambda _: _get(f"http://{address}/ask"), range(REQUESTS)))
            assert answers == [b"ok"] * REQUESTS
            process.send_signal(row.ended_by)
            process.wait(60)
        assert_books(fake, receiver)


def _environment(row: Row, fake: FakeOpenRouter, receiver: Received) -> dict[str, str]:
    ours = {"OR_INSTRUMENT_ENABLED": "true", "OR_INSTRUMENT_EXPORTER": "otlp"}
    theirs = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "none"}
    return environ(
        **(theirs if row.by_opentelemetry else ours),
        **({"LAZY": "1"} if "app:lazy" in row.command else {}),
        EVENTLET_NO_GREENDNS="yes",  # with it eventlet cannot be imported beside trio
        FAKE_URL=fake.base_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        PYTHONPATH=".",
        PYTHONUNBUFFERED="1",
    )


@contextmanager
def _served(row: Row, env: dict[str, str], folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = shlex.split(row.command.format(address=address, port=port))
    if row.by_opentelemetry:
        starter = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
        command = ["-c", starter, str(python()), *command]
    elif command[0] == "uwsgi":
        # It is no Python program, but brings an interpreter: whose packages it has to be told.
        env |= {"PYTHONPATH": f".:{site_of(python())}:{sysconfig.get_path('purelib')}"}
        starter = f"import os; os.execv({str(Path(sysconfig.get_path('scripts'), 'uwsgi'))!r}, {command!r})"
        command = ["-c", starter]
    # What a shell runs in the background ignores SIGINT, and so would the server.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with running_python(*command, env=env, cwd=folder) as process:
        try:
            until(lambda: process.poll() is not None or _answers(address), "the server")
            yield address, process
        except BaseException:
            sys.stderr.write((folder / "server.log").read_text()[-6000:])
            raise


def _answers(address: str) -> bool:
    with suppress(OSError):
        return _get(f"http://{address}/") == b"ok"
    return False


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - an address of this test
        return bytes(answer.read())


def _needs_uwsgi() -> None:
    if not Path(sysconfig.get_path("scripts"), "uwsgi").exists():
        pytest.skip("uWSGI is not installed")
