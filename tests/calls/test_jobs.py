"""Which jobs have been recorded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from or_instrument._calls.jobs import Poll, RecordedJobs


def test_a_job_is_recorded_once_and_the_oldest_is_forgotten() -> None:
    """What is remembered is bounded."""
    jobs = RecordedJobs(kept=2)
    assert [jobs.is_first(job) for job in ("a", "a", "b", "c", "b", "a")] == [True, False, True, True, False, True]


def test_a_poll_shows_the_job_to_who_captures_content() -> None:
    """And returns what that has made of it; without one there is none."""
    seen: list[object] = []
    captures: Any = SimpleNamespace(see=seen.append, content=lambda call: ("content of", call))
    poll, call, job = Poll(captures), object(), {"status": "completed"}
    poll.see(job)
    assert (seen, poll.content(call)) == ([job], ("content of", call))  # type: ignore[arg-type, comparison-overlap]
    assert Poll(None).content(call) is None  # type: ignore[arg-type]
