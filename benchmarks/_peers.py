"""Other plugins for the OpenAI SDK, each in a virtual environment of its own, on the SDK versions of this one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = {
    "genai-openai": "opentelemetry-instrumentation-genai-openai",
    "traceloop": "opentelemetry-instrumentation-openai",
    "openinference": "openinference-instrumentation-openai",
    "logfire": "logfire",
}
# Content capture off, as ours is, wherever a peer has a switch for it.
CONTENT_OFF = {
    "TRACELOOP_TRACE_CONTENT": "false",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
}


def python_of(directory: Path, peer: str) -> Path:
    """Where the interpreter of a peer is, if it was made."""
    return directory / peer / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make_peers(directory: Path) -> list[str]:
    """Make the environments, by uv where it is on the path. Returns the peers that could not be installed."""
    pins = [f"{name}=={version(name)}" for name in ("openai", "opentelemetry-sdk")]
    return [peer for peer, package in PEERS.items() if not _make(directory, peer, [package, *pins])]


def _make(directory: Path, peer: str, packages: list[str]) -> bool:
    home, python = directory / peer, str(python_of(directory, peer))
    uv = shutil.which("uv")
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)]
        install = [uv, "pip", "install", "--quiet", "--python", python, *packages]
    else:
        make = [sys.executable, "-m", "venv", "--clear", str(home)]
        install = [python, "-m", "pip", "install", "--quiet", *packages]
    return all(subprocess.run(command, check=False).returncode == 0 for command in (make, install))
