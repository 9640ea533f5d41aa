"""A limit stops the first call after it is reached, before it is sent; nothing else is disturbed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, localcontext
from typing import Any

import httpx
import openai
import pytest

from or_instrument import BudgetExceeded, Call, ConfigError, Reply, Request, Usage, track
from or_instrument.testing import Answer, FakeOpenRouter

ASK: Any = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.usefixtures("telemetry")
def test_the_call_after_the_limit_is_not_sent(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Calls go on until the limit is reached; the next raises what was spent and the limit, and is not sent."""
    fake.default = Answer(cost=0.1)
    with track("report", limit_usd=0.2) as cost:
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
        with pytest.raises(
            BudgetExceeded, match=r"track\('report'\) has spent 0.2 USD of its limit of 0.2 USD"
        ) as told:
            client.chat.completions.create(**ASK)
    assert (told.value.spent_usd, told.value.limit_usd) == (Decimal("0.2"), Decimal("0.2"))
    assert (len(fake.requests), cost.calls) == (2, 2)


def test_a_refused_call_leaves_no_record(telemetry: Any, client: openai.OpenAI) -> None:
    """A call that was not sent is no call: no span, no metric, no record."""
    with track(limit_usd=0), pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
    client.chat.completions.create(**ASK)
    assert (len(telemetry.spans()), len(telemetry.calls)) == (1, 1)


@pytest.mark.anyio
@pytest.mark.usefixtures("telemetry")
async def test_async_calls_are_stopped_too(fake: FakeOpenRouter, aclient: openai.AsyncOpenAI) -> None:
    """An async call beyond the limit raises when it is awaited, also a streamed one."""
    with track(limit_usd="0"):
        with pytest.raises(BudgetExceeded):
            await aclient.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded):
            await aclient.chat.completions.create(**ASK, stream=True)
    assert fake.requests == []


@pytest.mark.usefixtures("telemetry")
def test_no_job_is_begun_beyond_the_limit(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A batch or video is billed when it is done; those that are under way are still asked after, and cancelled."""
    video = f"{fake.base_url}/videos"
    with track(limit_usd=0):
        with pytest.raises(BudgetExceeded):
            client.batches.create(input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h")
        with pytest.raises(BudgetExceeded):
            httpx.post(f"{video}/?test=1", json={"model": "a/model", "prompt": "a cat"})
        assert fake.requests == []
        assert [httpx.get(f"{video}/job-1").status_code, httpx.post(f"{video}/job-1/cancel").status_code] == [404, 404]


@pytest.mark.usefixtures("telemetry")
def test_an_outer_limit_holds_inside(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """What is spent in an inner block counts against the outer limit, and stops calls in both."""
    fake.default = Answer(cost=1)
    with track("outer", limit_usd=1):
        with track("inner", limit_usd=5):
            client.chat.completions.create(**ASK)
            with pytest.raises(BudgetExceeded, match="'outer'"):
                client.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded, match="'outer'"):
            client.chat.completions.create(**ASK)
    client.chat.completions.create(**ASK)


@pytest.mark.usefixtures("telemetry")
def test_calls_under_way_are_finished(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Concurrent calls that began below the limit all finish; the overshoot is what was under way."""
    gate = threading.Event()
    fake.script(*(Answer(cost=1, gate=gate) for _ in range(3)))
    with track(limit_usd=1) as cost:

        def ask() -> None:
            with cost:
                client.chat.completions.create(**ASK)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        fake.wait_for(lambda: len(fake.requests) == 3)
        gate.set()
        for thread in threads:
            thread.join()
        assert (cost.total_usd, cost.calls) == (3, 3)
        with pytest.raises(BudgetExceeded):
            client.chat.completions.create(**ASK)


def test_a_limit_is_no_limit_elsewhere(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """Calls that the tracker does not see are not stopped by it: those to other hosts, and those that cost nothing."""
    instrumented(hosts=["openrouter.ai", "*"])
    with track(limit_usd=0):
        client.chat.completions.create(**ASK)
        client.models.list()


@pytest.mark.parametrize("limit", [-1, -0.01, float("nan"), float("inf"), "soon", "", True, [1]])
def test_a_limit_that_is_no_amount_is_refused(limit: Any) -> None:
    """A negative limit, NaN, infinity and what is no number are a ConfigError that names the value."""
    with pytest.raises(ConfigError, match=r"limit_usd=.* is not allowed; allowed: an amount of USD from 0"):
        track(limit_usd=limit)


def test_a_limit_is_exact() -> None:
    """A float limit means the digits that were written."""
    assert track(limit_usd=0.1).limit_usd == Decimal("0.1")


def test_what_is_held_is_added_exactly() -> None:
    """Whatever precision and traps the application has set for itself: it neither raises nor stops a call too early."""
    usage = Usage(cost=0.0951, is_byok=False)
    held = Call(1, Request("chat", "openrouter", "a/model", "h", 443), Reply(usage=usage), "complete", 0, 1.0)
    tracker = track(limit_usd="0.0952")
    tracker.hold(held)
    tracker.hold(held._replace(id=2, reply=Reply(usage=usage._replace(cost=0.00000001))))
    with localcontext(Context(prec=1, traps=[Inexact])):
        tracker.check_budget()
