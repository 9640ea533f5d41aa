"""The real wheel in a fresh virtual environment, and processes of it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 90.0

CALL = """
import os
import openai

clients = {}

def ask(**options):
    pid = os.getpid()  # a connection is not for two processes
    if pid not in clients:
        clients[pid] = openai.OpenAI(api_key="sk-or-test", base_url=os.environ["FAKE_URL"], max_retries=0)
    return clients[pid].chat.completions.create(
        model="vendor/model", messages=[{"role": "user", "content": "hi"}], **options
    )
"""
"""What every program of the tests begins with."""


@functools.cache
def wheel() -> Path:
    """Build the wheel; skip where its build backend is not installed."""
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling")
    folder = _folder()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@functools.cache
def python() -> Path:
    """Return the interpreter of a fresh virtual environment with the wheel, on top of the packages that tests have."""
    return install(_folder())


def install(folder: Path) -> Path:
    """Make such an environment in a folder; return its interpreter."""
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    with zipfile.ZipFile(wheel()) as archive:
        archive.extractall(site)
    # A path in a .pth file is searched for modules only: the .pth files there, ours among them, are not run.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def site_of(interpreter: Path) -> Path:
    """Return the site-packages of such an environment."""
    return next(interpreter.parent.parent.glob("lib/python*/site-packages"))


def environ(**variables: str) -> dict[str, str]:
    """Return an environment without any switch but these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OR_INSTRUMENT_", "OTEL_", "PYTHON", "COV"))
    }
    return {**kept, "OR_INSTRUMENT_HOSTS": "127.0.0.1", **variables}


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the fresh interpreter, which must end with the exit code."""
    done = subprocess.run(
        [python(), *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@contextmanager
def running(*arguments: str | Path, env: Mapping[str, str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a server in the fresh interpreter; it and all its children are gone afterwards."""
    log = cwd / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [python(), *arguments], env=env, cwd=cwd, stdout=output, stderr=output, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds; fail where it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} never came")
        time.sleep(0.02)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="or-instrument-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
