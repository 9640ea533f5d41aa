"""Real servers on loopback for the length of a test, what their API answers, and what their page shows a person."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

PATIENCE_S: Final = 240.0
"""A server that is started for the first time makes its database, on a machine that may be busy."""
CHROMIUM: Final = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,900"),
)


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that the kernel gives to no client meanwhile."""
    while True:
        # Not from `random`, which is seeded alike in every process of a run.
        port = 10_000 + secrets.randbelow(20_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def served(command: Sequence[str | Path], url: str, folder: Path, **environ: str) -> Iterator[str]:
    """Run a server and yield its URL when it answers there; end it, and all that it started, with the block."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=folder,
            env={**os.environ, **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until(lambda: process.poll() is not None or _answers(url))
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Ask again and again until the condition holds."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition did not hold within {patience_s} s")
        time.sleep(0.2)


def answer(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return the JSON that a GET, or with a body a POST of it, is answered with."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - on loopback
    with urllib.request.urlopen(asked, timeout=60) as said:  # noqa: S310
        return json.load(said)


def page(url: str, folder: Path) -> str:
    """Return the page as a browser has it after all its requests; skip where there is no Chromium."""
    if shutil.which(CHROMIUM[0]) is None:
        pytest.skip("chromium is not installed (Debian package chromium)")
    command = [*CHROMIUM, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=25000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
