"""The shields: a failure of ours is one log line, and the call goes through."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

import or_instrument
from or_instrument._calls import shield as _shield
from or_instrument._calls.live import open_calls
from or_instrument._calls.reaper import Reaper
from or_instrument.testing import Answer, FakeOpenRouter, errors

HELLO: Any = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}


def _fail(*_args: object, **_options: object) -> Any:
    raise RuntimeError("a bug of ours")


@pytest.fixture(autouse=True)
def _fresh_log() -> Iterator[None]:
    """Each cause is logged once a process; here each test is the first."""
    _shield._reported.clear()
    yield
    _shield._reported.clear()


@pytest.mark.parametrize(
    ("broken", "recorded"),
    [
        ("or_instrument._calls.observer.describe", 0),
        ("or_instrument._clients.openai_sdk.with_changes", 1),
        ("or_instrument._calls.exchange.read_headers", 1),
        ("or_instrument._calls.reader.parse_body", 1),
        ("or_instrument._openrouter.fold.Fold.reply", 1),
    ],
)
def test_a_bug_of_ours_leaves_the_call_alone(
    broken: str,
    recorded: int,
    telemetry: Any,
    client: openai.OpenAI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wherever we fail, the caller has the reply, the log has one line without its text, and no call counts twice."""
    monkeypatch.setattr(broken, _fail)

    with caplog.at_level(logging.WARNING, "or_instrument"):
        assert client.chat.completions.create(**HELLO).choices[0].message.content
    monkeypatch.undo()

    telemetry.settle()
    assert len(telemetry.calls) == len(telemetry.spans()) == recorded
    assert "RuntimeError" in caplog.text
    assert "a bug of ours" not in caplog.text


def test_a_bug_of_ours_leaves_a_raw_response_alone(
    telemetry: Any, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raw response is handed on even where we cannot look at it."""
    monkeypatch.setattr("or_instrument._calls.exchange.body_of", _fail)

    raw = client.chat.completions.with_raw_response.create(**HELLO)

    assert raw.parse().choices
    monkeypatch.undo()
    del raw
    assert len(telemetry.settle().calls) == 1


def test_a_bug_of_ours_leaves_the_exception_alone(
    fake: FakeOpenRouter, telemetry: Any, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has the SDK's exception even where we cannot read it, and the call is recorded."""
    fake.script(errors.rate_limit())
    monkeypatch.setattr("or_instrument._calls.exchange.failure_of_exception", _fail)

    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**HELLO)

    assert len(telemetry.settle().calls) == 1


def test_a_bug_in_looking_for_their_span_leaves_the_call_alone(
    instrumented: Callable[..., Any], client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another instrumentation's span cannot be looked for, the call is recorded all the same."""
    monkeypatch.setattr("or_instrument._telemetry.enrich.Enricher.look_inside", _fail)
    telemetry = instrumented(spans="enrich")

    client.chat.completions.create(**HELLO)

    assert len(telemetry.calls) == 1


def test_with_nobody_to_tell_a_call_is_not_touched(
    fake: FakeOpenRouter, instrumented: Callable[..., Any], client: openai.OpenAI
) -> None:
    """With spans, metrics and sinks off, nothing is done to a call, until a tracker asks."""
    instrumented(spans="off", metrics=False, sinks=[])

    client.chat.completions.create(**HELLO)
    with or_instrument.track() as cost:
        client.chat.completions.create(**HELLO)

    assert ["usage" in request.json for request in fake.requests if isinstance(request.json, dict)] == [False, True]
    assert (cost.calls, cost.total_usd) == (1, fake.charged_usd / 2)


def test_a_call_that_is_interrupted_before_it_is_sent_is_none(
    instrumented: Callable[..., Any], client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that comes while its span is started is the user's, and nothing stays open."""

    def interrupt(*_args: object, **_options: object) -> Any:
        raise KeyboardInterrupt

    telemetry = instrumented()
    monkeypatch.setattr("or_instrument._telemetry.span.start_attributes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.chat.completions.create(**HELLO)
    monkeypatch.undo()
    assert not telemetry.settle().calls
    assert not open_calls()


def test_a_call_that_is_one_by_its_answer_alone_needs_no_span(
    instrumented: Callable[..., Any],
) -> None:
    """With spans and metrics off, a path that is not known is recorded by its cost all the same."""
    answer = {"id": "gen-1", "usage": {"cost": 0.5}}
    telemetry = instrumented(spans="off", metrics=False)
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))) as http:
        http.post("https://openrouter.ai/api/v1/something/new", json={})
    assert [call.spend for call in telemetry.settle().calls] == [0.5]


def test_what_waits_for_the_reaper_is_known() -> None:
    """So that an exit need not wait for nothing."""
    reaper = Reaper()
    assert not reaper.is_waited_for
    reaper.defer(SimpleNamespace(settle=lambda: None))
    assert reaper.is_waited_for
    reaper.drain()
    assert not reaper.is_waited_for


def test_a_ledger_and_a_lookup_are_both_told_what_was_sent(fake: FakeOpenRouter, tmp_path: Path) -> None:
    """The one notes whose key it was, the other asks with it."""
    calls: list[or_instrument.Call] = []
    or_instrument.instrument(
        hosts=["127.0.0.1"], ledger=tmp_path / "costs.db", lookup="missing", sinks=[calls.append], spans="off"
    )
    fake.script(Answer(chunks=["a", "b"], cost=0.5))
    with httpx.Client(headers={"authorization": "Bearer sk-or-sent"}) as http:
        body = {"model": "a/b", "messages": [{"role": "user", "content": "x"}], "stream": True}
        with http.stream("POST", f"{fake.base_url}/chat/completions", json=body) as response:
            next(response.iter_lines())
    assert or_instrument.flush()
    assert [(call.outcome, call.spend) for call in calls] == [("closed", None), ("closed", 0.5)]
    with closing(sqlite3.connect(tmp_path / "costs.db")) as ledger:
        (hashed,) = ledger.execute("SELECT api_key_hash FROM calls").fetchone()
    assert hashed == sha256(b"sk-or-sent").hexdigest()
