"""Throw-away virtual environments: the commands that make one, and where its interpreter is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def commands(home: Path, packages: list[str]) -> tuple[list[str], list[str]]:
    """Return the two commands that make an environment and install into it: of uv, where it is on the path."""
    uv, python = shutil.which("uv"), str(python_of(home))
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)]
        return make, [uv, "pip", "install", "--quiet", "--python", python, *packages]
    make = [sys.executable, "-m", "venv", "--clear", str(home)]
    # Isolated: what PYTHONPATH holds would be taken for installed.
    return make, [python, "-I", "-m", "pip", "install", "--quiet", *packages]


def python_of(home: Path) -> Path:
    """Return where the interpreter of an environment is."""
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
