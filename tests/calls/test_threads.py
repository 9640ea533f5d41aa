"""Calls from many threads, with ends at random, while we are switched on and off."""

from __future__ import annotations

import importlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest
from in_memory import Telemetry

import or_instrument
from or_instrument._calls.flight import Flight
from or_instrument._calls.live import open_calls
from or_instrument._records import Call, Request
from or_instrument.testing import Answer, FakeOpenRouter

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
THREADS, ROUNDS = 32, 8


@pytest.fixture
def mocked() -> Iterator[tuple[openai.OpenAI, FakeOpenRouter]]:
    """Return a client on a fake without sockets."""
    fake = FakeOpenRouter()
    transport = http.Client(transport=http.MockTransport(fake.handler))
    with openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport) as client:
        yield client, fake


def one(client: openai.OpenAI, end: str) -> None:
    """Make a call that ends in this way."""
    if end == "reply":
        client.chat.completions.create(**CHAT)
        return
    stream: Any = client.chat.completions.create(**CHAT, stream=True)
    if end == "closed":
        stream.close()
        return
    for _ in stream:
        if end == "abandoned":
            return


def test_many_threads(mocked: tuple[openai.OpenAI, FakeOpenRouter], telemetry: Telemetry) -> None:
    """Each call of 32 threads is recorded once, and the money adds up to the last digit."""
    client, fake = mocked
    fake.default = Answer(chunks=4, cost="0.000123")
    dice = random.Random(11)  # noqa: S311 - a seeded choice
    ends = [dice.choice(("reply", "complete", "closed", "abandoned")) for _ in range(THREADS * ROUNDS)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda end: one(client, end), ends))

    calls = telemetry.settle().calls
    expected = Counter("complete" if end == "reply" else end for end in ends)
    assert Counter(call.outcome for call in calls) == expected
    assert len({call.id for call in calls}) == len(ends)
    paid = [call.usage.spend_exact for call in calls if call.usage is not None]
    assert sum(filter(None, paid), Decimal(0)) == Decimal("0.000123") * expected["complete"]
    assert not open_calls()


def test_ends_that_race(telemetry: Telemetry) -> None:
    """Of many threads that end one call at the same moment, one wins."""
    del telemetry
    for _ in range(50):
        calls: list[Call] = []
        flight = Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443, stream=True), [calls.append])
        start = threading.Barrier(8)

        def end(outcome: Any, flight: Flight = flight, start: threading.Barrier = start) -> None:
            start.wait()
            (flight.put_off if outcome == "abandoned" else flight.finish)(outcome)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(end, ("complete", "closed", "abandoned", "cancelled") * 2))
        or_instrument.flush()
        assert len(calls) == 1


def test_switched_on_and_off_meanwhile(
    mocked: tuple[openai.OpenAI, FakeOpenRouter], instrumented: Callable[..., Telemetry]
) -> None:
    """Calls made while we come and go all succeed; none is recorded twice."""
    client, fake = mocked
    calls: list[Call] = []
    stop = threading.Event()

    def toggle() -> None:
        while not stop.is_set():
            or_instrument.uninstrument()
            or_instrument.instrument(sinks=[calls.append], spans="off", metrics=False)

    instrumented()
    with ThreadPoolExecutor(9) as pool:
        toggling = pool.submit(toggle)
        try:
            list(pool.map(lambda end: one(client, end), ("reply", "complete") * 40))
        finally:
            stop.set()  # else a call that fails is waited for by the pool for ever
        toggling.result(60)

    assert len(fake.requests) == 80
    assert len({call.id for call in calls}) == len(calls) <= 80
