"""What is none of ours to touch: answers of any kind, other protocols, broken parts of a client."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx
import pytest
from in_memory import Telemetry

from or_instrument.testing import Answer, FakeOpenRouter

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
requests = pytest.importorskip("requests")
pytestmark = pytest.mark.anyio

ASKED: Final[dict[str, Any]] = {"model": "a/model", "messages": []}
ANSWER: Final = b'{"id": "gen-1", "model": "a/model", "text": "moon", "usage": {"cost": 0.5, "input_tokens": 3}}'


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("client", ["httpx", "httpx2", "requests", "aiohttp"])
async def test_answer_that_is_no_json(
    telemetry: Telemetry, fake: FakeOpenRouter, caplog: pytest.LogCaptureFixture, client: str, status: int
) -> None:
    """A page where JSON was asked for is the user's, to the last byte; its cost is unknown, and no fault of ours."""
    page = b"<html>\xff\x00 no JSON" * 100
    fake.script(Answer(status=status, body=page, content_type="text/html"))
    url = f"{fake.base_url}/chat/completions"
    if client == "aiohttp":
        async with aiohttp.ClientSession() as session, session.post(url, json=ASKED) as response:
            assert await response.read() == page
    else:
        library: Any = {"httpx": httpx, "httpx2": httpx2, "requests": requests}[client]
        assert library.post(url, json=ASKED, timeout=60).content == page
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete" if status == 200 else "error", None)
    assert not [record for record in caplog.records if record.name == "or_instrument"]


@pytest.mark.parametrize("client", ["httpx", "httpx2", "requests", "aiohttp"])
@pytest.mark.parametrize("is_raw", [False, True], ids=["decoded", "raw"])
async def test_compressed_answer(
    telemetry: Telemetry, fake: FakeOpenRouter, caplog: pytest.LogCaptureFixture, client: str, *, is_raw: bool
) -> None:
    """Decoded, a compressed answer is read; raw, it is the user's and its cost unknown: complete in either case."""
    packed = gzip.compress(ANSWER)
    fake.script(Answer(body=packed, headers={"Content-Encoding": "gzip"}))
    url = f"{fake.base_url}/chat/completions"
    if client == "aiohttp":
        async with (
            aiohttp.ClientSession(auto_decompress=not is_raw) as session,
            session.post(url, json=ASKED) as response,
        ):
            read = await response.read()
    elif client == "requests":
        with requests.post(url, json=ASKED, stream=True, timeout=60) as response:
            read = b"".join(response.raw.stream(7, decode_content=not is_raw))
    else:
        library: Any = {"httpx": httpx, "httpx2": httpx2}[client]
        with library.stream("POST", url, json=ASKED) as response:
            read = b"".join(response.iter_raw() if is_raw else response.iter_bytes())
    assert read == (packed if is_raw else ANSWER)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend, call.missing) == ("complete", *((None, "no_usage") if is_raw else (0.5, None)))
    assert not [record for record in caplog.records if record.name == "or_instrument"]


class BrokenError(Exception):
    """What the user's own part of a client raises."""


def refuse(*_args: Any, **_options: Any) -> Any:
    """Break."""
    raise BrokenError


async def break_the_jar(client: str, url: str, patch: Callable[..., None]) -> None:
    """Make a call through a client whose cookie jar breaks."""
    if client == "aiohttp":
        async with aiohttp.ClientSession() as session:
            patch(session.cookie_jar, "update_cookies_from_headers", refuse, raising=False)  # since 3.12
            patch(session.cookie_jar, "update_cookies", refuse)
            await session.post(url, json=ASKED)
        return
    library: Any = {"httpx": httpx, "httpx2": httpx2, "requests": requests}[client]
    with library.Session() if client == "requests" else library.Client() as http:
        patch(http.cookies, "extract_cookies", refuse)
        http.post(url, json=ASKED)


@pytest.mark.parametrize("client", ["httpx", "httpx2", "requests", "aiohttp"])
async def test_cookie_jar_that_breaks(
    telemetry: Telemetry, fake: FakeOpenRouter, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """What a broken cookie jar raises reaches the user as it is; the call that it ended is one failed call."""
    fake.default = Answer(headers={"Set-Cookie": "a=b"})
    with pytest.raises(BrokenError) as caught:
        await break_the_jar(client, f"{fake.base_url}/chat/completions", monkeypatch.setattr)
    assert caught.value.__cause__ is None
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.failure and call.failure.type) == ("error", f"{__name__}.BrokenError")


@pytest.mark.parametrize("path", ["chat/completions", "videos/job-1"])
async def test_websocket(telemetry: Telemetry, path: str) -> None:
    """An upgrade to a websocket on a named host, even at the path of a job, is left alone."""
    web = pytest.importorskip("aiohttp.web")

    async def echo(request: Any) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get(f"/api/v1/{path}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}/api/v1/{path}") as socket,
        ):
            for said in ("a", '{"usage": {"cost": 1}}'):
                await socket.send_str(said)
                assert (await asyncio.wait_for(socket.receive(), 60)).data == said
    finally:
        await runner.cleanup()
    assert telemetry.settle().calls == []


@pytest.mark.parametrize("client", ["httpx", "httpx2", "aiohttp"])
async def test_async_body_is_read_once(telemetry: Telemetry, fake: FakeOpenRouter, client: str) -> None:
    """A body that only a task may read is read once, by the client."""
    read = []

    async def body() -> AsyncIterator[bytes]:
        for piece in (b'{"model": "a/model", ', b'"messages": []}'):
            read.append(piece)
            yield piece

    url, headers = f"{fake.base_url}/chat/completions", {"Content-Type": "application/json"}
    if client == "aiohttp":
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body(), headers=headers) as response,
        ):
            assert response.status == 200
            await response.read()
    else:
        async with {"httpx": httpx, "httpx2": httpx2}[client].AsyncClient() as http:  # type: ignore[attr-defined]
            assert (await http.post(url, content=body(), headers=headers)).status_code == 200
    (call,) = telemetry.settle().calls
    assert (len(read), call.request.model, call.spend) == (2, None, float(fake.charged_usd))


async def test_answer_without_content(telemetry: Telemetry, fake: FakeOpenRouter) -> None:
    """The one object that stands for no content in all of aiohttp stays as it is; the call is over when it has come."""
    empty = aiohttp.streams.EMPTY_PAYLOAD
    theirs = type(empty)
    fake.script(Answer(status=204, body=b""))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{fake.base_url}/chat/completions", json=ASKED) as response,
    ):
        assert response.content is empty
        assert type(empty) is theirs
        assert await response.read() == b""
        (call,) = telemetry.calls
    assert (call.outcome, call.missing) == ("complete", "no_usage")
