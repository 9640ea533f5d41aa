"""Many calls, and workers that are replaced all the time: nox -s soak."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from books import assert_books
from fresh_install import CALL, environ, running, until
from otlp_receiver import http_receiver
from served import free_port

from or_instrument.testing import FakeOpenRouter

pytestmark = pytest.mark.slow

CALLS = int(os.environ["SOAK_CALLS"])
RESTART = 500
SETTLED = 150
"""Requests after which a worker has imported and cached what it needs."""
GROWTH_MB = 4.0
APP = (
    CALL
    + """
import resource

def app(environ, start_response):
    if environ["PATH_INFO"] == "/ask":
        ask()
    pages = int(open("/proc/self/statm").read().split()[1])
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{os.getpid()} {pages * resource.getpagesize() / 1e6}".encode()]
"""
)


def test_soak(tmp_path: Path, fake: FakeOpenRouter) -> None:
    """The books agree to the last digit, every request is answered, and no worker grows."""
    (tmp_path / "app.py").write_text(APP)
    address = f"127.0.0.1:{free_port()}"
    sizes: dict[str, list[float]] = defaultdict(list)

    def ask(_number: int) -> None:
        pid, size = _get(f"http://{address}/ask").split()
        sizes[pid].append(float(size))

    with http_receiver() as receiver:
        env = environ(
            OR_INSTRUMENT_ENABLED="true",
            OR_INSTRUMENT_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            FAKE_URL=fake.base_url,
        )
        command = f"-m gunicorn --workers 2 --max-requests {RESTART} --bind {address} app:app"
        with running(*command.split(), env=env, cwd=tmp_path) as process:
            until(lambda: _answers(f"http://{address}/"), "the server")
            with ThreadPoolExecutor(2) as visitors:
                list(visitors.map(ask, range(CALLS)))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert_books(fake, receiver, CALLS)
    assert len(sizes) >= CALLS // RESTART
    grown = [max(worker[SETTLED:]) - worker[SETTLED] for worker in sizes.values() if len(worker) > 2 * SETTLED]
    assert max(grown, default=0.0) < GROWTH_MB, grown


def _answers(url: str) -> bool:
    with suppress(OSError):
        return bool(_get(url))
    return False


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - an address of this test
        return str(answer.read().decode())
