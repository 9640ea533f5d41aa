"""What a request that is not recorded costs: another host's, a suppressed one, one while switched off; in each client.

These are a microsecond or two, which a whole call would hide. So the place where a client is seen is called with
nothing beneath it: the client's own method is replaced by an empty one before we are switched on, and a coroutine is
run to its end at once, by no event loop. Median over rounds, in which processes with us and without take turns; the
spread is the middle half of the rounds.

    python benchmarks/unrecorded.py
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
from contextlib import ExitStack
from statistics import median

from _canned import BASE_URL
from _common import Row, Worker, command_line, middle_half, not_measured, positive, save, show
from _empty_requests import CLIENTS
from opentelemetry import context

ELSEWHERE = "https://api.example.com/v1"
TIMES = 2_000
LIMITS = {"another host": 2.0, "suppressed": 3.0, "disabled": 3.0}
VARIABLES = {"disabled": {"OTEL_SDK_DISABLED": "true"}}


def run(client: str, case: str) -> None:
    """Make the empty request over and over, as often as each line of the input wants it."""
    request = CLIENTS[client](BASE_URL if case in {"suppressed", "disabled"} else ELSEWHERE)
    if case != "plain":
        importlib.import_module("or_instrument").instrument()
    if case == "suppressed":
        context.attach(context.set_value("suppress_instrumentation", True))
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.process_time_ns()
        for _ in range(TIMES):
            request()
        print(json.dumps((time.process_time_ns() - began) / TIMES / 1e3), flush=True)


def worker_of(client: str, case: str) -> Worker:
    """Return the process of one client in one case."""
    return Worker("unrecorded.py", "--client", client, "--case", case, **VARIABLES.get(case, {}))


def rows_of(client: str, rounds: int) -> list[Row]:
    """Return what each case adds to the plain request of a client, in microseconds."""
    cases = ("plain", *LIMITS)
    taken: dict[str, list[float]] = {case: [] for case in cases}
    with ExitStack() as stack:
        workers = {case: stack.enter_context(worker_of(client, case)) for case in cases}
        for worker in workers.values():
            worker.wait_ready()
        for _ in range(rounds):
            for case, worker in workers.items():
                taken[case].append(worker.ask())
    rows = []
    for case, limit in LIMITS.items():
        added = [mine - plain for mine, plain in zip(taken[case], taken["plain"], strict=True)]
        value = median(added)
        rows.append(Row(client, case, value, "us", None, f"<= {limit} us", value <= limit, middle_half(added)))
    return rows


def is_installed(client: str) -> bool:
    """Return whether the library of a client is there."""
    return importlib.util.find_spec(library_of(client)) is not None


def library_of(client: str) -> str:
    """Return the name of the library of a client."""
    return client.partition(".")[0]


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=positive, default=40, help="how often each is asked (default 40)")
    parser.add_argument("--client", choices=CLIENTS, help="one client (default: each that is installed)")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client and not is_installed(options.client):
        parser.error(f"{library_of(options.client)} is not installed")
    return options


def main() -> None:
    options = arguments()
    if options.case:
        run(options.client, options.case)
        return
    rows: list[Row] = []
    for client in [options.client] if options.client else CLIENTS:
        if is_installed(client):
            rows += rows_of(client, options.rounds)
        else:
            not_measured(client, f"{library_of(client)} is not installed")
    show(f"CPU time added to a request that is not recorded, {options.rounds} rounds", rows)
    save(options.json, rows, rounds=options.rounds)


if __name__ == "__main__":
    main()
