"""Much at once, with ends at random: as many records as calls, sums exact, and nothing kept afterwards."""

from __future__ import annotations

import gc
import importlib
import json
import random
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import anyio
import openai
import pytest
from in_memory import Telemetry

from or_instrument._calls.live import open_calls
from or_instrument.testing import Answer, FakeOpenRouter

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
CALLS = 1000


@pytest.fixture
async def mocked() -> AsyncIterator[tuple[openai.AsyncOpenAI, FakeOpenRouter]]:
    """Return an async client on a fake without sockets."""
    fake = FakeOpenRouter()
    transport = http.AsyncClient(transport=http.MockTransport(fake.handler))
    made = openai.AsyncOpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport)
    async with made as client:
        yield client, fake


async def one(client: openai.AsyncOpenAI, end: str) -> None:
    """Make a call that ends in this way."""
    if end == "reply":
        await client.chat.completions.create(**CHAT)
        return
    stream: Any = await client.chat.completions.create(**CHAT, stream=True)
    if end == "closed":
        await stream.close()
        return
    async for _ in stream:
        await anyio.sleep(0)
        if end == "abandoned":
            return


async def test_a_thousand_streams_at_once(
    mocked: tuple[openai.AsyncOpenAI, FakeOpenRouter], telemetry: Telemetry
) -> None:
    """Each of a thousand interleaved calls is recorded once, and the money adds up to the last digit."""
    client, fake = mocked
    dice = random.Random(7)  # noqa: S311 - a seeded choice
    ends = [dice.choice(("reply", "complete", "closed", "abandoned")) for _ in range(CALLS)]
    fake.default = Answer(chunks=4, cost="0.000123")
    async with anyio.create_task_group() as group:
        for end in ends:
            group.start_soon(one, client, end)
    for _ in range(3):
        gc.collect()
        await anyio.sleep(0)

    calls = telemetry.settle().calls
    expected = Counter("complete" if end == "reply" else end for end in ends)
    assert Counter(call.outcome for call in calls) == expected
    assert len({call.id for call in calls}) == CALLS == len(telemetry.spans())
    paid = [call.usage.spend_exact for call in calls if call.usage is not None]
    assert sum(filter(None, paid), Decimal(0)) == Decimal("0.000123") * expected["complete"]
    assert telemetry.total("gen_ai.client.operation.duration") > 0
    assert telemetry.total("openrouter.usage.missing") == CALLS - expected["complete"]
    assert not open_calls()


async def test_nothing_is_kept_of_a_call(mocked: tuple[openai.AsyncOpenAI, FakeOpenRouter], instrumented: Any) -> None:
    """A hundred streams more do not need more memory than the hundred before them."""
    client, fake = mocked
    instrumented(spans="off", sinks=[])

    async def hundred() -> int:
        fake.default = Answer(chunks=20)
        for number in range(100):
            await one(client, ("complete", "closed", "reply", "abandoned")[number % 4])
        fake.reset()  # its books keep every call
        for _ in range(3):
            gc.collect()
            await anyio.sleep(0)
        return tracemalloc.get_traced_memory()[0]

    await hundred()
    tracemalloc.start()
    try:
        before = await hundred()
        after = await hundred()
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024


def held_by_a_stream(length: int) -> float:
    """Return the bytes of an open stream after a few events of so many bytes, each a new object as from a socket."""
    chunk = {"id": "gen-1", "model": "m", "choices": [{"index": 0, "delta": {"content": "x" * (length - 90)}}]}
    event = b"data: %b\n\n" % json.dumps(chunk).encode()
    assert len(event) == length

    class Events(http.SyncByteStream):  # type: ignore[name-defined, misc]
        def __iter__(self) -> Iterator[bytes]:
            return map(bytes, [memoryview(event)] * 10)

    own = http.Client(transport=http.MockTransport(lambda _: http.Response(200, stream=Events())), trust_env=False)
    client = openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=own)

    def opened() -> tuple[Any, Any]:
        stream: Any = client.chat.completions.create(**CHAT, stream=True)
        return stream, [next(stream) for _ in range(5)][-1]

    # What classes and caches grow by at first is no stream's: a class shares the keys of its first objects alone.
    for _ in range(50):
        opened()[0].close()
    gc.collect()
    tracemalloc.start()
    try:
        streams = [opened() for _ in range(50)]
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for stream, _ in streams:
        stream.close()
    return held / len(streams)


@pytest.mark.parametrize("length", [250, 640, 3000])
def test_an_open_stream_holds_little(length: int, instrumented: Any) -> None:
    """An open stream holds at most 4 KiB more than without us, whatever the size of its events."""
    plain = held_by_a_stream(length)
    instrumented(spans="off", sinks=[])

    assert held_by_a_stream(length) - plain <= 4096


async def test_a_long_stream_needs_constant_memory(
    mocked: tuple[openai.AsyncOpenAI, FakeOpenRouter], telemetry: Telemetry
) -> None:
    """Of five thousand chunks of a kilobyte no more than a few are kept."""
    client, fake = mocked
    chunk = {"id": "gen-1", "model": "m", "choices": [{"index": 0, "delta": {"content": "x" * 1000}}]}
    fake.default = Answer(events=[chunk] * 5000)
    stream: Any = await client.chat.completions.create(**CHAT, stream=True)
    first, peak = 0, 0
    tracemalloc.start()
    try:
        for number in range(5000):
            await stream.__anext__()
            if number % 1000 == 500:
                now = tracemalloc.get_traced_memory()[0]
                first = first or now
                peak = max(peak, now - first)
        await stream.close()
    finally:
        tracemalloc.stop()

    assert peak < 256 * 1024
    assert [call.outcome for call in telemetry.calls] == ["closed"]
