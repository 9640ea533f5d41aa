"""How much Python work recording adds to a call, counted and not timed: the same on every machine, fit for CI.

Counts the function calls, Python's and C's, that this thread makes for a call with us switched on, less those of the
same call in a plain process; next to it what the hand-written recorder adds. Exits with 1 above a bound.

    python benchmarks/work.py
    python benchmarks/work.py --where chat      which functions we call more than the recorder
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from _canned import LONG, SHORT, answer, canned_client
from _common import HERE, child_environment
from _providers import Pipeline
from _subjects import SCENARIOS, build
from opentelemetry import metrics, trace

COUNTED = ("chat", "embeddings", "stream of 200", "closed early", "stream of 1,000")
METHODS = {**SCENARIOS, "closed early": "closed"}
"""One that is broken off ends in another thread, so one that is closed stands for it."""
BOUNDS = {"chat": 1_166, "embeddings": 918, "stream of 200": 3_123, "closed early": 951, "a read": 7.7}
"""A tenth above what was counted, a part of a call rounded up."""

Counts = dict[str, Counter[str]]


def counted(call: Callable[[], object]) -> Counter[str]:
    """Return how often which functions were called, Python's and C's, by this thread."""
    counts: Counter[str] = Counter()

    def tick(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            counts[f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"] += 1
        elif event == "c_call":
            counts[f"{function.__module__ or type(function.__self__).__name__}.{function.__name__}"] += 1

    gc.collect()
    gc.disable()
    sys.setprofile(tick)
    try:
        call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return counts


def count(subject: str) -> Counts:
    """Return the counts of one subject, in this process, once it is warm."""
    pipeline = Pipeline(subject)
    client, transport = canned_client()
    calls = build(subject, client, trace.get_tracer_provider(), metrics.get_meter_provider())
    counts = {}
    for scenario in COUNTED:
        call = getattr(calls, METHODS[scenario])
        transport.answer = answer("broken off" if scenario == "closed early" else scenario)
        for _ in range(5):
            call()
        pipeline.drain()
        counts[scenario] = counted(call)
    return counts


def in_process_of_its_own(subject: str) -> Counts:
    """Return the counts of one subject from a fresh interpreter."""
    command = [sys.executable, "-W", "ignore", str(HERE / "work.py"), "--subject", subject]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=child_environment()).stdout
    return {scenario: Counter(counts) for scenario, counts in json.loads(output).items()}


def added(subject: Counts, plain: Counts) -> dict[str, float]:
    """Return how many function calls a subject adds to each kind of call, and to each read of a stream."""
    more: dict[str, float] = {scenario: subject[scenario].total() - plain[scenario].total() for scenario in COUNTED}
    more["a read"] = (more.pop("stream of 1,000") - more["stream of 200"]) / (LONG - SHORT)
    return more


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", choices=COUNTED, help="of one kind of call, what we call more than the recorder")
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.subject:
        print(json.dumps(count(options.subject)))
        return
    plain, recorder, ours = (in_process_of_its_own(name) for name in ("plain", "recorder", "or_instrument"))
    if options.where:
        more = Counter(ours[options.where])
        more.subtract(recorder[options.where])
        for function, times in more.most_common():
            if times:
                print(f"{times:+6}  {function}")
        return
    by_recorder, by_us = added(recorder, plain), added(ours, plain)
    for scenario, bound in BOUNDS.items():
        print(
            f"{scenario:14} {by_us[scenario]:8.2f} function calls (recorder {by_recorder[scenario]:7.2f}); <= {bound}"
        )
    over = [scenario for scenario, bound in BOUNDS.items() if by_us[scenario] > bound]
    if over:
        sys.exit(f"more work than allowed: {', '.join(over)}")


if __name__ == "__main__":
    main()
