"""A call that gets its key from an `auth=` on the way is looked up with the key that it was sent with."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

import or_instrument
from or_instrument._clients.target import Target
from or_instrument.testing import Answer, FakeOpenRouter

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
requests = pytest.importorskip("requests")
pytestmark = [pytest.mark.anyio]
STREAMED: Any = {"model": "a/model", "messages": [], "stream": True}
OWN = "Bearer sk-or-own"


def signed(request: Any) -> Any:
    """Give a request of any client its key."""
    request.headers["Authorization"] = OWN
    return request


async def by_httpx(library: Any, at: str) -> None:
    """Leave a stream of httpx or httpx2; its client has another key."""
    with (
        library.Client(auth=("other", "key")) as client,
        client.stream("POST", at, json=STREAMED, auth=signed) as response,
    ):
        next(response.iter_lines())


async def by_send(library: Any, at: str) -> None:
    """Leave a stream of httpx or httpx2 that `send` was asked for."""
    with library.Client() as client:
        response = client.send(client.build_request("POST", at, json=STREAMED), auth=signed, stream=True)
        lines = response.iter_lines()
        next(lines)
        response.close()


async def by_async_send(library: Any, at: str) -> None:
    """Leave an async stream of httpx or httpx2, whose auth is of the client and works in its event loop only."""

    class Auth(library.Auth):  # type: ignore[misc, name-defined]
        def sync_auth_flow(self, _request: Any) -> Iterator[Any]:
            raise RuntimeError("in its event loop only")

        async def async_auth_flow(self, request: Any) -> AsyncIterator[Any]:
            yield signed(request)

    async with library.AsyncClient(auth=Auth()) as client, client.stream("POST", at, json=STREAMED) as response:
        lines = response.aiter_lines()
        await anext(lines)


async def by_requests(_: Any, at: str) -> None:
    """Leave a stream of requests."""
    with requests.post(at, json=STREAMED, auth=signed, stream=True, timeout=60) as response:
        next(response.iter_lines())


async def by_aiohttp(_: Any, at: str) -> None:
    """Leave a stream of aiohttp."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.14, and the only way before 3.12
        auth = aiohttp.BasicAuth("sk-or-own")
        async with aiohttp.ClientSession() as session, session.post(at, json=STREAMED, auth=auth) as response:
            await response.content.readline()


WAYS: dict[str, tuple[Callable[[Any, str], Awaitable[None]], Any]] = {
    **{
        f"{ask.__name__} {it.__name__}": (ask, it)
        for ask in (by_httpx, by_send, by_async_send)
        for it in (httpx, httpx2)
    },
    "by_requests": (by_requests, None),
    "by_aiohttp": (by_aiohttp, None),
}


@pytest.mark.parametrize("way", WAYS)
async def test_looked_up_with_what_was_sent(fake: FakeOpenRouter, instrumented: Any, way: str) -> None:
    """Whatever else its client would send by itself."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(chunks=50, pause_s=0.01, cost=0.5))
    ask, library = WAYS[way]
    await ask(library, f"{fake.base_url}/chat/completions")
    assert or_instrument.flush(20)
    assert [call.spend for call in telemetry.calls] == [None, 0.5]
    asked, looked_up = fake.requests
    own = OWN if library or ask is by_requests else "Basic c2stb3Itb3duOg=="
    assert asked.headers["authorization"] == looked_up.headers["authorization"] == own


def test_a_key_that_another_host_was_sent_is_not_shown_to_this_one() -> None:
    """A redirect may have led elsewhere; a port that is not written is the scheme's."""
    asked = Target(None, "https://openrouter.ai/api/v1/generation", {"Authorization": "old", "cookie": "c"})
    assert asked.sent_with({"authorization": "new"}, "https://other.example/api/v1/chat") is asked
    assert asked.sent_with({"authorization": "new"}, "http://openrouter.ai/api/v1/chat") is asked
    same = asked.sent_with({"authorization": "new"}, "https://openrouter.ai:443/api/v1/chat")
    assert same.headers == {"authorization": "new", "cookie": "c"}
    assert asked.sent_with({}, "https://openrouter.ai/x").headers == asked.headers
