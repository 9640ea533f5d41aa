"""Every way in which an async call or stream can end, on asyncio and trio: one record, with the right outcome."""

# ruff: noqa: D103, PT012 - the small ones' names say what they do; fixtures are arguments
from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

import anyio
import anyio.to_thread
import openai
import pytest
from in_memory import Telemetry
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from or_instrument.testing import Answer, FakeOpenRouter, errors

pytestmark = [
    pytest.mark.anyio,
    # On trio the SDK itself leaves generators unfinished, which warns; a generator of ours in their place does too.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = Answer(chunks=6, cost=0.5)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every test on both event loops."""
    return str(request.param)


@pytest.fixture
def on_asyncio(anyio_backend: str) -> bool:
    """Return whether the loop is asyncio's, for what only it has."""
    return anyio_backend == "asyncio"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody complains: neither we, nor OpenTelemetry of a token of another context, nor the loop of our generator."""
    yield
    complaints = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    theirs = re.compile(r"Exception ignored during finalization of async generator '(?!or_instrument)")
    assert [text for text in complaints if not theirs.match(text)] == []


async def opened(client: openai.AsyncOpenAI) -> Any:
    """Return a stream just begun."""
    return await client.chat.completions.create(stream=True, **CHAT)


async def drained(stream: Any) -> None:
    assert len([chunk async for chunk in stream]) > 5


async def drained_by_next(stream: Any) -> None:
    with suppress(StopAsyncIteration):
        while True:
            await stream.__anext__()


async def drained_then_closed(stream: Any) -> None:
    await drained(stream)
    await stream.close()


async def closed(stream: Any) -> None:
    await stream.__anext__()
    await stream.close()


async def closed_twice(stream: Any) -> None:
    await closed(stream)
    await stream.close()


async def closed_then_drained(stream: Any) -> None:
    await closed(stream)
    with suppress(openai.APIError, http.HTTPError, http.StreamError, anyio.ClosedResourceError):
        [chunk async for chunk in stream]


async def closed_unread(stream: Any) -> None:
    await stream.close()


async def response_closed(stream: Any) -> None:
    await stream.__anext__()
    await stream.response.aclose()


async def with_break(stream: Any) -> None:
    async with stream:
        async for _ in stream:
            break


async def with_error(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stream:
            async for _ in stream:
                raise ZeroDivisionError


async def with_cancelled_body(stream: Any) -> None:
    with anyio.CancelScope() as scope:
        async with stream:
            async for _ in stream:
                scope.cancel()
                await anyio.sleep(0)


async def dropped_after_break(stream: Any) -> None:
    async for _ in stream:
        break


async def dropped_unread(stream: Any) -> None:
    assert stream.response.status_code == 200


async def dropped_after_an_error(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in stream:
            raise ZeroDivisionError


async def dropped_after_a_cancelled_body(stream: Any) -> None:
    with anyio.CancelScope() as scope:
        async for _ in stream:
            scope.cancel()
            await anyio.sleep(0)


async def iterator_closed(stream: Any) -> None:
    async with aclosing(stream.__aiter__()) as iterator:
        await iterator.__anext__()


async def with_in_a_generator(stream: Any) -> None:
    async def proxied() -> AsyncIterator[Any]:
        async with stream:
            async for chunk in stream:
                yield chunk

    async with aclosing(proxied()) as generator:
        await generator.__anext__()


COMPLETE = (drained, drained_by_next, drained_then_closed)
CLOSED = (closed, closed_twice, closed_then_drained, closed_unread, response_closed, with_break, with_error)
DROPPED = (dropped_after_break, dropped_unread, dropped_after_an_error, dropped_after_a_cancelled_body)
ENDINGS = [
    *((end, "complete") for end in COMPLETE),
    *((end, "closed") for end in (*CLOSED, with_cancelled_body, with_in_a_generator)),
    *((end, "abandoned") for end in (*DROPPED, iterator_closed)),
]


async def collected() -> None:
    """Collect what was dropped, and let the loop close its generators."""
    for _ in range(3):
        gc.collect()
        await anyio.sleep(0)


@pytest.mark.parametrize(("end", "outcome"), ENDINGS)
async def test_the_users_way_to_end_a_stream(
    end: Callable[[Any], Awaitable[None]],
    outcome: str,
    fake: FakeOpenRouter,
    aclient: openai.AsyncOpenAI,
    telemetry: Telemetry,
) -> None:
    """Whatever the user does with a stream is one record, no error, and counted as missing where its usage is."""
    fake.default = ANSWER
    await end(await opened(aclient))
    at_once = len(telemetry.calls)
    await collected()
    (call,) = telemetry.settle().calls

    assert (call.outcome, call.failure) == (outcome, None)
    # What a generator does while it is destroyed may be a finaliser's doing, and is recorded a little later.
    assert at_once or outcome == "abandoned" or end is with_in_a_generator
    (span,) = telemetry.spans()
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["openrouter.stream.outcome"] == outcome
    assert call.spend == (0.5 if outcome == "complete" else None)
    assert telemetry.total("openrouter.usage.missing", openrouter__missing__reason=outcome) == (outcome != "complete")
    assert telemetry.total("gen_ai.usage.cost") == (0.5 if outcome == "complete" else 0)


@pytest.fixture
def held(fake: FakeOpenRouter) -> Iterator[threading.Event]:
    """Hold every stream after its second chunk, until the event is set; it is set in the end."""
    gate = threading.Event()
    fake.default = Answer(chunks=6, cost=0.5, hold_after=2, gate=gate)
    yield gate
    gate.set()


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelled_in_flight(
    stream: bool, fake: FakeOpenRouter, aclient: openai.AsyncOpenAI, telemetry: Telemetry, on_asyncio: bool
) -> None:
    """A call cancelled before its reply is an error with the exception's class name, like any other."""
    gate = threading.Event()
    fake.default = Answer(gate=gate)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: aclient.chat.completions.create(stream=stream, **CHAT))
        await anyio.to_thread.run_sync(fake.wait_for, lambda: bool(fake.requests))
        group.cancel_scope.cancel()
    gate.set()

    (call,) = telemetry.calls
    assert call.outcome == "error"
    assert call.failure is not None
    assert call.failure.type == ("asyncio.exceptions.CancelledError" if on_asyncio else "trio.Cancelled")
    assert telemetry.spans()[0].status.status_code is StatusCode.ERROR
    assert telemetry.settle().calls == [call]


@pytest.mark.parametrize("how", ["scope", "sibling", "timeout"])
@pytest.mark.usefixtures("held")
async def test_cancelled_while_reading(how: str, aclient: openai.AsyncOpenAI, telemetry: Telemetry) -> None:
    """A read that is cancelled, in whatever way, ends the stream as cancelled, which is no error."""
    reading = anyio.Event()

    async def read(until: anyio.CancelScope | None = None) -> None:
        stream = await opened(aclient)
        for _ in range(2):
            await stream.__anext__()
        reading.set()
        if until:
            until.deadline = anyio.current_time()
        await stream.__anext__()

    async def fail() -> None:
        await reading.wait()
        await anyio.wait_all_tasks_blocked()
        raise ZeroDivisionError

    if how == "timeout":
        with pytest.raises(TimeoutError), anyio.fail_after(600) as scope:
            await read(scope)
    elif how == "scope":
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await reading.wait()
            group.cancel_scope.cancel()
    else:
        with pytest.raises(Exception, match=r"TaskGroup|Trio nursery"):
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                group.start_soon(fail)

    (call,) = telemetry.settle().calls
    assert (call.outcome, call.failure, call.missing) == ("cancelled", None, "cancelled")
    assert telemetry.spans()[0].status.status_code is StatusCode.UNSET


@pytest.mark.usefixtures("held")
async def test_asyncio_wait_for(aclient: openai.AsyncOpenAI, telemetry: Telemetry, on_asyncio: bool) -> None:
    """`wait_for` around one read that times out cancels the stream."""
    if on_asyncio:
        stream = await opened(aclient)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(drained(stream), 0.3)
        assert [call.outcome for call in telemetry.settle().calls] == ["cancelled"]


async def test_asyncio_gather(
    fake: FakeOpenRouter, aclient: openai.AsyncOpenAI, telemetry: Telemetry, on_asyncio: bool
) -> None:
    """Of streams gathered, each is recorded once, whichever fails."""
    if on_asyncio:
        fake.script(ANSWER, errors.server_error(), Answer(chunks=6, abort_after=2))

        async def run() -> None:
            await drained(await opened(aclient))

        await asyncio.gather(run(), run(), run(), return_exceptions=True)
        outcomes = sorted(call.outcome for call in telemetry.settle().calls)
        assert outcomes == ["complete", "error", "error"]


async def test_closed_by_another_task_while_a_read_waits(
    held: threading.Event, aclient: openai.AsyncOpenAI, telemetry: Telemetry
) -> None:
    """A read that fails because the user closed the stream is no error."""
    stream = await opened(aclient)
    await stream.__anext__()

    async def read() -> None:
        with suppress(Exception):
            await drained(stream)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await stream.close()
        held.set()

    (call,) = telemetry.settle().calls
    assert (call.outcome, call.failure) == ("closed", None)


async def test_two_readers_of_one_stream(
    held: threading.Event, aclient: openai.AsyncOpenAI, telemetry: Telemetry
) -> None:
    """The second reader gets Python's own error, the first one its chunks; the stream is recorded once."""
    stream = await opened(aclient)
    for _ in range(2):
        await stream.__anext__()
    async with anyio.create_task_group() as group:
        group.start_soon(drained_by_next, stream)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="already running"):
            await stream.__anext__()
        held.set()

    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]


async def test_a_stream_handed_to_another_task(
    fake: FakeOpenRouter, aclient: openai.AsyncOpenAI, telemetry: Telemetry
) -> None:
    """A stream begun in one task and drained in another is one complete record."""
    fake.default = ANSWER
    stream = await opened(aclient)
    async with anyio.create_task_group() as group:
        group.start_soon(drained, stream)

    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]


async def test_a_connection_that_fails_in_a_stream(
    fake: FakeOpenRouter, aclient: openai.AsyncOpenAI, telemetry: Telemetry
) -> None:
    """A stream that breaks is an error with the exception's class name."""
    fake.default = Answer(chunks=6, abort_after=2)
    with pytest.raises(Exception, match=r".") as caught:
        await drained(await opened(aclient))

    (call,) = telemetry.calls
    kind = type(caught.value)
    assert (call.outcome, call.missing) == ("error", "error")
    assert call.failure is not None
    assert call.failure.type == f"{kind.__module__}.{kind.__qualname__}"


def hanging() -> openai.AsyncOpenAI:
    """Return a client whose transport never answers."""

    async def handler(_request: Any) -> Any:
        await anyio.sleep_forever()

    transport = http.AsyncClient(transport=http.MockTransport(handler))
    return openai.AsyncOpenAI(
        api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport, max_retries=0
    )


async def test_a_coroutine_destroyed_in_flight(telemetry: Telemetry, on_asyncio: bool) -> None:
    """A call whose coroutine is closed while it waits is recorded once, later, and leaves no span current."""
    if on_asyncio:
        async with hanging() as client:
            coroutine = client.chat.completions.create(**CHAT)
            coroutine.send(None)
            coroutine.close()
        (call,) = telemetry.settle().calls
        assert (call.outcome, call.failure and call.failure.type) == ("error", "GeneratorExit")
        assert not trace.get_current_span().get_span_context().is_valid


async def test_a_coroutine_never_begun(aclient: openai.AsyncOpenAI, telemetry: Telemetry) -> None:
    """A call that is never awaited is never sent, and not recorded."""
    aclient.chat.completions.create(**CHAT).close()

    assert telemetry.settle().calls == []


class Broken(http.AsyncByteStream):  # type: ignore[misc,name-defined]
    """A body whose second read is interrupted."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'data: {"id": "gen-1", "model": "m", "choices": []}\n\n'
        raise KeyboardInterrupt


async def test_an_interrupt_while_reading(telemetry: Telemetry) -> None:
    """Interrupted while reading, a stream is cancelled, which is no error."""

    def handler(_request: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Broken())

    transport = http.AsyncClient(transport=http.MockTransport(handler))
    async with openai.AsyncOpenAI(
        api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport
    ) as client:
        with pytest.raises(KeyboardInterrupt):
            await drained(await opened(client))

    (call,) = telemetry.settle().calls
    assert (call.outcome, call.failure) == ("cancelled", None)


async def test_the_current_span_is_the_users(
    fake: FakeOpenRouter, aclient: openai.AsyncOpenAI, telemetry: Telemetry
) -> None:
    """Our span is never current in the user's code: between chunks, after an end, in tasks begun meanwhile."""
    fake.default = ANSWER
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("user") as user:
        seen = []

        async def look() -> None:
            seen.append(trace.get_current_span())

        async with anyio.create_task_group() as group:
            async for _ in await opened(aclient):
                seen.append(trace.get_current_span())
                group.start_soon(look)
        for end in (with_break, dropped_after_break, closed):
            await end(await opened(aclient))
            await collected()
            seen.append(trace.get_current_span())
        assert set(map(id, seen)) == {id(user)}

    ours = [span for span in telemetry.settle().spans() if span.name != "user"]
    assert len(ours) == 4
    assert {span.parent and span.parent.span_id for span in ours} == {user.get_span_context().span_id}


async def test_many_at_once(fake: FakeOpenRouter, aclient: openai.AsyncOpenAI, telemetry: Telemetry) -> None:
    """Calls that run side by side, each in its own span, are each recorded with their own parent."""
    fake.default = ANSWER
    tracer = telemetry.tracer_provider.get_tracer("test")

    async def run(number: int) -> None:
        with tracer.start_as_current_span(f"user {number}") as user:
            await drained(await opened(aclient))
            assert trace.get_current_span() is user

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(run, number)

    users = {span.context.span_id for span in telemetry.spans() if span.name.startswith("user")}
    parents = [span.parent.span_id for span in telemetry.spans() if span.parent is not None]
    assert sorted(parents) == sorted(users)
