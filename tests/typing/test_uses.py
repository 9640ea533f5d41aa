"""The types that a user's checker sees: right uses pass, wrong ones are found, and nothing public is without a type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USES = str(Path(__file__).with_name("uses.py"))


def run(checker: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a checker where it is installed."""
    pytest.importorskip(checker)
    # Pyright asks the first Python on the path what is installed.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [sys.executable, "-m", checker, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_right_uses_pass_and_wrong_ones_are_found(checker: str) -> None:
    """Both checkers find each wrong use that `uses.py` marks, and nothing else."""
    done = run(checker, USES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_public_has_a_type() -> None:
    """No public name's type has to be inferred."""
    done = run("pyright", "--verifytypes", "or_instrument", "--ignoreexternal")
    assert "Type completeness score: 100%" in done.stdout, done.stdout + done.stderr
