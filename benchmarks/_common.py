"""What the benchmarks share: a command line, workers driven line by line, a table, and a JSON file of the same."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src"

_Number = TypeVar("_Number", int, float)


def command_line(about: str | None) -> argparse.ArgumentParser:
    """Return the parser of a program, with the option that all of them have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write the numbers there too")
    return parser


def at_least(least: _Number) -> Callable[[str], _Number]:
    """Return the type of an argument: a number of the same kind, and no smaller."""

    def number(text: str) -> _Number:
        value = type(least)(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not {least} or more")
        return value

    return number


positive = at_least(1)


def _writable(text: str) -> Path:
    path = Path(text)
    is_new = not path.exists()
    try:
        # Only the system knows, and minutes later it would be too late to be told.
        path.open("a").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot be written: {error}") from None
    if is_new:
        path.unlink()
    return path


def not_measured(what: str, why: str) -> None:
    """Say what is missing from a table, so that it does not look whole."""
    print(f"not measured: {what}, as {why}", file=sys.stderr)


def middle_half(values: Iterable[float], form: str = ".2f") -> str:
    """Return between what the middle half of some values lies."""
    ranked = sorted(values)
    quarter = len(ranked) // 4
    return f"{ranked[quarter]:{form}}-{ranked[-1 - quarter]:{form}}"


def child_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a measured process: this checkout's package, and the same hash seed for all.

    Modules are compiled once, as at our users': where Python is told to write no bytecode, each start compiles anew.
    """
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": path, "PYTHONHASHSEED": "0", **variables}


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number. `met` is None where there is no target."""

    subject: str
    measure: str
    value: float
    unit: str
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    spread: str = ""


class Worker:
    """A live subprocess that answers one JSON line with one JSON line. It prints `ready` when it is set up.

    It ends when its input does, so that it does not outlive this process, however that ends.

    Raises:
        RuntimeError: the process ended instead of answering; its own error is on stderr.

    """

    def __init__(self, script: str, *arguments: str, python: str = sys.executable, **variables: str) -> None:
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(**variables),
        )
        self._name = " ".join([script, *arguments])

    def wait_ready(self) -> None:
        """Skip what plugins print at start, up to the line `ready`."""
        while self._read() != "ready":
            pass

    def ask(self, **request: object) -> Any:
        """Send one request and wait for its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        """Wait for an answer."""
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with exit code {self._process.wait()}; its error is above")
        return line.strip()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()


def end_with_parent() -> None:
    """Let this process end in the middle of its work when the one that started it is gone, however that ended."""

    def wait() -> None:
        # Not by `sys.stdin`, whose lock would then be held when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the rows as a table: rich where it is installed, else plain text."""
    head = ("subject", "measure", "value", "ratio", "spread", "target", "met")
    lines = [_cells(row) for row in rows]
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.table import Table  # noqa: PLC0415
    except ImportError:
        widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
        for line in [(title,), head, *lines]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip())
        return
    table = Table(*head, title=title)
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return row.subject, row.measure, f"{row.value:,.3f} {row.unit}", ratio, row.spread, row.target, met


def save(path: Path | None, rows: Sequence[Row], **about: object) -> None:
    """Write the rows as JSON, next to when and on what they were measured. No path, no file."""
    if path:
        about = {"on": f"{date.today()}", "cores": os.cpu_count(), "python": platform.python_version(), **about}
        about |= {name: version(name) for name in ("openai", "opentelemetry-sdk", "wrapt")}
        path.write_text(json.dumps({"about": about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
