"""Answers that are copied or pickled while they are read, and transports that use one buffer for all of theirs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import openai
import pytest
from in_memory import Telemetry

from or_instrument.testing import FakeOpenRouter

httpx2 = pytest.importorskip("httpx2")
requests = pytest.importorskip("requests")
ASKED: dict[str, Any] = {"model": "a/model", "messages": [], "stream": True}
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),  # noqa: S301 - its own
}
HOW = pytest.mark.parametrize("how", COPIES)


@HOW
@LIBRARIES
def test_copy_of_an_open_response(fake: FakeOpenRouter, telemetry: Telemetry, library: Any, how: str) -> None:
    """A copy of a response that is being read has nothing of ours, cannot be read, as without us, and is no call."""
    with library.Client() as client, client.stream("POST", f"{fake.base_url}/chat/completions", json=ASKED) as response:
        lines = response.iter_lines()
        next(lines)
        copied = COPIES[how](response)
        assert not [value for value in vars(copied).values() if "or_instrument" in type(value).__module__]
        assert not {"iter_bytes", "iter_raw", "close", "__getstate__"} & vars(copied).keys()
        with pytest.raises(library.StreamError):
            copied.read()
        assert [*lines]
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", float(fake.charged_usd))


@HOW
@LIBRARIES
def test_what_the_user_hooked_is_copied(fake: FakeOpenRouter, telemetry: Telemetry, library: Any, how: str) -> None:
    """What the user has put on a response is in its copy."""

    def hook(response: Any) -> None:
        response.iter_bytes = len

    hooks = {"response": [hook]}
    with (
        library.Client(event_hooks=hooks) as client,
        client.stream("POST", f"{fake.base_url}/chat/completions", json=ASKED) as response,
    ):
        assert vars(COPIES[how](response))["iter_bytes"] is len
    assert len(telemetry.settle().calls) == 1


@HOW
def test_copy_of_an_open_response_of_requests(fake: FakeOpenRouter, telemetry: Telemetry, how: str) -> None:
    """Requests reads a response before it copies it: that is the end of the one call."""
    with closing(requests.post(f"{fake.base_url}/chat/completions", json=ASKED, stream=True, timeout=60)) as response:
        assert COPIES[how](response).content == response.content
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", float(fake.charged_usd))


@HOW
def test_copy_of_the_sdks_response(fake: FakeOpenRouter, telemetry: Telemetry, client: openai.OpenAI, how: str) -> None:
    """The response under a stream of the SDK is copied as without us, and the stream is read on."""
    stream: Any = client.chat.completions.create(**ASKED)
    COPIES[how](stream.response)
    assert [*stream]
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", float(fake.charged_usd))


EVENTS = (
    b'data: {"id":"gen-1","choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"id":"gen-1","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"gen-1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.5}}\n\n',
    b"data: [DONE]\n\n",
)


class OneBuffer(httpx2.SyncByteStream):
    """A body whose every piece is in the same buffer."""

    def __init__(self, kind: Callable[[bytearray], Any]) -> None:
        self._kind = kind

    def __iter__(self) -> Iterator[Any]:
        """Write over what was there."""
        buffer = bytearray(max(map(len, EVENTS)))
        for event in EVENTS:
            # Blanks, which end no event, fill it up.
            buffer[:] = event.rstrip(b"\n").ljust(len(buffer) - 2) + b"\n\n"
            yield self._kind(buffer)


@pytest.mark.parametrize("kind", [lambda buffer: buffer, memoryview], ids=["bytearray", "memoryview"])
@pytest.mark.parametrize("path", ["chat/completions", "new/thing"])
def test_one_buffer_for_all_pieces(telemetry: Telemetry, kind: Callable[[bytearray], Any], path: str) -> None:
    """What is kept of an answer is what it was when it passed."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=OneBuffer(kind)))
    with (
        httpx2.Client(transport=transport) as client,
        client.stream("POST", f"https://openrouter.ai/api/v1/{path}", json=ASKED) as response,
    ):
        for _ in response.iter_raw():
            pass
    (call,) = telemetry.settle().calls
    assert (call.spend, call.reply.finish_reasons, call.outcome) == (0.5, ("stop",), "complete")
