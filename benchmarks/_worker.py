"""One subject in a process of its own, driven line by line: `{"do": scenario, "calls": n}` in, a result out."""

from __future__ import annotations

import gc
import json
import sys
from collections import deque
from collections.abc import Callable
from statistics import median
from time import process_time_ns

from _canned import build_beforehand, canned_client
from _providers import Pipeline
from _subjects import build
from opentelemetry import metrics, trace

STREAM, LONG = 200, 2_200
WARM = 20


class Subject:
    """A subject, set up and warm, and the clock that times it."""

    def __init__(self, name: str) -> None:
        self._pipeline = Pipeline(name)
        client, self._canned = canned_client()
        build_beforehand(client)
        self._canned.decode_beforehand(client, STREAM, LONG)
        self._canned.allow_short_cut()
        calls = build(name, client, trace.get_tracer_provider(), metrics.get_meter_provider())
        self._open = calls.open
        self._scenarios = {
            "chat": timed(calls.chat),
            "stream": timed(calls.stream),
            "embeddings": timed(calls.embeddings),
            "large prompt": timed(calls.large),
            "request": timed(calls.request, 1_000),
            "drain": self._drain,
            "drain long": self._drain,
        }
        for scenario in self._scenarios:
            self.time(scenario, WARM)
        gc.freeze()

    def time(self, scenario: str, calls: int, budget_s: float = 0.1) -> float:
        """CPU seconds of one call: the median of `calls` of them, or of as many as the budget allows.

        What other threads of this process spend meanwhile is in it. The first two calls only warm the caches.
        """
        self._canned.chunks = LONG if scenario == "drain long" else STREAM
        self._canned.short_cut = scenario == "request"
        self._pipeline.drain()
        gc.collect()
        call = self._scenarios[scenario]
        taken: list[int] = []
        while len(taken) < calls + 2 and sum(taken) < budget_s * 1e9:
            taken.append(call())
        return median(taken[2:] or taken) / 1e9

    def _drain(self) -> int:
        """CPU nanoseconds of reading a stream to its end, its opening left out."""
        stream = self._open()
        began = process_time_ns()
        deque(stream, maxlen=0)
        return process_time_ns() - began

    def describe(self, scenario: str) -> dict[str, object]:
        """Return what one call records: spans, names of span attributes, histogram records."""
        before, spans = self._pipeline.drain(), self._pipeline.exporter.spans
        self._scenarios[scenario]()
        records = self._pipeline.drain() - before
        exporter = self._pipeline.exporter
        recorded = exporter.spans - spans
        return {"spans": recorded, "attributes": exporter.attributes if recorded else [], "records": records}


def timed(call: Callable[[], object], times: int = 1) -> Callable[[], int]:
    """Return the same call, returning the CPU nanoseconds it took; a very short one is repeated."""

    def clocked() -> int:
        began = process_time_ns()
        for _ in range(times):
            call()
        return (process_time_ns() - began) // times

    return clocked


def _answer(subject: Subject, request: dict[str, object]) -> object:
    if request["do"] == "describe":
        return subject.describe(str(request["scenario"]))
    return subject.time(str(request["do"]), int(str(request["calls"])))


def main() -> None:
    subject = Subject(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(subject, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
