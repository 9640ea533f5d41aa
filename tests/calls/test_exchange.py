"""How an odd answer comes back: the call ends once, and a failure of ours is one log line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from or_instrument import Call, Request
from or_instrument._calls import shield as _shield
from or_instrument._calls.exchange import Exchange
from or_instrument._calls.flight import Flight


@pytest.fixture(autouse=True)
def _fresh_log() -> Iterator[None]:
    """Each cause is logged once a process; here each test is the first."""
    _shield._reported.clear()
    yield
    _shield._reported.clear()


def flown(stream: bool = False) -> tuple[Flight, list[Call]]:
    """Return a flight, and where its call goes."""
    calls: list[Call] = []
    return Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443, stream=stream), [calls.append]), calls


def response(status: int = 200, **more: Any) -> Any:
    """Return what is like a response of httpx."""
    sent = SimpleNamespace(headers={"authorization": "Bearer k"}, url="https://a")
    return SimpleNamespace(status_code=status, headers={}, content=b"{}", request=sent, **more)


def test_who_is_told_what_was_sent_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """The call is recorded all the same."""

    def fail(_headers: object, _url: object) -> None:
        raise ZeroDivisionError

    flight, calls = flown()
    with caplog.at_level(logging.WARNING, "or_instrument"):
        Exchange(flight, None, [Mock(sent=fail)]).answered(response())
    assert [call.outcome for call in calls] == ["complete"]
    assert "ZeroDivisionError" in caplog.text


def test_who_is_told_what_was_sent_gets_the_headers_and_the_url() -> None:
    """Those of the request: of aiohttp's under another name."""
    told: list[Any] = []
    sink: Any = Mock(sent=lambda *sent: told.append(sent))
    flight, _ = flown()
    Exchange(flight, None, [sink]).answered(response())
    flight, _ = flown()
    info = SimpleNamespace(headers={"x-api-key": "a"}, url="https://b")
    of_aiohttp = SimpleNamespace(request_info=info)
    Exchange(flight, None, [sink]).answered(of_aiohttp, lambda _: (200, {}, b"{}", Mock()))
    assert told == [({"authorization": "Bearer k"}, "https://a"), ({"x-api-key": "a"}, "https://b")]


def test_a_refusal_that_nobody_has_read_is_told_by_its_status() -> None:
    """Its body is the user's to read."""

    class Unread:
        def __init__(self) -> None:
            self.status_code, self.headers = 429, dict[str, str]()

        @property
        def content(self) -> bytes:
            raise RuntimeError("not read")

    class RefusedError(Exception):
        response = Unread()
        status_code = 429

    flight, calls = flown()
    Exchange(flight).raised(RefusedError())
    (call,) = calls
    assert (call.outcome, call.reply.status_code) == ("error", 429)


def test_a_failure_of_ours_at_an_exception_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has the exception; the call is an error, of which nothing more is known."""

    def fail(*_args: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("or_instrument._calls.exchange.failure_of_exception", fail)
    flight, calls = flown()
    with caplog.at_level(logging.WARNING, "or_instrument"):
        Exchange(flight).raised(ValueError())
    assert [call.outcome for call in calls] == ["error"]
    assert "observing an exception" in caplog.text


def test_a_flight_that_is_part_of_another_is_dropped_with_what_watches_it() -> None:
    """It is no call, and its hooks are taken off."""
    flight, calls = flown()
    taken_off: list[bool] = []
    flight.on_end = lambda: taken_off.append(True)
    flight.drop()
    flight.drop()
    flight.finish("complete")
    assert (taken_off, calls) == ([True], [])


def test_an_abandoned_stream_that_was_cut_off_is_an_error() -> None:
    """What cut it off is known, though nobody has told it."""
    flight, calls = flown(stream=True)
    flight.cut = SimpleNamespace(type="httpx.ReadError", code=None, status_code=None, retry_after=None)  # type: ignore[assignment]
    flight.finish("abandoned")
    (call,) = calls
    assert (call.outcome, call.failure and call.failure.type) == ("error", "httpx.ReadError")
