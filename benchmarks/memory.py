"""The memory that recording holds: for each open stream, at the peak of a large reply, and after many calls.

An open stream is compared with one around which OpenTelemetry's span and context are held, as any recorder must. Among
few and among many, early and late, of short events and of long ones; tracemalloc counts. It counts too what calls leave
behind when every cache is full. After many more, the memory of the process itself is looked at, where the system tells
it in /proc. What is compared runs at the same time, as no process disturbs the memory of another.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from _canned import answer, canned_client, own_answer, stream_of
from _common import Row, Worker, at_least, command_line, end_with_parent, not_measured, save, show
from _providers import Pipeline
from _subjects import SCENARIOS, Recorder, build
from opentelemetry import metrics, trace

KINDS = ("streams", "peaks", "left", "process")
FEW, MANY = 10, 200
EARLY, LATE = 5, 400
TEXTS = {"short events": " hello", "events of 640 B": "h" * 398, "events of 3 KiB": "hello " * 480}
"""Of 640 bytes: about as large as an event can be and still be kept among the last."""
LARGE = ("10 MB of vectors", "10 MB image")
STREAM_LIMIT, PEAK_LIMIT, PROCESS_LIMIT = 4 * 1024, 256 * 1024, 1_000_000
LEFT_LIMIT = 10_000
"""Of 1,000 calls: the same as of the process after 100,000."""
WARM = 5_000
DRAINED = 500
"""After so many calls spans are exported: a queue that fills, as it may on a busy machine, would be measured else."""
UNCOUNTED, CACHED, LEFT = 2_000, 3_200, 4_000
"""Calls before any is counted (which takes five times as long), until every cache is full, and after that."""


class Subject:
    """One subject in this process."""

    def __init__(self, name: str) -> None:
        self._pipeline = Pipeline(name)
        client, self._transport = canned_client()
        calls = build(name, client, trace.get_tracer_provider(), metrics.get_meter_provider())
        self._calls = calls
        self._around: Callable[[], object] = calls.begin if isinstance(calls, Recorder) else int

    def streams(self) -> dict[str, float]:
        """Return the bytes that an open stream holds, by what it is like."""
        self._transport.answer = stream_of(20)
        for _ in range(3):
            self._calls.stream()
        tracemalloc.start()
        # The first ones fill caches.
        self._held(FEW, EARLY)
        held = {}
        for text, content in TEXTS.items():
            for count, chunks in ((FEW, EARLY), (FEW, LATE), (MANY, EARLY)):
                self._transport.answer = stream_of(chunks + 5, content)
                held[f"{count} open, {text}, after {chunks}"] = self._held(count, chunks)
        tracemalloc.stop()
        return held

    def _held(self, count: int, chunks: int) -> float:
        self._pipeline.drain()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        streams = [(self._around(), self._calls.open()) for _ in range(count)]
        # As a loop over a stream does, its reader holds the newest chunk.
        newest = [next(islice(stream, chunks - 1, None)) for _, stream in streams]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        for _, stream in streams:
            stream.close()
        del newest
        return (after - before) / count

    def peaks(self) -> dict[str, float]:
        """Return the bytes that a call with a large reply takes at its peak."""
        return {scenario: self._peak(scenario) for scenario in LARGE}

    def _peak(self, scenario: str) -> float:
        self._transport.answer = answer(scenario)
        call = getattr(self._calls, SCENARIOS[scenario])
        call()
        self._pipeline.drain()
        gc.collect()
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    def left(self) -> dict[str, float]:
        """Return the bytes of Python's own memory that 1,000 calls leave behind, once every cache is full."""
        self._chat(range(UNCOUNTED))
        tracemalloc.start()
        # What a cache lets go of later is missed only where it was counted as it came.
        self._chat(range(UNCOUNTED, CACHED))
        before, _ = tracemalloc.get_traced_memory()
        self._chat(range(CACHED, CACHED + LEFT))
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return {f"left by 1,000 calls, of {LEFT:,} after {CACHED:,}": (after - before) / LEFT * 1_000}

    def process(self, calls: int) -> dict[str, float]:
        """Return by how many bytes the process grows over so many calls, once it is warm."""
        self._chat(range(WARM))
        before = resident()
        self._chat(range(WARM, WARM + calls))
        return {f"the process, after {calls:,} calls": resident() - before}

    def _chat(self, numbers: range) -> None:
        # Who keeps what was said grows by it: so no two answers say the same.
        for number in numbers:
            self._transport.answer = own_answer(number)
            self._calls.chat()
            if number % DRAINED == 0:
                self._pipeline.drain()
        self._pipeline.drain()
        gc.collect()


def resident() -> int:
    """Return the bytes that this process holds of the machine's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_processes_of_their_own(subjects: tuple[str, ...], what: str, *more: str) -> list[dict[str, float]]:
    """Return the bytes of each subject, from fresh interpreters at the same time."""
    with ExitStack() as stack:
        command = ("memory.py", "--what", what, *more, "--subject")
        workers = [stack.enter_context(Worker(*command, subject)) for subject in subjects]
        for worker in workers:
            worker.wait_ready()
        return [worker.hear() for worker in workers]


def rows_of(what: str, base: str, limit: int) -> list[Row]:
    """Return what we hold more than a base, with the base for comparison."""
    theirs, ours = in_processes_of_their_own((base, "or_instrument"), what)
    rows = []
    for measure, size in ours.items():
        added = size - theirs[measure]
        rows.append(Row("or_instrument", measure, added, "B", None, f"<= {limit} B", added <= limit))
    return rows


def grown_rows(what: str, limit: int, *more: str) -> list[Row]:
    """Return by how much memory has grown; the plain one's growth is what such calls leave anyway."""
    rows = []
    subjects = ("plain", "or_instrument")
    for subject, told in zip(subjects, in_processes_of_their_own(subjects, what, *more), strict=True):
        ((measure, grown),) = told.items()
        target, met = (f"<= {limit} B", grown <= limit) if subject != "plain" else ("", None)
        rows.append(Row(subject, measure, grown, "B", None, target, met))
    return rows


def run(name: str, what: str, calls: int) -> None:
    """Tell the bytes of one subject."""
    end_with_parent()
    subject = Subject(name)
    told: dict[str, float] = subject.process(calls) if what == "process" else getattr(subject, what)()
    print("ready", json.dumps(told), sep="\n", flush=True)


def rows_about(what: str, calls: int) -> list[Row]:
    """Return the rows of one kind of memory."""
    if what == "streams":
        return rows_of(what, "recorder", STREAM_LIMIT)
    if what == "peaks":
        return rows_of(what, "plain", PEAK_LIMIT)
    if what == "left":
        return grown_rows(what, LEFT_LIMIT)
    if not Path("/proc/self/statm").exists():
        not_measured("the process", "this system has no /proc")
        return []
    return grown_rows(what, PROCESS_LIMIT, "--calls", str(calls)) if calls else []


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--calls", type=at_least(0), default=100_000, help="then look at the process (0: do not)")
    parser.add_argument("--what", choices=KINDS, help="one kind of memory (default: all)")
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subject:
        run(options.subject, options.what, options.calls)
        return
    rows = [row for what in ([options.what] if options.what else KINDS) for row in rows_about(what, options.calls)]
    show("Memory: an open stream less the same inside a span, a large reply less the same without us", rows)
    save(options.json, rows, calls=options.calls)


if __name__ == "__main__":
    main()
