"""How much Python work recording adds to a call, counted and not timed: the same on every machine, fit for CI.

Counts the function calls (Python's and C's) that a chat call, an embeddings call, a stream and one chunk of it make
with us switched on, less those of the same call in a plain process, and compares with the hand-written recorder.
Exits with 1 where a bound is given and exceeded.

    python benchmarks/work.py --ratio 2.0 --chunk 2.1
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Callable

from _canned import build_beforehand, canned_client
from _common import HERE, child_environment
from _providers import Pipeline
from _subjects import build
from _worker import LONG, STREAM
from opentelemetry import metrics, trace


def counted(call: Callable[[], object]) -> int:
    """How many functions were called, Python's and C's, by this thread."""
    count = 0

    def tick(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    gc.collect()
    gc.disable()
    sys.setprofile(tick)
    try:
        call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def count(subject: str) -> dict[str, float]:
    """Return the counts of one subject, in this process, once it is warm."""
    pipeline = Pipeline(subject)
    client, canned = canned_client()
    build_beforehand(client)
    canned.decode_beforehand(client, STREAM, LONG)
    calls = build(subject, client, trace.get_tracer_provider(), metrics.get_meter_provider())
    totals = {}
    for name, call, chunks in [
        ("chat", calls.chat, 0),
        ("embeddings", calls.embeddings, 0),
        ("stream", calls.stream, STREAM),
        ("long stream", calls.stream, LONG),
    ]:
        canned.chunks = chunks
        for _ in range(5):
            call()
        pipeline.drain()
        totals[name] = counted(call)
    return {
        "chat": totals["chat"],
        "embeddings": totals["embeddings"],
        "stream": totals["stream"],
        "chunk": (totals["long stream"] - totals["stream"]) / (LONG - STREAM),
    }


def in_process_of_its_own(subject: str) -> dict[str, float]:
    """Return the counts of one subject from a fresh interpreter."""
    command = [sys.executable, "-W", "ignore", str(HERE / "work.py"), "--subject", subject]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=child_environment()).stdout
    counts: dict[str, float] = json.loads(output)
    return counts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", type=float, help="at most so many times the recorder's calls, per kind of call")
    parser.add_argument("--chunk", type=float, help="at most so many calls for each chunk of a stream")
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.subject:
        print(json.dumps(count(options.subject)))
        return
    plain, recorder, ours = (in_process_of_its_own(name) for name in ("plain", "recorder", "or_instrument"))
    added = {what: ours[what] - plain[what] for what in plain}
    ratios = {what: added[what] / (recorder[what] - plain[what]) for what in ("chat", "embeddings", "stream")}
    print(json.dumps({"plain": plain, "recorder": recorder, "added": added, "ratio to recorder": ratios}, indent=1))
    over = [f"{what} {ratio:.2f}" for what, ratio in ratios.items() if options.ratio and ratio > options.ratio]
    if options.chunk is not None and added["chunk"] > options.chunk:
        over.append(f"chunk {added['chunk']:.2f}")
    if over:
        sys.exit(f"more work than allowed: {', '.join(over)}; allowed: ratio {options.ratio}, chunk {options.chunk}")


if __name__ == "__main__":
    main()
