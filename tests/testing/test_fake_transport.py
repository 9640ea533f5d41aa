"""The fake behind the mock transports of httpx and httpx2, for sync and async clients."""

from __future__ import annotations

import importlib
from typing import Any

import openai
import pytest

from or_instrument.testing import Answer, FakeOpenRouter

URL = "https://openrouter.ai/api/v1"
BODY = {"model": "a/model", "messages": [], "stream": True}


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    """Return one HTTP library."""
    pytest.importorskip(request.param)
    return importlib.import_module(request.param)


def test_response_is_of_the_requests_library(library: Any) -> None:
    """The handler answers each library with its own Response, streamed event by event."""
    fake = FakeOpenRouter()
    with library.Client(transport=library.MockTransport(fake.handler)) as client:
        reply = client.post(f"{URL}/chat/completions", json=BODY)
    assert isinstance(reply, library.Response)
    assert reply.text.endswith("data: [DONE]\n\n")
    assert fake.requests[0].json == BODY


@pytest.mark.anyio
async def test_async_client_reads_the_same(library: Any) -> None:
    """The same handler serves an async client."""
    fake = FakeOpenRouter()
    fake.script(Answer(content="for both"))
    async with library.AsyncClient(transport=library.MockTransport(fake.handler)) as client:
        reply = await client.post(f"{URL}/chat/completions", json={**BODY, "stream": False})
    assert reply.json()["choices"][0]["message"]["content"] == "for both"


def test_dropped_stream_raises_the_librarys_error(library: Any) -> None:
    """A dropped stream gives its chunks and then that library's RemoteProtocolError."""
    fake = FakeOpenRouter()
    fake.script(Answer(chunks=["one", "two"], abort_after=1))
    with (
        library.Client(transport=library.MockTransport(fake.handler)) as client,
        client.stream("POST", f"{URL}/chat/completions", json=BODY) as reply,
    ):
        pieces = reply.iter_bytes()
        first = next(pieces)
        with pytest.raises(library.RemoteProtocolError):
            next(pieces)
    assert b'"one"' in first


def test_dropped_reply_raises_the_librarys_error(library: Any) -> None:
    """A dropped reply that is not streamed raises when the request is sent."""
    fake = FakeOpenRouter()
    fake.script(Answer(abort_after=0))
    with (
        library.Client(transport=library.MockTransport(fake.handler)) as client,
        pytest.raises(library.RemoteProtocolError),
    ):
        client.post(f"{URL}/embeddings", json={"model": "a/model", "input": "x"})


def test_openai_client_needs_no_server() -> None:
    """The OpenAI SDK works over the handler with its own default client, whole and streamed."""
    fake = FakeOpenRouter()
    module = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    http_client: Any = openai.DefaultHttpxClient(transport=module.MockTransport(fake.handler))
    with openai.OpenAI(api_key="k", base_url=URL, http_client=http_client) as client:
        client.chat.completions.create(model="a/model", messages=[])
        *_, last = client.chat.completions.create(model="a/model", messages=[], stream=True)
    assert last.usage is not None
    assert len(fake.generations) == 2
