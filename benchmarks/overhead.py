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
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from _common import Row, Worker, command_line, positive, save, show
from _overhead_rows import CONTENT, LARGE, OURS, TARGETS, UNSAMPLED, rows_of_all
from _peers import HELP, PEERS, make_peers, start_all
from _samples import AGAIN, LONG_STREAM, PLAIN, RECORDER, SHORT_STREAM, Samples
from _subjects import SCENARIOS

SUBJECTS = (PLAIN, AGAIN, RECORDER, OURS, UNSAMPLED, CONTENT)
BARE = (PLAIN, AGAIN, OURS)
CALLS = {"chat": 8, "embeddings": 8, SHORT_STREAM: 1, "broken off": 16, LONG_STREAM: 1}
SELDOM = 4
"""One round of so many is one with the large replies, for us and without."""


def measure(names: list[str], samples: Samples, rounds: int, peers: Path | None) -> list[Row]:
    """Ask every subject for every scenario, round by round, in ever another order. Returns what each records."""
    rows: list[Row] = []
    for number in samples.starts:
        with ExitStack() as stack:
            workers = start_all(stack, peers, {name: ("_worker.py", name) for name in names})
            for turn in range(rounds):
                for scenario, calls in (CALLS if turn % SELDOM else CALLS | LARGE).items():
                    asked = names if scenario in CALLS else [name for name in names if name in BARE]
                    for name in random.sample(asked, len(asked)):
                        samples.add(name, scenario, number, workers[name].ask(scenario=scenario, calls=calls))
            rows = rows or contents(workers)
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
    """Return the command line, with the names of the subjects to run."""
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=positive, default=40, help="how often each is asked a start (default 40)")
    parser.add_argument("--starts", type=positive, default=3, help="how often all are started anew (default 3)")
    parser.add_argument("--only", help="comma-separated subjects, next to plain and recorder")
    parser.add_argument("--peers", type=Path, metavar="DIR", help=HELP)
    options = parser.parse_args()
    try:
        options.names = chosen(options.only, SUBJECTS if options.peers is None else (*SUBJECTS, *PEERS))
    except LookupError as error:
        more = "" if options.peers else f"; with --peers DIR also: {', '.join(PEERS)}"
        parser.error(f"{error}{more}")
    return options


def chosen(only: str | None, known: Sequence[str]) -> list[str]:
    """Return the subjects to run: all that are known, or what --only names.

    Raises:
        LookupError: it names none, or one that is not known.

    """
    if only is None:
        return [*known]
    named = {name.strip() for name in only.split(",")} - {""}
    unknown = sorted(named - set(known))
    if unknown or not named:
        raise LookupError(f"no such subject: {', '.join(unknown) or only}; there are: {', '.join(known)}")
    return [name for name in known if name in named or name in (PLAIN, AGAIN, RECORDER)]


def main() -> None:
    options = arguments()
    names, samples = options.names, Samples(options.starts)
    make_peers(options.peers, names)
    recorded = measure(names, samples, options.rounds, options.peers)
    rows = rows_of_all(samples, names) + recorded
    show(f"CPU time added to a call, {options.starts} starts of {options.rounds} rounds; ratio: to the recorder's, "
         "or as said", rows)  # fmt: skip
    plain = {scenario: samples.plain(scenario) * 1e6 for scenario in SCENARIOS}
    save(options.json, rows, rounds=options.rounds, starts=options.starts, plain_us=plain)


if __name__ == "__main__":
    main()
