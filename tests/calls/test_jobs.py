"""Which jobs have been recorded."""

from __future__ import annotations

from or_instrument._calls.jobs import RecordedJobs


def test_a_job_is_recorded_once_and_the_oldest_is_forgotten() -> None:
    """What is remembered is bounded."""
    jobs = RecordedJobs(kept=2)
    assert [jobs.is_first(job) for job in ("a", "a", "b", "c", "b", "a")] == [True, False, True, True, False, True]
