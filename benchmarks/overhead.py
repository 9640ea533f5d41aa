"""The CPU time that recording adds to a call: us, a hand-written recorder, and other plugins, in turn.

A call goes the SDK's whole way, its HTTP client included, down to a transport that answers from memory: the same
height for every plugin, wherever it hooks. Every subject is a live process, and every round asks each of them for a
handful of calls. A machine that is shared changes its speed for seconds at a time, so each number is divided by what
the plain call took in the same round, and the median over the rounds is taken of that. Where the parts of a program lie
in memory differs from process to process, so all are started anew a few times; the spread is over these. `plain again`
is a second plain process: what it seems to add is the noise.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --peers DIR      other plugins too, in environments that it makes in DIR
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from contextlib import ExitStack
from itertools import chain
from operator import truediv
from pathlib import Path
from statistics import median

from _canned import LONG, SHORT
from _common import Row, Worker, save, show
from _peers import HELP, PEERS, make_peers, start
from _subjects import SCENARIOS

OURS, RECORDER, PLAIN, AGAIN = "or_instrument", "recorder", "plain", "plain again"
UNSAMPLED, CONTENT = f"{OURS} not sampled", f"{OURS} content"
SUBJECTS = (PLAIN, AGAIN, RECORDER, OURS, UNSAMPLED, CONTENT)
BARE = (PLAIN, AGAIN, OURS)
CALLS = {"chat": 8, "embeddings": 8, "stream of 200": 1, "broken off": 16, "stream of 1,000": 1}
LARGE = {"10 MB of vectors": 1, "10 MB image": 1}
SELDOM = 4
"""One round of so many is one with the large replies, for us and without."""
TARGETS = {"chat": 1.5, "embeddings": 1.35, "stream of 200": 2.0, "broken off": 1.3}
"""Multiples of what the recorder adds."""
LARGE_MS, CHUNK_SHARE, UNSAMPLED_SHARE, CONTENT_SHARE = 1.0, 0.01, 0.65, 2.0


class Samples:
    """CPU seconds of a call by subject and scenario: of each start, one number a round."""

    def __init__(self, starts: int) -> None:
        self.starts = range(starts)
        self._taken: dict[tuple[str, str], list[list[float]]] = defaultdict(lambda: [[] for _ in self.starts])

    def add(self, name: str, scenario: str, start: int, seconds: float) -> None:
        self._taken[name, scenario][start].append(seconds)

    def plain(self, scenario: str) -> float:
        """Return what the plain call costs, in seconds."""
        return median(chain.from_iterable(self._taken[PLAIN, scenario]))

    def added(self, name: str, scenario: str, start: int | None = None) -> float:
        """Return what a subject adds to the plain call, in seconds of a machine at its median speed."""
        chosen = self.starts if start is None else (start,)
        taken, plain = ([self._taken[who, scenario][one] for one in chosen] for who in (name, PLAIN))
        ratios: list[float] = [*map(truediv, chain.from_iterable(taken), chain.from_iterable(plain))]
        return (median(ratios) - 1) * self.plain(scenario)

    def multiple(self, name: str, scenario: str, start: int | None = None, of: str = RECORDER) -> float:
        """Return that as a multiple of what the recorder adds, or another."""
        return self.added(name, scenario, start) / self.added(of, scenario, start)

    def chunk_share(self, name: str, start: int | None = None) -> float:
        """Return what a subject adds to a chunk, as a share of what the SDK itself spends on it."""
        short, long = "stream of 200", "stream of 1,000"
        slope = self.added(name, long, start) - self.added(name, short, start)
        return slope / (self.plain(long) - self.plain(short))


def measure(names: list[str], samples: Samples, rounds: int, peers: Path | None) -> list[Row]:
    """Ask every subject for every scenario, round by round, in ever another order. Returns what each records."""
    rows: list[Row] = []
    for number in samples.starts:
        with ExitStack() as stack:
            workers = {name: stack.enter_context(start(name, peers, "_worker.py", name)) for name in names}
            for worker in workers.values():
                worker.wait_ready()
            for turn in range(rounds):
                for scenario, calls in (CALLS if turn % SELDOM else CALLS | LARGE).items():
                    asked = names if scenario in CALLS else [name for name in names if name in BARE]
                    for name in random.sample(asked, len(asked)):
                        samples.add(name, scenario, number, workers[name].ask(scenario=scenario, calls=calls))
            rows = rows or contents(workers)
    return rows


def rows_of(samples: Samples, name: str) -> list[Row]:
    """Return the rows of one subject. Only what has a target is judged."""
    rows = []
    for scenario, limit in TARGETS.items():
        multiple = samples.multiple(name, scenario)
        each = [samples.multiple(name, scenario, one) for one in samples.starts]
        target, met = (f"<= {limit}", multiple <= limit) if name == OURS else ("", None)
        microseconds = samples.added(name, scenario) * 1e6
        rows.append(Row(name, scenario, microseconds, "us", multiple, target, met, spread(each)))
    share = samples.chunk_share(name)
    target, met = (f"<= {CHUNK_SHARE}", share <= CHUNK_SHARE) if name == OURS else ("", None)
    each = [samples.chunk_share(name, one) for one in samples.starts]
    microseconds = share * (samples.plain("stream of 1,000") - samples.plain("stream of 200")) / (LONG - SHORT) * 1e6
    return [*rows, Row(name, "a chunk, of the SDK's own", microseconds, "us", share, target, met, spread(each, ".4f"))]


def spread(values: list[float], form: str = ".2f") -> str:
    """Return the least and the most of the starts."""
    return f"{min(values):{form}}-{max(values):{form}}"


def large_rows(samples: Samples) -> list[Row]:
    """Return what a plain reply of 10 MB takes."""
    rows = []
    for scenario in LARGE:
        each = [samples.added(OURS, scenario, one) * 1e3 for one in samples.starts]
        value, share = samples.added(OURS, scenario) * 1e3, samples.added(OURS, scenario) / samples.plain(scenario)
        met = value <= LARGE_MS
        rows.append(
            Row(OURS, f"{scenario}, of the SDK's own", value, "ms", share, f"<= {LARGE_MS} ms", met, spread(each))
        )
        noise = samples.added(AGAIN, scenario) * 1e3
        rows.append(Row(AGAIN, scenario, noise, "ms"))
    return rows


def relative_rows(samples: Samples) -> list[Row]:
    """Return what is judged by what we add by default."""
    rows = []
    for scenario in TARGETS:
        ours = samples.added(OURS, scenario)
        unsampled, content = samples.added(UNSAMPLED, scenario), samples.added(CONTENT, scenario) - ours
        for name, added, limit in ((UNSAMPLED, unsampled, UNSAMPLED_SHARE), (CONTENT, content, CONTENT_SHARE)):
            met = added <= limit * ours
            rows.append(Row(name, f"{scenario}, of ours", added * 1e6, "us", added / ours, f"<= {limit}", met))
    return rows


def peer_rows(samples: Samples, peers: list[str]) -> list[Row]:
    """Return what we add beside the peer that adds the least."""
    rows = []
    for scenario in TARGETS:
        ours, theirs = samples.added(OURS, scenario), {peer: samples.added(peer, scenario) for peer in peers}
        least = min(theirs, key=theirs.__getitem__)
        each = [samples.multiple(OURS, scenario, one, least) for one in samples.starts]
        measure, met = f"{scenario}, of {least}'s, the least", ours < theirs[least]
        ratio = ours / theirs[least]
        rows.append(Row(OURS, measure, ours * 1e6, "us", ratio, "< every peer", met, spread(each)))
    return rows


def contents(workers: dict[str, Worker]) -> list[Row]:
    """How much each subject records for its cost; the recorder must do as much as we do."""
    rows = []
    for name, worker in workers.items():
        for scenario in TARGETS if name == OURS else ("chat",):
            found = worker.ask(scenario=scenario)
            same = found == workers[RECORDER].ask(scenario=scenario)
            target, met = ("as the recorder", same) if name == OURS else ("", None)
            row = Row(name, f"attributes, {scenario}", len(found["attributes"]), "", None, target, met)
            rows += [row, Row(name, f"metric records, {scenario}", found["records"], "")]
    return rows


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="how often each subject is asked a start (default 40)")
    parser.add_argument("--starts", type=int, default=3, help="how often all are started anew (default 3)")
    parser.add_argument("--only", default="", help="comma-separated subjects, next to plain and recorder")
    parser.add_argument("--peers", type=Path, metavar="DIR", help=HELP)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[str]:
    """Return the subjects to run: all of ours and, where they are asked for, the peers, or what --only names."""
    known = [*SUBJECTS, *(PEERS if options.peers else ())]
    only = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = sorted(set(only) - set(known))
    if unknown:
        more = "" if options.peers else f"; with --peers DIR also: {', '.join(PEERS)}"
        sys.exit(f"no such subject: {', '.join(unknown)}; there are: {', '.join(known)}{more}")
    return [name for name in known if not only or name in (*only, PLAIN, AGAIN, RECORDER)]


def main() -> None:
    options = arguments()
    names, samples = chosen(options), Samples(options.starts)
    make_peers(options.peers, names)
    recorded = measure(names, samples, options.rounds, options.peers)
    rows = [row for name in names if name != PLAIN for row in rows_of(samples, name)]
    rows += large_rows(samples) if OURS in names else []
    rows += relative_rows(samples) if {OURS, UNSAMPLED, CONTENT} <= set(names) else []
    peers = [name for name in names if name in PEERS]
    rows += peer_rows(samples, peers) if peers and OURS in names else []
    rows += recorded
    show(f"CPU time added to a call, {options.starts} starts of {options.rounds} rounds; ratio: to the recorder's, "
         "or as said", rows)  # fmt: skip
    plain = {scenario: samples.plain(scenario) * 1e6 for scenario in SCENARIOS}
    save(options.json, rows, rounds=options.rounds, starts=options.starts, plain_us=plain)


if __name__ == "__main__":
    main()
