"""Uploads of any size, from a generator, a file or a form: read by the client alone, and piece by piece."""

from __future__ import annotations

import http.server
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from handled import handled
from in_memory import Telemetry

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
requests = pytest.importorskip("requests")
pytestmark = pytest.mark.anyio

UPLOADED: Final = int(os.environ.get("OR_INSTRUMENT_TESTS_UPLOAD_MIB", "16")) * 1024 * 1024
PIECE: Final = bytes(64 * 1024)
ROOM: Final = 8 * 1024 * 1024
"""What a client itself may hold of an upload."""
ANSWER: Final = b'{"id": "gen-1", "model": "a/model", "text": "moon", "usage": {"cost": 0.5, "input_tokens": 3}}'


class Swallow(http.server.BaseHTTPRequestHandler):
    """Reads a body and keeps nothing of it but its size."""

    sizes: list[int]

    def do_POST(self) -> None:
        """Answer with a bill."""
        length = self.headers.get("content-length")
        self.sizes.append(self._chunked() if length is None else self._read(int(length)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def _read(self, length: int) -> int:
        left = length
        while left:
            left -= len(self.rfile.read(min(left, len(PIECE))))
        return length

    def _chunked(self) -> int:
        read = 0
        while size := int(self.rfile.readline(), 16):
            read += self._read(size)
            self.rfile.readline()
        self.rfile.readline()
        return read

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def swallow() -> Iterator[tuple[str, list[int]]]:
    """Return the URL of a server that takes any upload, and the sizes of what it took."""
    sizes: list[int] = []
    handler = type("Handler", (Swallow,), {"sizes": sizes})
    with handled(handler) as port:
        yield f"http://127.0.0.1:{port}/api/v1/audio/transcriptions", sizes


def pieces() -> Iterator[bytes]:
    """Yield an upload."""
    for _ in range(UPLOADED // len(PIECE)):
        yield PIECE


async def apieces() -> AsyncIterator[bytes]:
    """Yield an upload to a client that awaits it."""
    for piece in pieces():
        yield piece


def by_httpx(library: Any) -> Callable[..., Any]:
    """Return what uploads through httpx or httpx2."""

    async def upload(url: str, body: Any, **options: Any) -> None:
        given = body() if body is pieces else body
        library.post(url, **({"content": given} if not options else {"files": {"file": given}}), timeout=60)

    return upload


def by_async_httpx(library: Any) -> Callable[..., Any]:
    """Return what uploads through an async client of httpx or httpx2."""

    async def upload(url: str, _body: Any) -> None:
        async with library.AsyncClient(timeout=60) as client:
            await client.post(url, content=apieces())

    return upload


async def by_requests(url: str, body: Any) -> None:
    """Upload through requests."""
    requests.post(url, data=body() if body is pieces else body, timeout=60)


async def by_aiohttp(url: str, body: Any) -> None:
    """Upload through aiohttp."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=apieces() if body is pieces else body) as response,
    ):
        await response.read()


UPLOADS: dict[str, tuple[Callable[..., Any], str]] = {
    "httpx, generator": (by_httpx(httpx), "generator"),
    "httpx2, generator": (by_httpx(httpx2), "generator"),
    "httpx, file": (by_httpx(httpx), "file"),
    "httpx2, file": (by_httpx(httpx2), "file"),
    "httpx, form": (by_httpx(httpx), "form"),
    "httpx2, form": (by_httpx(httpx2), "form"),
    "httpx, async": (by_async_httpx(httpx), "generator"),
    "httpx2, async": (by_async_httpx(httpx2), "generator"),
    "requests, generator": (by_requests, "generator"),
    "requests, file": (by_requests, "file"),
    "aiohttp, generator": (by_aiohttp, "generator"),
    "aiohttp, file": (by_aiohttp, "file"),
}


@pytest.mark.parametrize("how", UPLOADS)
async def test_large_upload(telemetry: Telemetry, swallow: tuple[str, list[int]], tmp_path: Path, how: str) -> None:
    """An upload from a generator or a file is read once, by the client, piece by piece; the call has its bill."""
    url, sizes = swallow
    upload, kind = UPLOADS[how]
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(UPLOADED)
    tracemalloc.start()
    try:
        with large.open("rb") as file:
            await upload(url, pieces if kind == "generator" else file, **({"form": True} if kind == "form" else {}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ROOM
    assert UPLOADED <= sizes[0] < UPLOADED + 1024
    (call,) = telemetry.settle().calls
    assert (call.spend, call.request.model, len(sizes)) == (0.5, None, 1)
