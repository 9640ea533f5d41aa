"""The memory that recording holds for each open stream, and that it does not follow the stream's length.

Two processes, plain and with us, hold the same streams open after a few chunks and after many; tracemalloc counts what
each stream holds then. Chunks are decoded for real, so that those we keep are counted.

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

STREAMS = 20
SHORT, LONG = 20, 400
LIMIT = 8 * 1024


def held(calls: Calls, chunks: int, pipeline: Pipeline) -> float:
    """Bytes that one stream holds when so many of its chunks have been read and more are to come."""
    pipeline.drain()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    streams = [calls.open() for _ in range(STREAMS)]
    # As a loop over a stream does, its reader holds the newest chunk.
    newest = [next(islice(stream, chunks - 1, None)) for stream in streams]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    for stream in streams:
        stream.close()
    del newest
    return (after - before) / STREAMS


def count(subject: str) -> list[float]:
    """Bytes held by a stream of one subject, early and late, once everything is warm."""
    pipeline = Pipeline(subject)
    client, canned = canned_client()
    build_beforehand(client)
    calls = build(subject, client, trace.get_tracer_provider(), metrics.get_meter_provider())
    canned.chunks = 2 * LONG
    for _ in range(3):
        calls.stream()
    pipeline.drain()
    tracemalloc.start()
    held(calls, SHORT, pipeline)
    return [held(calls, SHORT, pipeline), held(calls, LONG, pipeline)]


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
    short, long = (ours[0] - plain[0], ours[1] - plain[1])
    growth = (long - short) / (LONG - SHORT)
    rows = [
        Row("plain", f"after {SHORT} chunks", plain[0], "B"),
        Row("plain", f"after {LONG} chunks", plain[1], "B"),
        Row("or_instrument", f"added after {SHORT} chunks", short, "B", None, f"< {LIMIT} B", short < LIMIT),
        Row("or_instrument", f"added after {LONG} chunks", long, "B", None, f"< {LIMIT} B", long < LIMIT),
        Row("or_instrument", "growth with length", growth, "B/chunk", None, "< a pointer, 8 B", growth < 8),
    ]
    show(f"Memory held by an open stream, mean of {STREAMS}", rows)
    save(options.json, rows)


if __name__ == "__main__":
    main()
