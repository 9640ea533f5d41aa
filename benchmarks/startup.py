"""What we add to starting up: the import of the package, and an interpreter that has it installed, also switched on.

    python benchmarks/startup.py            builds the wheel and makes throw-away environments
    python benchmarks/startup.py --import   the import alone: no environment is made

Fresh processes in turn, each timed from outside. As a shared machine changes its speed, each time is divided by that of
the process without us in the same round, and the median over the rounds is taken. The whole import, which there is
nothing to divide by, is timed from inside: CPU time of an interpreter that is up, with the spread of the middle half.
Where valgrind is installed, the instructions of `python -c pass` are counted too, which no other process disturbs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from operator import truediv
from pathlib import Path
from statistics import median

from _common import HERE, Row, child_environment, command_line, middle_half, not_measured, positive, save, show
from _environments import commands, python_of

BASE = "import opentelemetry.trace, opentelemetry.metrics, wrapt"
OURS = "import or_instrument"
TIMED = f"import time; began = time.process_time(); {OURS}; print(time.process_time() - began)"
SET_UP = "or_instrument.instrument()"
CLIENT = "import openai"
"""With the first client what sees calls is imported too."""
SWITCH = "OR_INSTRUMENT_ENABLED"
LIBRARIES = ("requests", "httpx", "httpx2", "aiohttp", "openai")
"""Whose import the hook waits for where it is switched on."""

MEASURES = {
    "idle": "a hook of `import sys` in our place",
    "unset": f"{SWITCH} unset",
    "false": f"{SWITCH} false",
    "true": f"{SWITCH} true",
}

Command = tuple[list[str], dict[str, str]]


def seconds(command: Command) -> float:
    """Return the wall time of one process, from its start to its end."""
    words, environment = command
    began = time.perf_counter()
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def compared(runs: dict[str, Command], rounds: int) -> dict[str, float]:
    """Seconds of each command, which take turns: the first one's median, and by how much the others take longer."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, command in runs.items():
            taken[name].append(seconds(command))
    first = next(iter(taken.values()))
    ratios = {name: median(map(truediv, times, first)) for name, times in taken.items()}
    return {name: ratio * median(first) for name, ratio in ratios.items()}


def import_rows(rounds: int) -> list[Row]:
    """Return the import over what it cannot do without, and that it does not bring openai."""
    environment = child_environment()
    codes = {
        "base": BASE,
        "import": f"{BASE}; {OURS}",
        "set-up": f"{BASE}; {OURS}; {SET_UP}",
        "client": f"{BASE}; {CLIENT}",
        "both": f"{BASE}; {OURS}; {SET_UP}; {CLIENT}",
    }
    taken = compared({name: ([sys.executable, "-c", code], environment) for name, code in codes.items()}, rounds)
    imported, set_up = ((taken[name] - taken["base"]) * 1e3 for name in ("import", "set-up"))
    with_client = (taken["both"] - taken["client"]) * 1e3
    probe = [sys.executable, "-c", f"{OURS}, sys; sys.exit('openai' in sys.modules)"]
    without = subprocess.run(probe, env=environment, check=False).returncode == 0
    return [
        whole_import(rounds, environment),
        Row(OURS, "over opentelemetry and wrapt", imported, "ms"),
        Row(SET_UP, "with the import, over the same", set_up, "ms", None, "<= 30 ms", set_up <= 30),
        Row(SET_UP, f"with the import, and {CLIENT} after it", with_client, "ms"),
        Row(OURS, "imports openai", float(not without), "", None, "no", without),
    ]


def whole_import(rounds: int, environment: dict[str, str]) -> Row:
    """Return what the import takes with all that it imports, from an interpreter that is up."""
    command = [sys.executable, "-c", TIMED]
    told = [subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout for _ in range(rounds)]
    taken = [float(line) * 1e3 for line in told]
    value = median(taken)
    return Row(OURS, "in all", value, "ms", None, "<= 20 ms", value <= 20, middle_half(taken, ".1f"))


def install(directory: Path, wheel: Path) -> str:
    """Make an environment with the wheel, what it needs and the libraries. Returns its interpreter."""
    for command in commands(directory, [str(wheel), *LIBRARIES]):
        subprocess.run(command, check=True)
    return str(python_of(directory))


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
    """Return `python -c pass`, and the imports, where we are installed to the same where we are not, by the switch."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        # Both environments hold the same packages: what a longer site-packages costs is not ours.
        wheel = wheel or build_wheel(home)
        bare, idle, full = (install(home / name, wheel) for name in ("bare", "idle", "full"))
        hooks = [hook_in(home / "bare"), hook_in(home / "idle")]
        hooks[0].unlink()
        hooks[1].write_text("import sys\n")
        clean = {name: value for name, value in child_environment().items() if name not in (SWITCH, "PYTHONPATH")}
        runs: dict[str, Command] = {"without": ([bare, "-c", "pass"], clean)}
        runs["idle"] = ([idle, "-c", "pass"], clean)
        for value in ("unset", "false", "true"):
            switched = clean if value == "unset" else {**clean, SWITCH: value}
            runs[value] = ([full, "-c", "pass"], switched)
        taken = compared(runs, rounds)
        more = instruction_rows(runs) + library_rows(rounds // 10 or 1, bare, full, clean)
    rows = [Row("python -c pass", "without us", taken.pop("without") * 1e3, "ms")]
    for name, measure in MEASURES.items():
        ratio = taken[name] * 1e3 / rows[0].value
        rows.append(Row("python -c pass", measure, taken[name] * 1e3, "ms", ratio))
    return rows + more


def library_rows(rounds: int, bare: str, full: str, environment: dict[str, str]) -> list[Row]:
    """Return what the hook, switched on, adds to the import of each library: we come with it, and OpenTelemetry."""
    rows = []
    for library in LIBRARIES:
        code = ["-c", f"import {library}"]
        runs = {"without": ([bare, *code], environment), "true": ([full, *code], {**environment, SWITCH: "true"})}
        taken = compared(runs, rounds)
        added, ratio = (taken["true"] - taken["without"]) * 1e3, taken["true"] / taken["without"]
        rows.append(Row(f"import {library}", f"added by {SWITCH} true", added, "ms", ratio))
    return rows


def instruction_rows(runs: dict[str, Command]) -> list[Row]:
    """The machine instructions of `python -c pass` where we are installed and not asked for, to those without us."""
    if shutil.which("valgrind") is None:
        not_measured("instructions of python -c pass", "valgrind is missing")
        return []
    bare, idle, ours = (instructions(*runs[name]) for name in ("without", "idle", "unset"))
    ratio, measures = ours / bare, [f"instructions, {MEASURES[name]}" for name in ("idle", "unset")]
    return [
        Row("python -c pass", measures[0], idle / 1e6, "million", idle / bare),
        Row("python -c pass", measures[1], ours / 1e6, "million", ratio, "< 1.01", ratio < 1.01),
    ]


def instructions(words: list[str], environment: dict[str, str]) -> int:
    """Count the machine instructions of one process."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", *words]
    environment = {**environment, "PYTHONHASHSEED": "0"}
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr
    return int(told.rpartition("Collected :")[2].split()[0])


def hook_in(directory: Path) -> Path:
    """Return the start-up hook of an environment."""
    return next(directory.glob("**/site-packages/or_instrument_startup.pth"))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=positive, default=200, help="processes of each kind (default 200)")
    parser.add_argument("--import", dest="import_only", action="store_true", help="measure the import only")
    parser.add_argument("--wheel", type=Path, help="a wheel of ours that is built already")
    options = parser.parse_args()
    rows = import_rows(options.rounds // 10 or 1)
    if not options.import_only:
        rows += switch_rows(options.rounds, options.wheel)
    show(f"Start-up, medians of up to {options.rounds} processes each", rows)
    save(options.json, rows)


if __name__ == "__main__":
    main()
