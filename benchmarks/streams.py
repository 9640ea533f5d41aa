"""Throughput of a thousand concurrent streams over real HTTP, and how late they make the event loop.

A fake OpenRouter in a process of its own serves, on loopback only, clients in processes of their own, which take turns:
plain, with a hand-written recorder, with us, with other plugins. As a shared machine changes its speed, each figure is
divided by that of the recorder's client in the same round, and the median over the rounds is taken.

    python benchmarks/streams.py
    python benchmarks/streams.py --peers DIR      other plugins too, in environments that it makes in DIR
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import openai
from _canned import MODEL, canned_client, http_library
from _common import Row, Worker, at_least, command_line, middle_half, positive, save, show
from _peers import HELP, PEERS, make_peers, start_all
from _providers import Pipeline
from _subjects import PROMPT, Recorder, build
from openai import AsyncOpenAI
from opentelemetry import metrics, trace

OURS, TARGET = "or_instrument", 0.98
TICK_S = 0.005
SPEED, SPANS = 0, -1
"""Where in what a client tells."""
MEASURES = {"chunks per second": "/s", "chunks per CPU second": "/s", "the event loop is late by": "ms"}


def answer(value: object) -> None:
    """Write one line for the parent process."""
    sys.stdout.write((value if value == "ready" else json.dumps(value)) + "\n")
    sys.stdout.flush()


def serve(chunks: int, pause_s: float) -> None:
    """Serve streams of so many chunks until the parent ends it, and tell it where."""
    testing = importlib.import_module("or_instrument.testing")
    with testing.FakeOpenRouter() as fake:
        fake.default = testing.Answer(chunks=["word "] * chunks, pause_s=pause_s)
        answer("ready")
        for _ in sys.stdin:
            answer(fake.base_url)


async def read(client: AsyncOpenAI, recorder: Recorder | None) -> int:
    """Read one stream to its end. Returns the number of its chunks."""
    began, opened = time.perf_counter(), recorder and recorder.begin()
    stream = await client.chat.completions.create(messages=PROMPT, model=MODEL, stream=True)
    chunks = len([None async for _ in stream])
    if recorder and opened:
        recorder.end(*opened, began=began)
    return chunks


async def watch(late: list[float]) -> None:
    """Note by how many seconds the event loop comes late, tick after tick."""
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late.append(time.perf_counter() - due)


async def read_all(base_url: str, streams: int, recorder: Recorder | None) -> tuple[float, float, float]:
    """Read so many streams at once. Returns chunks per wall second, per CPU second, and the median lateness in ms."""
    limits = http_library().Limits(max_connections=streams, max_keepalive_connections=0)
    http = openai.DefaultAsyncHttpxClient(limits=limits, trust_env=False)
    async with AsyncOpenAI(base_url=base_url, api_key="sk-or-benchmark", http_client=http, timeout=60) as client:
        late: list[float] = []
        watching = asyncio.create_task(watch(late))
        wall, cpu = time.perf_counter(), time.process_time()
        chunks = sum(await asyncio.gather(*[read(client, recorder) for _ in range(streams)]))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        watching.cancel()
        return chunks / wall, chunks / cpu, median(late) * 1e3


def run_client(subject: str, base_url: str) -> None:
    """Read as many streams as each line of the input says, warm from a few that are not counted."""
    pipeline = Pipeline(subject)
    unused, _ = canned_client()
    calls = build(subject, unused, trace.get_tracer_provider(), metrics.get_meter_provider(), hosts=["127.0.0.1"])
    recorder = calls if isinstance(calls, Recorder) else None
    asyncio.run(read_all(base_url, 20, recorder))
    answer("ready")
    for line in sys.stdin:
        pipeline.drain()
        before, streams = pipeline.exporter.spans, json.loads(line)["streams"]
        speeds = asyncio.run(read_all(base_url, streams, recorder))
        pipeline.drain()
        answer([*speeds, pipeline.exporter.spans - before])


def compare(options: argparse.Namespace) -> list[Row]:
    """Let the clients take turns."""
    names = ["plain", "recorder", "recorder again", OURS, *(PEERS if options.peers else ())]
    make_peers(options.peers, names)
    command = ("streams.py", "--serve", "--chunks", str(options.chunks), "--pause", str(options.pause))
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        server = stack.enter_context(Worker(*command))
        server.wait_ready()
        url = server.ask()
        clients = {name: ("streams.py", "--client", name, "--url", url) for name in names}
        workers = start_all(stack, options.peers, clients)
        for _ in range(options.rounds):
            for name in names:
                taken[name].append(workers[name].ask(streams=options.streams))
            names.reverse()
    rows = [row for name in taken for row in rows_of(name, taken)]
    return rows + peer_rows(taken)


def rows_of(name: str, taken: dict[str, list[list[float]]]) -> list[Row]:
    """Return the rows of one client."""
    rows = []
    for column, (measure, unit) in enumerate(MEASURES.items()):
        ratio, spread = compared(column, taken[name], taken["recorder"])
        judged = name == OURS and column == SPEED
        target, met = (f">= {TARGET}", ratio >= TARGET) if judged else ("", None)
        value = median(told[column] for told in taken[name])
        rows.append(Row(name, measure, value, unit, ratio, target, met, spread))
    return [*rows, Row(name, "spans a round", taken[name][-1][SPANS], "")]


def peer_rows(taken: dict[str, list[list[float]]]) -> list[Row]:
    """Return our throughput beside that of the fastest peer, of those that record streams at all."""
    peers = {
        name: median(told[SPEED] for told in taken[name]) for name in taken if name in PEERS and taken[name][-1][SPANS]
    }
    if not peers:
        return []
    best = max(peers, key=peers.__getitem__)
    ratio, spread = compared(SPEED, taken[OURS], taken[best])
    measure, value = f"chunks per second, of {best}'s, the most", median(told[SPEED] for told in taken[OURS])
    return [Row(OURS, measure, value, "/s", ratio, "> every peer", ratio > 1, spread)]


def compared(column: int, mine: list[list[float]], theirs: list[list[float]]) -> tuple[float, str]:
    """Return the median of the ratios of two clients in the same round, and the middle half of them."""
    ratios = [told[column] / other[column] for told, other in zip(mine, theirs, strict=True)]
    return median(ratios), middle_half(ratios)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--streams", type=positive, default=1_000, help="open at once (default 1,000)")
    parser.add_argument("--chunks", type=positive, default=20, help="of each stream (default 20)")
    parser.add_argument("--pause", type=at_least(0.0), default=0.05, help="seconds between chunks (default 0.05)")
    parser.add_argument("--rounds", type=positive, default=7, help="turns of each client (default 7)")
    parser.add_argument("--peers", type=Path, metavar="DIR", help=HELP)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.chunks, options.pause)
    elif options.client:
        run_client(options.client, options.url)
    else:
        rows = compare(options)
        show(f"{options.streams:,} concurrent streams of {options.chunks} chunks, {options.rounds} rounds", rows)
        save(options.json, rows)


if __name__ == "__main__":
    main()
