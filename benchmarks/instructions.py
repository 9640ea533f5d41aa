"""The machine instructions that recording adds to a call, counted by valgrind: the same number on a busy machine.

Not time: code that runs once a call misses the processor's caches more often than a recorder's loop. But two versions
of ours can be compared to the percent. A minute for each kind of call. Needs valgrind (Debian's package of that name).

    python benchmarks/instructions.py --scenario chat
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import shutil
import subprocess
import sys

from _canned import LONG, SHORT, answer, canned_client
from _common import HERE, Row, child_environment, command_line, save, show
from _providers import Pipeline
from _samples import LONG_STREAM, SHORT_STREAM
from _subjects import SCENARIOS, build
from opentelemetry import metrics, trace

CHUNK = "a chunk"
CALLS = {"chat": 30, "embeddings": 30, "broken off": 30, SHORT_STREAM: 8, LONG_STREAM: 4}
WARM = 8
SUBJECTS = ("plain", "recorder", "or_instrument", "or_instrument not sampled")
CHOICES = ("chat", "embeddings", "broken off", SHORT_STREAM, CHUNK)


def run(subject: str, scenario: str) -> None:
    """Make the calls, between two lines from the parent process: only these are counted."""
    pipeline = Pipeline(subject)
    client, transport = canned_client()
    transport.answer = answer(scenario)
    calls = build(subject, client, trace.get_tracer_provider(), metrics.get_meter_provider())
    call = getattr(calls, SCENARIOS[scenario])
    for _ in range(WARM):
        call()
    pipeline.drain()
    gc.collect()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(CALLS[scenario]):
        call()
    # What the interpreter does at its end is no part of the calls.
    os._exit(0)


def counted(subject: str, scenario: str) -> float:
    """Return the instructions of one call of a subject, by a process of its own under callgrind."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={os.devnull}"]
    program = [sys.executable, "-W", "ignore", str(HERE / "instructions.py")]
    child = [*program, "--subject", subject, "--scenario", scenario]
    with subprocess.Popen(
        [*valgrind, *child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
    ) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == "ready"
        subprocess.run(["callgrind_control", "-i", "on", str(process.pid)], check=True, capture_output=True)
        _, told = process.communicate("go\n")
    total = re.search(r"Collected : (\d+)", told)
    if total is None:
        sys.exit(f"valgrind counted nothing: {told[-500:]}")
    return int(total[1]) / CALLS[scenario]


def rows_of(scenario: str) -> list[Row]:
    """Return what each subject adds to the plain call, and its ratio to the hand-written recorder."""
    if scenario == CHUNK:
        return chunk_rows()
    plain, *others = (counted(subject, scenario) for subject in SUBJECTS)
    return [
        Row(subject, scenario, (total - plain) / 1e3, "thousand", (total - plain) / (others[0] - plain))
        for subject, total in zip(SUBJECTS[1:], others, strict=True)
    ]


def chunk_rows() -> list[Row]:
    """Return what each subject adds to a chunk, and its share of what the SDK itself spends on one."""
    plain, *others = (
        (counted(subject, LONG_STREAM) - counted(subject, SHORT_STREAM)) / (LONG - SHORT) for subject in SUBJECTS
    )
    return [
        Row(subject, "a chunk, of the SDK's own", (slope - plain) / 1e3, "thousand", (slope - plain) / plain)
        for subject, slope in zip(SUBJECTS[1:], others, strict=True)
    ]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--scenario", choices=(*CHOICES, LONG_STREAM), help="one kind of call (default: all of them)")
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subject:
        run(options.subject, options.scenario)
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: apt-get install valgrind (it is no Python package)")
    rows = [row for scenario in ([options.scenario] if options.scenario else CHOICES) for row in rows_of(scenario)]
    show("Instructions added to a call; ratio: to the recorder's, or as said", rows)
    save(options.json, rows)


if __name__ == "__main__":
    main()
