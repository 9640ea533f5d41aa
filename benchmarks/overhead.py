"""The CPU time that recording adds to a call: us, a hand-written recorder, and other plugins, round by round.

Every subject is a live process, and every round asks each of them in turn for a handful of calls, so that a
machine that drifts hits all alike. A machine that is shared changes its speed for seconds at a time, so each number is
divided by what the plain call took in the same round, and the median over the rounds is taken of that. What is reported
is how much a subject adds to the plain call, and the ratio to what the hand-written recorder adds. `plain again` is a
second plain process: what it seems to add is the noise.

    python benchmarks/overhead.py --make-peers DIR      once, for the other plugins
    python benchmarks/overhead.py --peers DIR --json overhead.json
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from _common import Row, Worker, save, show
from _peers import CONTENT_OFF, PEERS, make_peers, python_of
from _worker import LONG, STREAM

OURS = "or_instrument"
OFF = (f"{OURS} disabled", f"{OURS} suppressed")
UNSAMPLED = f"{OURS} not sampled"
CROWDED = f"{OURS} among many"
STEP = "generator"
SUBJECTS = ("plain", "plain again", STEP, "recorder", OURS, UNSAMPLED, CROWDED, *OFF)
RECORDED = ("chat", "stream", "embeddings")
SCENARIOS = {
    "chat": 6,
    "stream": 6,
    "embeddings": 6,
    "drain": 8,
    "drain long": 8,
    "large prompt": 4,
    "request": 8,
}


@dataclass
class Samples:
    """CPU seconds of a call by subject and scenario, one number a round."""

    rounds: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def plain(self, scenario: str) -> float:
        """Return what the plain call costs, in seconds."""
        return median(self.rounds["plain", scenario])

    def added(self, name: str, scenario: str, part: slice = slice(None)) -> float:
        """Return what a subject adds to the plain call, in seconds of a machine at its median speed."""
        pairs = zip(self.rounds[name, scenario][part], self.rounds["plain", scenario][part], strict=True)
        return (median(taken / plain for taken, plain in pairs) - 1) * self.plain(scenario)

    def chunk(self, name: str) -> float:
        """Return what a subject adds to each chunk: the slope between a short and a long stream."""
        return (self.added(name, "drain long") - self.added(name, "drain")) / (LONG - STREAM)


def start(name: str, peers: Path | None) -> Worker:
    """Start the process of one subject, with the interpreter and the variables that it needs."""
    if name in PEERS and peers:
        return Worker("_worker.py", name, python=str(python_of(peers, name)), **CONTENT_OFF)
    if name.endswith("disabled"):
        return Worker("_worker.py", name, OTEL_SDK_DISABLED="true")
    return Worker("_worker.py", name)


def applies(name: str, scenario: str) -> bool:
    """Whether a scenario says something about a subject. What is off is only timed around an empty request."""
    if name == STEP:
        return scenario.startswith("drain")
    if scenario == "request" or name in OFF:
        return scenario == "request" and (name in OFF or name.startswith("plain"))
    return drains(name) or not scenario.startswith("drain")


def drains(name: str) -> bool:
    """Whether reading a chunk through this subject may cost something."""
    return name not in (*OFF, "recorder")


def measure(workers: dict[str, Worker], samples: Samples, rounds: int) -> None:
    """Ask every subject for every scenario that applies to it, round by round, in ever another order."""
    names = list(workers)
    for _ in range(rounds):
        for scenario, calls in SCENARIOS.items():
            random.shuffle(names)
            for name in names:
                if applies(name, scenario):
                    samples.rounds[name, scenario].append(workers[name].ask(do=scenario, calls=calls))


def rows_of(samples: Samples, name: str) -> list[Row]:
    """Return the rows of one subject. Only what has a target is judged."""
    rows = []
    for scenario in (scenario for scenario in RECORDED if applies(name, scenario)):
        seconds = samples.added(name, scenario)
        ratio = seconds / samples.added("recorder", scenario)
        target, met = "", None
        if name == OURS:
            target, met = "<= 1.4 x recorder", ratio <= 1.4
        elif name == UNSAMPLED and (OURS, scenario) in samples.rounds:
            target, met = "<= 0.6 x sampled", seconds <= 0.6 * samples.added(OURS, scenario)
        rows.append(Row(name, scenario, seconds * 1e6, "us", ratio, target, met))
    if drains(name):
        chunk = samples.chunk(name)
        steps = chunk / samples.chunk(STEP)
        target, met = ("< 2 generator steps", steps < 2) if name == OURS else ("", None)
        rows.append(Row(name, "per chunk", chunk * 1e9, "ns", steps, target, met))
    if applies(name, "request"):
        seconds = samples.added(name, "request")
        target, met = ("<= 3 us", seconds <= 3e-6) if name in OFF else ("", None)
        rows.append(Row(name, "around an empty request", seconds * 1e6, "us", None, target, met))
    return rows


def growth(samples: Samples) -> list[Row]:
    """Show that our cost follows neither the size of the prompt nor the number of calls made before."""
    third = max(1, len(samples.rounds["plain", "chat"]) // 3)
    first, last = (samples.added(OURS, "chat", part) for part in (slice(third), slice(-third, None)))
    short, large = samples.added(OURS, "chat"), samples.added(OURS, "large prompt")
    return [
        Row(OURS, "1 MB prompt / short", large * 1e6, "us", large / short, "<= 1.25", large / short <= 1.25),
        Row(
            OURS,
            "last third of rounds / first",
            last * 1e6,
            "us",
            last / first,
            "<= 1.25",
            last / first <= 1.25,
        ),
    ]


def contents(workers: dict[str, Worker]) -> list[Row]:
    """How much each subject records for its cost: span attributes and histogram records of one chat call."""
    rows = []
    for name, worker in workers.items():
        found = worker.ask(do="describe", scenario="chat")
        rows.append(Row(name, "span attributes", len(found["attributes"]), "", None))
        rows.append(Row(name, "metric records", found["records"], "", None))
    if OURS in workers:
        short, large = (workers[OURS].ask(do="describe", scenario=size) for size in ("chat", "large prompt"))
        same = short["attributes"] == large["attributes"]
        rows.append(Row(OURS, "attributes on 1 MB", len(large["attributes"]), "", None, "the same", same))
    return rows


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="how often each subject is asked (default 100)")
    parser.add_argument("--only", default="", help="comma-separated subjects, next to plain, generator and recorder")
    parser.add_argument("--peers", type=Path, help="where --make-peers put the other plugins")
    parser.add_argument("--make-peers", type=Path, metavar="DIR", help="make their environments there, and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[str]:
    """Return the subjects to run: all of ours, each peer that is installed, or what --only names."""
    installed = [peer for peer in PEERS if options.peers and python_of(options.peers, peer).exists()]
    known = [*SUBJECTS, *installed]
    only = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = sorted(set(only) - set(known))
    if unknown:
        sys.exit(f"no such subject: {', '.join(unknown)}; there are: {', '.join(known)}")
    return [name for name in known if not only or name in (*only, "plain", STEP, "recorder")]


def main() -> None:
    options = arguments()
    if options.make_peers:
        failed = make_peers(options.make_peers)
        sys.exit(f"not installed: {', '.join(failed)}" if failed else 0)
    with ExitStack() as stack:
        workers = {name: stack.enter_context(start(name, options.peers)) for name in chosen(options)}
        for worker in workers.values():
            worker.wait_ready()
        samples = Samples()
        measure(workers, samples, options.rounds)
        rows = [row for name in workers if name != "plain" for row in rows_of(samples, name)]
        if OURS in workers:
            rows += growth(samples)
        rows += contents(workers)
    show(f"CPU time added to a call, {options.rounds} rounds; ratio: to the recorder, "
         "per chunk: to an empty generator step", rows)  # fmt: skip
    plain = {scenario: samples.plain(scenario) * 1e6 for scenario in SCENARIOS}
    save(options.json, rows, openai=version("openai"), rounds=options.rounds, plain_us=plain)


if __name__ == "__main__":
    main()
