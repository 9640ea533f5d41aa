"""Clients of httpx that send by a session of aiohttp, as LiteLLM's and the OpenAI SDK's: looked up all the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
pytestmark = [pytest.mark.anyio]
STREAMED: Any = {"model": "a/model", "messages": [], "stream": True}
OWN = {"Authorization": "Bearer sk-or-own"}


def on_aiohttp(library: Any, session: Any) -> Any:
    """Return a transport that works in the event loop of a session only."""

    class Body(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, response: Any) -> None:
            self.response = response

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self.response.content.iter_any():
                yield piece

        async def aclose(self) -> None:
            self.response.close()

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            sent = {"headers": dict(request.headers), "data": request.content, "allow_redirects": False}
            response = await session.request(request.method, str(request.url), **sent)
            return library.Response(response.status, headers=list(response.headers.items()), stream=Body(response))

    return Transport()


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_call_that_a_session_carries_is_looked_up(
    fake: FakeOpenRouter, instrumented: Any, library: Any
) -> None:
    """By the settings of the session, with what the outer client sent."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(chunks=50, pause_s=0.01, cost=0.5))
    async with (
        aiohttp.ClientSession() as session,
        library.AsyncClient(transport=on_aiohttp(library, session), headers=OWN) as client,
        client.stream("POST", f"{fake.base_url}/chat/completions", json=STREAMED) as response,
    ):
        await anext(response.aiter_lines())
    assert or_instrument.flush(20)
    assert [(call.spend, call.recovers is None) for call in telemetry.calls] == [(None, True), (0.5, False)]
    assert fake.requests[-1].headers["authorization"] == OWN["Authorization"]


async def test_a_call_of_the_sdk_that_a_session_carries_is_looked_up(fake: FakeOpenRouter, instrumented: Any) -> None:
    """The SDK's own kind of client too."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(chunks=50, pause_s=0.01, cost=0.5))
    library = httpx2 if issubclass(openai.DefaultAsyncHttpxClient, httpx2.AsyncClient) else httpx
    async with (
        aiohttp.ClientSession() as session,
        library.AsyncClient(transport=on_aiohttp(library, session)) as http,
        openai.AsyncOpenAI(base_url=fake.base_url, api_key="sk-or-own", http_client=http) as client,
        await client.chat.completions.create(model="a/model", messages=[], stream=True) as stream,
    ):
        await anext(aiter(stream))
    assert or_instrument.flush(20)
    assert [call.spend for call in telemetry.calls] == [None, 0.5]
    assert fake.requests[-1].headers["authorization"] == OWN["Authorization"]


async def test_a_session_of_whose_connector_nothing_is_known_cannot_be_asked(
    fake: FakeOpenRouter, instrumented: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What another connector does is not known: the cost stays unknown, and is said to be."""

    class Connector(aiohttp.TCPConnector):  # type: ignore[misc, name-defined]
        pass

    telemetry = instrumented(lookup="missing")
    fake.script(Answer(chunks=50, pause_s=0.01, cost=0.5))
    with caplog.at_level(logging.WARNING, "or_instrument"):
        async with (
            aiohttp.ClientSession(connector=Connector()) as session,
            httpx.AsyncClient(transport=on_aiohttp(httpx, session)) as client,
            client.stream("POST", f"{fake.base_url}/chat/completions", json=STREAMED) as response,
        ):
            await anext(response.aiter_lines())
        or_instrument.flush(20)
    assert [call.missing for call in telemetry.calls] == ["pending", "lookup_failed"]
