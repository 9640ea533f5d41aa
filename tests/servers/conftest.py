"""Leaves to the sessions `servers` and `soak` what takes minutes."""

import os

import pytest

pytest.register_assert_rewrite("books")

collect_ignore = [
    *([] if os.environ.get("ALL_SERVERS") else ["test_jobs.py"]),
    *([] if os.environ.get("SOAK_CALLS") else ["test_soak.py"]),
]
