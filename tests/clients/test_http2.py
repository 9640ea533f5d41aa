"""Calls over HTTP/2, answered by a real server with TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from in_memory import Telemetry

hypercorn = pytest.importorskip("hypercorn")
httpx2 = pytest.importorskip("httpx2")
trustme = pytest.importorskip("trustme")
pytest.importorskip("h2")
pytestmark = pytest.mark.anyio

ASKED: Final[dict[str, Any]] = {"model": "a/model", "messages": [], "stream": True}
EVENTS: Final = (
    b": OPENROUTER PROCESSING\n\n",
    *(b'data: {"id":"gen-1","model":"a/model","choices":[{"delta":{"content":"%d"}}]}\n\n' % n for n in range(20)),
    b'data: {"id":"gen-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":20,"cost":0.5}}\n\n',
    b"data: [DONE]\n\n",
)
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with the same stream, as ASGI has it."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in EVENTS:
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving(config: Any) -> Iterator[None]:
    """Serve in a thread for the length of a block."""
    from hypercorn.asyncio import serve  # noqa: PLC0415 - not in every environment

    loop, ended, begun = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def main() -> None:
        begun.set()
        await serve(application, config, shutdown_trigger=ended.wait)

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """Return the URL of a server with TLS, and what trusts it."""
    authority = trustme.CA()
    issued, trusting = authority.issue_cert("127.0.0.1"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = hypercorn.Config()
    config.bind = [f"fd://{listening.detach()}"]  # the server closes it
    config.certfile, config.keyfile, config.errorlog = str(certificate), str(key), None
    with serving(config):
        yield f"https://127.0.0.1:{port}/api/v1/chat/completions", trusting


@LIBRARIES
def test_http2(telemetry: Telemetry, secured: tuple[str, Any], library: Any) -> None:
    """A stream over HTTP/2 is one call with its bill, and its lines are what was sent."""
    url, trusting = secured
    with library.Client(http2=True, verify=trusting) as client, client.stream("POST", url, json=ASKED) as response:
        assert response.http_version == "HTTP/2"
        assert b"".join(response.iter_bytes()) == b"".join(EVENTS)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend, call.request.stream) == ("complete", 0.5, True)


@LIBRARIES
async def test_many_at_once(telemetry: Telemetry, secured: tuple[str, Any], library: Any) -> None:
    """Streams that share one connection are one call each, also those that are left."""
    url, trusting = secured

    async def ask(n: int) -> None:
        async with client.stream("POST", url, json={**ASKED, "model": f"a/{n}"}) as response:
            async for _ in response.aiter_lines():
                if n % 2:
                    break

    async with library.AsyncClient(http2=True, verify=trusting) as client:
        await asyncio.gather(*map(ask, range(10)))
    calls = telemetry.settle().calls
    assert sorted(call.request.model or "" for call in calls) == [f"a/{n}" for n in range(10)]
    assert {call.spend for call in calls if call.request.model in ("a/0", "a/2", "a/4", "a/6", "a/8")} == {0.5}
