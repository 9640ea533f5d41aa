"""Where the time of recording goes: one scenario in a loop under a profiler, our own and OpenTelemetry's part shown.

Uses pyinstrument where it is installed (sampled: true proportions), else cProfile (exact counts, but it inflates small
functions). Not named after the standard library's `profile`, which cProfile imports.

    python benchmarks/hotspots.py --scenario chat
"""

from __future__ import annotations

import argparse
import cProfile
import importlib.util
import pstats
import sys
import time
from collections.abc import Callable

from _canned import build_beforehand, canned_client
from _common import SOURCE
from _providers import Pipeline
from _subjects import build
from _worker import STREAM
from opentelemetry import metrics, trace

OURS = r"or_instrument|opentelemetry|wrapt"


def repeat(call: Callable[[], None], seconds: float) -> int:
    """Make the call over and over for so long. Returns how often."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        call()
        count += 1
    return count


def sampled(call: Callable[[], None], seconds: float, lines: int) -> None:
    """Print a sampled call tree, flattened, by pyinstrument."""
    pyinstrument = importlib.import_module("pyinstrument")
    renderers = importlib.import_module("pyinstrument.renderers")
    profiler = pyinstrument.Profiler(interval=0.0005)
    with profiler:
        count = repeat(call, seconds)
    text: str = profiler.output(renderers.ConsoleRenderer(flat=True, show_all=True, short_mode=True))
    print(f"{count} calls")
    print("\n".join([line for line in text.splitlines() if line.strip()][: lines + 8]))


def exact(call: Callable[[], None], seconds: float, lines: int) -> None:
    """Print the functions of ours, OpenTelemetry and wrapt with the most time of their own, by cProfile."""
    profiler = cProfile.Profile()
    profiler.enable()
    count = repeat(call, seconds)
    profiler.disable()
    print(f"{count} calls; total times under the profiler, s")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(OURS, lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=("chat", "stream", "embeddings"), default="chat")
    parser.add_argument("--subject", choices=("or_instrument", "recorder"), default="or_instrument")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--lines", type=int, default=30)
    parser.add_argument("--exact", action="store_true", help="cProfile, even where pyinstrument is installed")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    sys.path.insert(0, str(SOURCE))
    pipeline = Pipeline(options.subject)
    client, canned = canned_client()
    build_beforehand(client)
    canned.decode_beforehand(client, STREAM)
    calls = build(options.subject, client, trace.get_tracer_provider(), metrics.get_meter_provider())
    call = getattr(calls, options.scenario)
    repeat(call, 0.2)
    pipeline.drain()
    missing = importlib.util.find_spec("pyinstrument") is None
    (exact if options.exact or missing else sampled)(call, options.seconds, options.lines)


if __name__ == "__main__":
    main()
