"""Facts about the shield: one log line per cause, and no secrets in it."""

from __future__ import annotations

import logging

import pytest

from or_instrument._calls import shield as _shield
from or_instrument._calls.shield import report
from or_instrument._errors import LookupFailed

SECRET = "the prompt was: SECRET"  # noqa: S105 - stands for a prompt


@pytest.fixture(autouse=True)
def _unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with nothing reported."""
    monkeypatch.setattr(_shield, "_reported", set())


def raised(error: Exception) -> Exception:
    """Return the exception with a traceback of two frames."""

    def inner() -> None:
        raise error

    try:
        inner()
    except Exception as exc:  # noqa: BLE001 - any is wanted
        return exc
    raise AssertionError


def test_a_failure_is_one_warning_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """The text of an exception may quote the prompt."""
    report("reading a reply", raised(ValueError(SECRET)))
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "or_instrument")
    assert record.getMessage().startswith("reading a reply failed with ValueError; the call itself is unaffected")
    assert "SECRET" not in caplog.text
    assert record.exc_info is None


def test_why_a_look_up_failed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A key that is wrong is told from a service that is down; what a failed look-up says of it is our own text."""
    report("reading the account", LookupFailed("GET /key", 1, "HTTP 401"))
    assert "failed with LookupFailed (GET /key was asked once; the last answer was HTTP 401.); the" in caplog.text


def test_the_record_tells_where_it_was_raised(caplog: pytest.LogCaptureFixture) -> None:
    """The innermost frame's file and line, for whoever reports it to us."""
    exc = raised(ValueError(SECRET))
    report("reading a reply", exc)
    assert exc.__traceback__ is not None
    assert exc.__traceback__.tb_next is not None
    assert caplog.records[0].where == f"{__file__}:{exc.__traceback__.tb_next.tb_lineno}"  # type: ignore[attr-defined]


def test_an_exception_that_was_never_raised_is_of_unknown_place(caplog: pytest.LogCaptureFixture) -> None:
    """It has no traceback, and is reported still."""
    report("reading a reply", ValueError())
    assert caplog.records[0].where == "unknown"  # type: ignore[attr-defined]


def test_the_same_cause_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A broken sink at a thousand calls a second floods no log."""
    for _ in range(3):
        report("the sink f", raised(ValueError(SECRET)))
    assert len(caplog.records) == 1


def test_another_place_or_kind_is_another_cause(caplog: pytest.LogCaptureFixture) -> None:
    """Both are told."""
    report("the sink f", ValueError())
    report("the sink f", KeyError())
    report("the sink g", ValueError())
    assert len(caplog.records) == 3


def test_the_causes_remembered_are_bounded(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sinks made anew for each request grow neither memory nor the log."""
    monkeypatch.setattr(_shield, "_CAUSES_LIMIT", 4)
    for number in range(20):
        report(f"the sink {number}", ValueError())
    assert len(caplog.records) == len(_shield._reported) == 4
