"""Throughput of a thousand concurrent streams over real HTTP: with us, as a share of without.

A fake OpenRouter in a process of its own serves, on loopback only, two clients in processes of their own, plain and
with us, which take turns. As a shared machine changes its speed, each speed is divided by that of the plain client in
the same round, and the median over the rounds is taken.

    python benchmarks/streams.py
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import time
from operator import truediv
from pathlib import Path
from statistics import median

import openai
from _canned import MODEL, http_library
from _common import Row, Worker, save, show
from _providers import Pipeline
from _subjects import SHORT
from openai import AsyncOpenAI
from opentelemetry import metrics, trace

TARGET = 0.97


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


async def read(client: AsyncOpenAI) -> int:
    """Read one stream to its end. Returns the number of its chunks."""
    stream = await client.chat.completions.create(messages=SHORT, model=MODEL, stream=True)
    return len([None async for _ in stream])


async def read_all(base_url: str, streams: int) -> tuple[float, float]:
    """Read so many streams at once. Returns chunks per wall second and per CPU second."""
    limits = http_library().Limits(max_connections=streams, max_keepalive_connections=0)
    http = openai.DefaultAsyncHttpxClient(limits=limits)
    async with AsyncOpenAI(base_url=base_url, api_key="sk-or-benchmark", http_client=http, timeout=60) as client:
        wall, cpu = time.perf_counter(), time.process_time()
        chunks = sum(await asyncio.gather(*[read(client) for _ in range(streams)]))
        return chunks / (time.perf_counter() - wall), chunks / (time.process_time() - cpu)


def run_client(subject: str, base_url: str) -> None:
    """Read as many streams as each line of the input says, warm from a few that are not counted."""
    pipeline = Pipeline(subject)
    if subject == "or_instrument":
        importlib.import_module("or_instrument").instrument(
            hosts=["127.0.0.1"],
            tracer_provider=trace.get_tracer_provider(),
            meter_provider=metrics.get_meter_provider(),
        )
    asyncio.run(read_all(base_url, 20))
    answer("ready")
    for line in sys.stdin:
        pipeline.drain()
        before, streams = pipeline.exporter.spans, json.loads(line)["streams"]
        speeds = asyncio.run(read_all(base_url, streams))
        pipeline.drain()
        answer([*speeds, pipeline.exporter.spans - before])


def compare(options: argparse.Namespace) -> list[Row]:
    """Let the clients take turns."""
    command = ("streams.py", "--serve", "--chunks", str(options.chunks), "--pause", str(options.pause))
    with Worker(*command) as server:
        server.wait_ready()
        url = server.ask()
        names = ["plain", "plain again", "or_instrument"] if options.control else ["plain", "or_instrument"]
        workers = {name: Worker("streams.py", "--client", name, "--url", url) for name in names}
        taken: dict[str, list[list[float]]] = {name: [] for name in names}
        for worker in workers.values():
            worker.wait_ready()
        for _ in range(options.rounds):
            for name in names:
                taken[name].append(workers[name].ask(streams=options.streams))
            names.reverse()
        for worker in workers.values():
            worker.stop()
    return [row for name in taken for row in rows_of(name, taken)]


def rows_of(name: str, taken: dict[str, list[list[float]]]) -> list[Row]:
    """Return the rows of one client."""
    rows = []
    for column, measure in enumerate(("chunks per second", "chunks per CPU second")):
        speeds, plain = ([round_[column] for round_ in taken[client]] for client in (name, "plain"))
        speed, ratio = median(speeds), median(map(truediv, speeds, plain))
        judged = name == "or_instrument" and column == 0
        target, met = (f">= {TARGET}", ratio >= TARGET) if judged else ("", None)
        rows.append(Row(name, measure, speed, "/s", ratio, target, met))
    return [*rows, Row(name, "spans a round", taken[name][-1][2], "")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000, help="open at once (default 1,000)")
    parser.add_argument("--chunks", type=int, default=20, help="of each stream (default 20)")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between chunks (default 0.05)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each client (default 7)")
    parser.add_argument("--control", action="store_true", help="a second plain client, to show the noise")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
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
        save(options.json, rows, openai=openai.__version__)


if __name__ == "__main__":
    main()
