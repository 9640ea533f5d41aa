"""The benchmarks: they measure every plugin that they are asked for, or none."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

OVERHEAD = Path(__file__).parents[2] / "benchmarks" / "overhead.py"
OFFLINE = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}


def measure(peer: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Have a plugin measured that cannot be installed now."""
    command = [sys.executable, OVERHEAD, "--only", peer, "--peers", directory, "--rounds", "1", "--starts", "1"]
    return subprocess.run(command, env={**os.environ, **OFFLINE}, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "without the SDK"])
def test_a_plugin_that_cannot_be_installed_is_named(tmp_path: Path, *, is_there: bool) -> None:
    """Where a plugin's environment is missing or holds other versions and cannot be made, no table is shown."""
    if is_there:
        venv.create(tmp_path / "logfire", symlinks=os.name != "nt")

    done = measure("logfire", tmp_path)

    assert done.returncode == 1
    assert "could not be installed: logfire" in done.stderr
    assert done.stdout == ""


def test_what_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    """A folder of the user's that has the name of a plugin is not emptied to make an environment there."""
    kept = tmp_path / "logfire" / "notes.txt"
    kept.parent.mkdir()
    kept.touch()

    done = measure("logfire", tmp_path)

    assert done.returncode == 1
    assert f"{kept.parent}:\nit is there, and is no virtual environment" in done.stderr
    assert kept.exists()
