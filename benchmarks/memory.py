"""The memory that recording holds for each open stream, and that it does not follow the stream's length.

Two processes, plain and with us, hold the same streams open after a few chunks and after many; tracemalloc counts what
each stream holds then. Chunks are decoded for real, so that those we keep are counted. Of many streams less is kept
than of few, so both are counted: the first ones in a process, and those after them.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

from _canned import build_beforehand, canned_client
from _common import HERE, Row, child_environment, save, show
from _providers import Pipeline
from _subjects import Calls, build
from opentelemetry import metrics, trace

FEW, MANY = 10, 40
SHORT, LONG = 20, 400
LIMIT = 8 * 1024


def held(calls: Calls, others: int, chunks: int, pipeline: Pipeline) -> float:
    """Bytes that a stream holds, with so many others open, when so many chunks have been read and more are to come."""
    pipeline.drain()
    gc.collect()
    opened = [calls.open() for _ in range(others)]
    before, _ = tracemalloc.get_traced_memory()
    streams = [calls.open() for _ in range(FEW)]
    # As a loop over a stream does, its reader holds the newest chunk.
    newest = [next(islice(stream, chunks - 1, None)) for stream in streams]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    for stream in opened + streams:
        stream.close()
    del newest
    return (after - before) / FEW


def count(subject: str) -> list[float]:
    """Bytes held by a stream of one subject, once everything is warm: among few early and late, among many the same."""
    pipeline = Pipeline(subject)
    client, canned = canned_client()
    build_beforehand(client)
    calls = build(subject, client, trace.get_tracer_provider(), metrics.get_meter_provider())
    canned.chunks = 2 * LONG
    canned.trickles = True
    for _ in range(3):
        calls.stream()
    pipeline.drain()
    tracemalloc.start()
    held(calls, MANY, SHORT, pipeline)
    return [held(calls, others, chunks, pipeline) for others in (0, MANY) for chunks in (SHORT, LONG)]


def in_process_of_its_own(subject: str) -> list[float]:
    """Return the bytes of one subject, from a fresh interpreter."""
    command = [sys.executable, "-W", "ignore", str(HERE / "memory.py"), "--subject", subject]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=child_environment()).stdout
    numbers: list[float] = json.loads(output)
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subject:
        print(json.dumps(count(options.subject)))
        return
    plain, ours = (in_process_of_its_own(subject) for subject in ("plain", "or_instrument"))
    rows = []
    for place, others in enumerate((0, MANY)):
        where = f"with {others} others open"
        added = [ours[index] - plain[index] for index in (2 * place, 2 * place + 1)]
        for chunks, size in zip((SHORT, LONG), added, strict=True):
            measure = f"{where}, {chunks} chunks"
            rows.append(Row("or_instrument", measure, size, "B", None, f"< {LIMIT} B", size < LIMIT))
        growth = (added[1] - added[0]) / (LONG - SHORT)
        rows.append(Row("or_instrument", f"{where}, growth", growth, "B/chunk", None, "< 8 B, a pointer", growth < 8))
    show(f"Memory that is held for an open stream, mean of {FEW}, less what it holds without us", rows)
    save(options.json, rows)


if __name__ == "__main__":
    main()
