"""The CPU seconds of overhead.py's subjects, and what each adds to the plain call by them."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from operator import truediv
from statistics import median

RECORDER, PLAIN, AGAIN = "recorder", "plain", "plain again"
SHORT_STREAM, LONG_STREAM = "stream of 200", "stream of 1,000"


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

    def plain_chunks(self) -> float:
        """Return what the SDK itself spends on the chunks that a long stream has more than a short one, in seconds."""
        return self.plain(LONG_STREAM) - self.plain(SHORT_STREAM)

    def added(self, name: str, scenario: str, start: int | None = None) -> float:
        """Return what a subject adds to the plain call, in seconds of a machine at its median speed."""
        chosen = self.starts if start is None else (start,)
        taken, plain = ([self._taken[who, scenario][one] for one in chosen] for who in (name, PLAIN))
        ratios: list[float] = [*map(truediv, chain.from_iterable(taken), chain.from_iterable(plain))]
        return (median(ratios) - 1) * self.plain(scenario)

    def noise(self, scenario: str) -> float:
        """Return what a second plain process seems to add or to save: no smaller number tells anything."""
        return abs(self.added(AGAIN, scenario))

    def multiple(self, name: str, scenario: str, start: int | None = None, of: str = RECORDER) -> float:
        """Return what a subject adds as a multiple of what the recorder adds, or another."""
        return self.added(name, scenario, start) / self.added(of, scenario, start)

    def chunk_share(self, name: str, start: int | None = None) -> float:
        """Return what a subject adds to a chunk, as a share of what the SDK itself spends on it."""
        return (self.added(name, LONG_STREAM, start) - self.added(name, SHORT_STREAM, start)) / self.plain_chunks()
