"""What a ledger costs the caller, what `kill -9` takes with it, and how fast a large one is added up.

The caller's part is the CPU time of its thread for each call: to hash its key, and to put it into the queue. Processes
that make a call every five milliseconds are killed, their main thread idle or in a loop of Python: what was made and is
not in the file is lost. Sums are taken by the command itself, from a ledger of many rows that is made for it; its CPU
time is what it takes on an idle core.

    python benchmarks/ledger.py
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

from _canned import http_library
from _common import HERE, Row, child_environment, command_line, positive, save, show

from or_instrument import Call, Reply, Request, Usage
from or_instrument._money.ledger import Ledger
from or_instrument._money.open_ledgers import ledger_at
from or_instrument._money.schema import open_ledger

EVERY_S = 0.005
KILLS = 10
HEADERS = http_library().Headers(
    [
        *((f"x-stainless-{name}", "value") for name in ("lang", "package-version", "os", "arch", "runtime")),
        *(("accept", "application/json"), ("content-type", "application/json"), ("user-agent", "OpenAI/Python")),
        ("authorization", f"Bearer sk-or-v1-{'0' * 64}"),
    ]
)
MICROSECONDS, SECONDS = 10.0, 2.0
FILL = """
    INSERT INTO calls (
      process, call, started_at, ended_at, host, client, api_key_hash, generation_id, operation, requested_model, model,
      provider, outcome, source, is_byok, cost, cost_e12, cost_e24, spend, spend_e12, spend_e24, input_tokens,
      output_tokens, attributes
    )
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
    SELECT i % 4, i, day, day, 'openrouter.ai', 'openai', printf('%064x', i % 3), printf('gen-1795694400-%020d', i),
      'chat', model, model, 'Provider ' || (i % 7), 'complete', 'response', 0, usd, e12, 0, usd, e12, 0, 900, 300,
      printf('{"feature":"f%d","tenant":"t%d"}', i % 5, i % 1000)
    FROM (
      SELECT i, 'vendor/model-' || (i % 20) AS model, (i * 7919) % 1000000 * 1000 AS e12,
        printf('0.%012d', (i * 7919) % 1000000 * 1000) AS usd,
        strftime('%Y-%m-%dT%H:%M:%f000Z', 1795694400 - i % 2592000, 'unixepoch') AS day
      FROM n
    )
"""


def call(number: int) -> Call:
    """Return a finished call."""
    request = Request("chat", "openrouter", "vendor/model", "openrouter.ai", 443, attributes={"tenant": "acme"})
    usage = Usage(cost=0.00014, is_byok=False, input_tokens=900, output_tokens=300)
    reply = Reply(id=f"gen-{number}", model="vendor/model", provider="Provider", usage=usage)
    return Call(number, request, reply, "complete", time.time_ns(), 1.0)


def caller(path: Path) -> float:
    """Microseconds of the caller's CPU time a call, while the ledger is being written: the median of batches."""
    ledger, batches = Ledger(str(path)), []
    for batch in range(60):
        calls = [call(1000 * batch + number) for number in range(100)]
        before = time.thread_time_ns()
        for made in calls:
            sink = ledger.keyed()
            sink.sent(HEADERS, None)
            sink(made)
        batches.append((time.thread_time_ns() - before) / len(calls) / 1000)
        time.sleep(0.01)
    ledger.flush()
    return median(batches)


def victim(path: str, busy: str) -> None:
    """Make a call every few milliseconds and tell how many there were, until killed, or until nobody listens."""
    ledger = ledger_at(path)

    def work() -> None:
        number = 0
        with suppress(BrokenPipeError):
            while True:
                number += 1
                ledger(call(number))
                os.write(1, b"%d\n" % number)
                time.sleep(EVERY_S)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    while worker.is_alive():
        if busy == "busy":
            sum(range(1000))
        else:
            worker.join(1)


def lost(folder: Path, busy: str) -> list[float]:
    """Milliseconds of calls that a kill took with it, each time."""
    told = []
    for number in range(KILLS):
        path = folder / f"{busy}-{number}.db"
        command = [sys.executable, str(HERE / "ledger.py"), "--victim", str(path), busy]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment()) as process:
            assert process.stdout
            made = 0
            # At another moment of the writer's turn each time.
            while made < 200 + 3 * number:
                made = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            made = max([made, *(int(line) for line in process.stdout.read().split())])
        with closing(sqlite3.connect(path)) as ledger:
            (kept,) = ledger.execute("SELECT count(*) FROM calls").fetchone()
        told.append((made - kept) * EVERY_S * 1000)
    return told


def summed(path: Path, by: str) -> float:
    """Seconds of CPU time that the command takes: the best of three."""
    command = [sys.executable, "-m", "or_instrument", "cost", "--ledger", str(path), "--by", by, "--format", "csv"]
    taken = []
    for _ in range(3):
        before = os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=child_environment())
        after = os.times()
        taken.append(sum(after[2:4]) - sum(before[2:4]))
    return min(taken)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=positive, default=1_000_000, help="how many are added up (default 1,000,000)")
    parser.add_argument("--victim", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim:
        victim(*options.victim)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cpu = caller(folder / "caller.db")
        rows.append(Row("caller", "CPU time a call", cpu, "us", None, f"< {MICROSECONDS:g} us", cpu < MICROSECONDS))
        for busy in ("idle", "busy"):
            gone = lost(folder, busy)
            rows.append(Row(f"kill -9, main thread {busy}", f"lost, median of {KILLS}", median(gone), "ms of calls"))
            rows.append(Row(f"kill -9, main thread {busy}", "lost, most", max(gone), "ms of calls"))
        with closing(open_ledger(folder / "large.db", make=True)) as ledger:
            ledger.execute(FILL, {"rows": options.rows})
        for by in ("model", "tenant"):
            taken = summed(folder / "large.db", by)
            measure = f"{options.rows:,} rows --by {by}, CPU"
            rows.append(Row("cost", measure, taken, "s", None, f"< {SECONDS:g} s", taken < SECONDS))
    show("The ledger", rows)
    save(options.json, rows, sqlite=sqlite3.sqlite_version)


if __name__ == "__main__":
    main()
