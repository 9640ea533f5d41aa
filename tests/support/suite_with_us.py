"""A pytest plugin for the test suites of the HTTP clients themselves: every request of theirs is watched as a call.

`nox -s suites` runs them with it, and without us. Which tests have passed is written to a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

import or_instrument
from or_instrument._calls import observer

IS_ON: Final = os.environ["OR_INSTRUMENT_TESTS_SUITE"] == "with"
PASSED: Final = Path(os.environ["OR_INSTRUMENT_TESTS_PASSED"])
HOSTS: Final = ("127.0.0.1", "localhost", "example.com", "example.org", "testserver")
"""Of their test servers and mock transports."""

_passed: list[str] = []
_calls: list[or_instrument.Call] = []


def pytest_configure() -> None:
    """Switch on, and take every request for a chat: their suites know no paths of OpenRouter's."""
    if not IS_ON:
        return
    see: Any = observer.Observer.see

    def see_all(self: Any, endpoint: Any, _method: str, *rest: Any, **options: Any) -> Any:
        return see(self, endpoint, "POST", *rest, **options)

    observer.Observer.see = see_all  # type: ignore[method-assign]
    observer.operation_of = lambda _url: "chat"  # type: ignore[attr-defined]
    or_instrument.instrument(hosts=HOSTS, sinks=[_calls.append])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what has passed."""
    if report.when == "call" and report.passed:
        _passed.append(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write it down; with us on, something must have been recorded."""
    or_instrument.flush()
    assert _calls or not IS_ON
    PASSED.write_text("\n".join(_passed))
