"""Other plugins for the OpenAI SDK, each in a virtual environment of its own, on the SDK versions of this one."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from _common import Worker
from _environments import commands, python_of

PEERS = {
    "genai-openai": "opentelemetry-instrumentation-genai-openai",
    "traceloop": "opentelemetry-instrumentation-openai",
    "openinference": "openinference-instrumentation-openai",
    "logfire": "logfire",
}
HELP = "measure other plugins too, each in an environment there; those that are missing are made"
# Content capture off, as ours is, wherever a peer has a switch for it.
_CONTENT_OFF = {
    "TRACELOOP_TRACE_CONTENT": "false",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
}
_SAME = ("openai", "opentelemetry-sdk")
_VERSIONS = """
import platform, sys
from importlib.metadata import version
print(platform.python_version(), *map(version, sys.argv[1:]))
"""


def start_all(stack: ExitStack, directory: Path | None, programs: Mapping[str, Sequence[str]]) -> dict[str, Worker]:
    """Start the process of each subject, a peer's on its own interpreter, and wait until all are set up.

    Raises:
        SystemExit: one could not be set up; its own error is on stderr.

    """
    workers = {}
    for name, command in programs.items():
        peer = name in PEERS and directory
        worker = Worker(*command, python=str(python_of(peer / name)), **_CONTENT_OFF) if peer else Worker(*command)
        workers[name] = stack.enter_context(worker)
    for name, worker in workers.items():
        try:
            worker.wait_ready()
        except RuntimeError as error:
            mend = f": remove {directory / name} and run the same again" if name in PEERS and directory else ""
            sys.exit(f"Nothing was measured, as {name} could not be set up: {error}{mend}")
    return workers


def make_peers(directory: Path | None, subjects: Iterable[str]) -> None:
    """Make the environments of the peers among the subjects that are missing or hold other versions.

    Raises:
        SystemExit: some could not be made. It names them, and says what was wrong: no table looks whole without them.

    """
    if directory is None:
        return
    homes = {name: directory / name for name in subjects if name in PEERS}
    failed = {name: error for name, home in homes.items() if (error := _make(home, PEERS[name]))}
    if failed:
        told = [f"{name}, in {homes[name]}:\n{error.strip()}" for name, error in failed.items()]
        head = f"Nothing was measured, as these plugins could not be installed: {', '.join(failed)}"
        sys.exit("\n\n".join([head, *told, "See to what was wrong and run the same again, or leave --peers out."]))


def _make(home: Path, package: str) -> str:
    """Make an environment, unless it is there. Returns what was wrong, nothing where all is well."""
    if _is_made(home, package):
        return ""
    if home.exists() and not (home / "pyvenv.cfg").exists():
        return "it is there, and is no virtual environment; move it away, or choose another folder"
    print(f"making an environment for {package} in {home}", file=sys.stderr)
    for command in commands(home, [package, *(f"{name}=={version(name)}" for name in _SAME)]):
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            return f"$ {' '.join(command)}\n{done.stdout}"
    return ""


def _is_made(home: Path, package: str) -> bool:
    python = python_of(home)
    if not python.exists():
        return False
    command = [str(python), "-c", _VERSIONS, *_SAME, package]
    told = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    return told[:-1] == [platform.python_version(), *map(version, _SAME)]
