"""Remembers which jobs have been recorded, however often they are asked after; bounded, the oldest is forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Final

_KEPT: Final = 4096


class RecordedJobs:
    """The jobs that have been recorded, up to a bound."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = Lock()

    def is_first(self, key: Hashable) -> bool:
        """Return whether a job is recorded for the first time, and remember it."""
        with self._lock:
            if key in self._seen:
                return False
            self._seen[key] = None
            if len(self._seen) > self._kept:
                self._seen.popitem(last=False)
            return True
