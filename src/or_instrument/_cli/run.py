"""`or-instrument run CMD...`: runs a command with recording switched on in every Python process that it starts."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from or_instrument._errors import ConfigError
from or_instrument._options import ENABLED

_SITE: Final = Path(__file__).parent / "_site"
_PATH: Final = "PYTHONPATH"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="CMD...", help="the command and its arguments, as you type it"
    )


def run(args: argparse.Namespace) -> int:
    """Become the command; on Windows, run it and return its exit code.

    Raises:
        ConfigError: there is no command, or none of that name.

    """
    command = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not command:
        raise ConfigError("no command was given; for example: or-instrument run python app.py")
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(f"there is no command {command[0]!r}; allowed: a program on the PATH, or the path of one")
    environ = environment(os.environ)
    if sys.platform == "win32":
        return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - what the user asked for
    return os.execve(program, command, environ)  # noqa: S606 - likewise


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the command; a master switch that is set already stays, so that `false` wins."""
    path = environ.get(_PATH)
    return {
        **environ,
        ENABLED: environ.get(ENABLED, "").strip() or "true",
        _PATH: f"{_SITE}{os.pathsep}{path}" if path else str(_SITE),
    }
