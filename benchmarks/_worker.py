"""One subject in a process of its own, driven line by line: `{"scenario": name, "calls": n}` in, a result out.

Without `calls`, the result is what one call records: span attributes and metric records. With them, the CPU seconds of
one call, all threads of the process together.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from statistics import median

from _canned import answer, canned_client
from _providers import Pipeline
from _subjects import SCENARIOS, build
from opentelemetry import metrics, trace

WARM = 20
_SETTLE_S = 0.01


class Subject:
    """A subject, set up, and the clock that times it."""

    def __init__(self, name: str) -> None:
        self._pipeline = Pipeline(name)
        client, self._transport = canned_client()
        calls = build(name, client, trace.get_tracer_provider(), metrics.get_meter_provider())
        self._calls = {scenario: getattr(calls, method) for scenario, method in SCENARIOS.items()}
        self._warm: set[str] = set()

    def time(self, scenario: str, calls: int) -> float:
        """CPU seconds of one call: the median of so many."""
        self._begin(scenario)
        if scenario == "broken off":
            return self._time_dropped(scenario, calls)
        call, taken = self._calls[scenario], []
        for _ in range(calls):
            began = time.process_time_ns()
            call()
            taken.append(time.process_time_ns() - began)
        return median(taken) / 1e9

    def _time_dropped(self, scenario: str, calls: int) -> float:
        # The SDK's stream is a cycle: one that is let go of ends when the collector comes. So the mean, with that.
        call, began = self._calls[scenario], time.process_time_ns()
        for _ in range(calls):
            call()
        self._settle()
        return (time.process_time_ns() - began) / calls / 1e9

    def describe(self, scenario: str) -> dict[str, object]:
        """Return what one call records: spans, names of span attributes, metric records."""
        self._begin(scenario)
        before, spans = self._pipeline.drain(), self._pipeline.exporter.spans
        self._calls[scenario]()
        self._settle()
        records = self._pipeline.drain() - before
        exporter = self._pipeline.exporter
        recorded = exporter.spans - spans
        return {"spans": recorded, "attributes": exporter.attributes if recorded else [], "records": records}

    def _begin(self, scenario: str) -> None:
        # Each at its first request only: a peer that is not asked for the large replies may warn of every vector.
        if scenario not in self._warm:
            self._warm.add(scenario)
            self.time(scenario, 1 if scenario.startswith("10 MB") else WARM)
            gc.collect()
            gc.freeze()
        self._transport.answer = answer(scenario)
        self._pipeline.drain()
        gc.collect()

    def _settle(self) -> None:
        gc.collect()
        # What a finaliser has left to another thread is done meanwhile; to sleep costs no CPU.
        time.sleep(_SETTLE_S)


def main() -> None:
    subject = Subject(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps((subject.time if "calls" in request else subject.describe)(**request)), flush=True)


if __name__ == "__main__":
    main()
