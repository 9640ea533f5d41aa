"""Responses that are no plain objects of the HTTP library: mocked, handed on, copied or closed in ways of their own."""

from __future__ import annotations

import copy
import gc
import importlib
import json
import pickle
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any
from unittest import mock

import openai
import pytest
from in_memory import Telemetry

from or_instrument._calls.reaper import REAPER
from or_instrument.testing import Answer, FakeOpenRouter

http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
URL = "https://openrouter.ai/api/v1"
HELLO: Any = {"model": "a/model", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
USAGE: Any = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5}
CHUNK: Any = {"id": "gen-1", "model": "m", "object": "chat.completion.chunk", "created": 1}
SAYS: Any = {**CHUNK, "choices": [{"index": 0, "delta": {"content": "x"}}]}
EVENTS = [
    b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in (SAYS, SAYS, {**CHUNK, "choices": [], "usage": USAGE})
]


class Body(http.SyncByteStream, http.AsyncByteStream):  # type: ignore[misc]
    """A body that is not in memory."""

    def __iter__(self) -> Iterator[bytes]:
        yield from [*EVENTS, b"data: [DONE]\n\n"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in [*EVENTS, b"data: [DONE]\n\n"]:
            yield event


class Unclosable(Body):
    """One that fails when it is closed."""

    def close(self) -> None:
        """Fail."""
        raise http.CloseError("the other side is gone")


class Unmarked(Body):
    """One that ends without a mark of its end."""

    def __iter__(self) -> Iterator[bytes]:
        yield from EVENTS


class Counted(http.Response):  # type: ignore[misc]
    """A response whose state is no dict."""

    def __getstate__(self) -> Any:
        return super().__getstate__(), 1

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])


class Handed:
    """Hands every attribute of a response on, and has none of its own."""

    __slots__ = ("_response",)

    def __init__(self, response: Any) -> None:
        object.__setattr__(self, "_response", response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)


class HandsOn(http.Client):  # type: ignore[misc]
    """A client whose responses are handed on."""

    def send(self, *args: Any, **options: Any) -> Any:
        """Send."""
        return Handed(super().send(*args, **options))


def client_of(kind: Any = http.Client, response: Any = http.Response, body: type[Body] = Body) -> openai.OpenAI:
    """Return a client whose service answers with a stream."""
    transport = http.MockTransport(lambda _: response(200, stream=body()))
    return openai.OpenAI(base_url=URL, api_key="k", http_client=kind(transport=transport), max_retries=0)


def outcomes(telemetry: Telemetry) -> list[tuple[str, float | None]]:
    """Return how each call ended, and its cost."""
    return [(call.outcome, call.spend) for call in telemetry.settle().calls]


@pytest.mark.parametrize("kind", [mock.Mock, partial(mock.MagicMock, name="reader")], ids=["Mock", "MagicMock"])
def test_a_reader_of_the_class_that_is_mocked(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """A mock in the place of a method is called as without us: with no response before its arguments."""
    mocked = kind(side_effect=lambda: iter([*EVENTS, b"data: [DONE]\n\n"]))
    monkeypatch.setattr(http.Response, "iter_bytes", mocked)
    assert len(list(client_of().chat.completions.create(**HELLO))) == 3
    mocked.assert_called_once_with()
    assert outcomes(telemetry) == [("complete", 0.5)]


def test_a_reader_of_the_class_that_is_no_method(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A static method is called as without us."""
    monkeypatch.setattr(http.Response, "iter_bytes", staticmethod(lambda: iter([*EVENTS, b"data: [DONE]\n\n"])))
    assert len(list(client_of().chat.completions.create(**HELLO))) == 3
    assert outcomes(telemetry) == [("complete", 0.5)]


def test_what_hands_a_response_on_with_nothing_of_its_own(telemetry: Telemetry) -> None:
    """A proxy whose attributes are the response's is read as the response would be."""
    assert len(list(client_of(HandsOn).chat.completions.create(**HELLO))) == 3
    assert outcomes(telemetry) == [("complete", 0.5)]


def test_a_state_that_is_no_dict(telemetry: Telemetry) -> None:
    """A response with a state of its own is pickled as without us while it is read."""
    with client_of(response=Counted).chat.completions.with_streaming_response.create(**HELLO) as response:
        lines = response.iter_lines()
        next(lines)
        assert pickle.loads(pickle.dumps(response.http_response)).status_code == 200  # noqa: S301 - its own
        assert [*lines]
    assert outcomes(telemetry) == [("complete", 0.5)]


def test_what_was_put_on_since_outlives_a_copy(telemetry: Telemetry) -> None:
    """A wrapper of the user's around a method of an open response is called though the response was copied."""
    closed: list[Any] = []
    with client_of().chat.completions.create(**HELLO) as stream:
        theirs = stream.response.close
        stream.response.close = lambda: (closed.append(1), theirs())
        copy.copy(stream.response)
        assert len(list(stream)) == 3
    assert closed
    assert outcomes(telemetry) == [("complete", 0.5)]


def test_a_stream_that_is_drained_while_a_generator_is_closed(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is read to its end is complete, whatever is being closed around it meanwhile."""
    monkeypatch.setattr(REAPER, "defer", lambda call: call.settle())  # as fast as a thread of ours could be

    def reading() -> Generator[None, None, None]:
        parts = client_of(body=Unmarked).chat.completions.create(**HELLO).response.iter_raw()
        try:
            yield None
        finally:
            list(parts)

    generator = reading()
    next(generator)
    generator.close()
    assert outcomes(telemetry) == [("complete", 0.5)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library's own close
def test_a_close_that_fails(telemetry: Telemetry) -> None:
    """A stream that is broken off is not complete because its close has failed."""
    stream = client_of(body=Unclosable).chat.completions.create(**HELLO)
    next(stream)
    del stream
    gc.collect()
    assert outcomes(telemetry) == [("abandoned", None)]


@pytest.mark.usefixtures("telemetry")
def test_a_close_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closes a reader gets the exception that he would get without us."""

    def failing(_self: Any) -> Iterator[bytes]:
        try:
            yield EVENTS[0]
        finally:
            raise http.CloseError("the other side is gone")

    monkeypatch.setattr(http.Response, "iter_raw", failing)
    with client_of().chat.completions.create(**HELLO) as stream:
        parts = stream.response.iter_raw()
        next(parts)
        with pytest.raises(http.CloseError):
            parts.close()


@pytest.mark.anyio
@pytest.mark.usefixtures("telemetry")
async def test_an_async_reader_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closes an async reader of a response closes what it reads from, not some time later."""
    came, closed = [], []
    theirs = http.Response.aiter_bytes

    async def watched(self: Any) -> AsyncIterator[bytes]:
        try:
            async for data in theirs(self):
                came.append(data)
                yield data
        finally:
            closed.append(self)

    monkeypatch.setattr(http.Response, "aiter_bytes", watched)
    transport = http.MockTransport(lambda _: http.Response(200, stream=Body()))
    async with openai.AsyncOpenAI(base_url=URL, api_key="k", http_client=http.AsyncClient(transport=transport)) as own:
        stream = await own.chat.completions.create(**HELLO)
        async with aclosing(stream.response.aiter_bytes()) as parts:
            async for _ in parts:
                break
        at_once = [*closed]
        await stream.close()
    assert (came, at_once) == (EVENTS[:1], [stream.response])


def test_a_parsed_stream_that_breaks_before_it_is_closed(
    fake: FakeOpenRouter, telemetry: Telemetry, client: openai.OpenAI
) -> None:
    """A stream that was parsed from a raw response and breaks is an error, though it is closed after that."""
    fake.default = Answer(chunks=4, abort_after=1)
    stream = client.chat.completions.with_raw_response.create(**HELLO).parse()
    try:
        with pytest.raises(Exception, match=r"\w"):
            list(stream)
    finally:
        stream.close()
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("error", None)
