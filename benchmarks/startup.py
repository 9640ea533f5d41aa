"""What we add to starting up: the import of the package, and an interpreter that has it installed.

    python benchmarks/startup.py            builds the wheel and makes two throw-away environments
    python benchmarks/startup.py --import   the import alone: no environment is made

Fresh processes in turn, each timed from outside; the least disturbed of them counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import HERE, Row, child_environment, save, show

BASE = "import opentelemetry.trace, wrapt"
OURS = "import or_instrument"
SET_UP = "or_instrument.instrument()"
SWITCH = "OR_INSTRUMENT_ENABLED"

Command = tuple[list[str], dict[str, str]]


def seconds(command: Command) -> float:
    """Return the wall time of one process, from its start to its end."""
    words, environment = command
    began = time.perf_counter()
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def least(commands: dict[str, Command], rounds: int) -> dict[str, float]:
    """Seconds of the fastest run of each command; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    return {name: min(times) for name, times in taken.items()}


def import_rows(rounds: int) -> list[Row]:
    """Return the import over what it cannot do without, and that it does not bring openai."""
    environment = child_environment()
    codes = {"base": BASE, "import": f"{BASE}; {OURS}", "set-up": f"{BASE}; {OURS}; {SET_UP}"}
    best = least({name: ([sys.executable, "-c", code], environment) for name, code in codes.items()}, rounds)
    added = (best["import"] - best["base"]) * 1e3
    probe = [sys.executable, "-c", f"{OURS}, sys; sys.exit('openai' in sys.modules)"]
    without = subprocess.run(probe, env=environment, check=False).returncode == 0
    return [
        Row(OURS, "over opentelemetry.trace and wrapt", added, "ms", None, "< 40 ms", added < 40),
        Row(SET_UP, "with the import, over the same", (best["set-up"] - best["base"]) * 1e3, "ms"),
        Row(OURS, "imports openai", float(not without), "", None, "no", without),
    ]


def install(directory: Path, wheel: Path | None) -> str:
    """Make an environment, with the wheel and what it needs or empty. Returns its interpreter."""
    python = str(directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    uv = shutil.which("uv")
    make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    subprocess.run([*make, str(directory)], check=True)
    if wheel:
        pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        subprocess.run([*pip, "--quiet", str(wheel)], check=True)
    return python


def build_wheel(directory: Path) -> Path:
    """Return the wheel of this checkout."""
    uv = shutil.which("uv")
    if uv:
        command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(directory), str(HERE.parent)]
    else:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(directory), str(HERE.parent)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(directory.glob("or_instrument-*.whl"))


def switch_rows(rounds: int, wheel: Path | None) -> list[Row]:
    """`python -c pass` where we are installed, by the switch, to the same where we are not."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        # Both environments hold the same packages: what a longer site-packages costs is not ours.
        bare, full = (install(home / name, wheel or build_wheel(home)) for name in ("bare", "full"))
        hooks = list((home / "bare").glob("**/site-packages/*or*instrument*.pth"))
        for hook in hooks:
            hook.unlink()
        clean = {name: value for name, value in os.environ.items() if name not in (SWITCH, "PYTHONPATH")}
        commands: dict[str, Command] = {"without": ([bare, "-c", "pass"], clean)}
        for value in ("unset", "false", "true"):
            switched = clean if value == "unset" else {**clean, SWITCH: value}
            commands[value] = ([full, "-c", "pass"], switched)
        best = least(commands, rounds)
    rows = [Row("python -c pass", "without us", best["without"] * 1e3, "ms")]
    for value in ("unset", "false", "true"):
        ratio = best[value] / best["without"]
        target, met = ("< 1.01", ratio < 1.01) if value == "unset" else ("", None)
        if not hooks:
            target, met = "a .pth in the wheel", False
        rows.append(Row("python -c pass", f"{SWITCH} {value}", best[value] * 1e3, "ms", ratio, target, met))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="processes of each kind (default 60)")
    parser.add_argument("--import", dest="import_only", action="store_true", help="measure the import only")
    parser.add_argument("--wheel", type=Path, help="a wheel of ours that is built already")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args()
    rows = import_rows(options.rounds // 3 or 1)
    if not options.import_only:
        rows += switch_rows(options.rounds, options.wheel)
    show(f"Start-up, the fastest of up to {options.rounds} processes each", rows)
    save(options.json, rows)


if __name__ == "__main__":
    main()
