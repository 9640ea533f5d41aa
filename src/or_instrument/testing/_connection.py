"""One HTTP/1.1 connection of the fake: read requests, write replies, notice a client that goes away."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from ._exchange import Received
from ._reply import breakdown

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from ._reply import Reply


class Host(Protocol):
    """What a connection asks of its server."""

    answer: Callable[[Received], Reply]
    broken_off: Callable[[str], None]

    def made(self, connection: Connection) -> None:
        """Remember a connection that can be dropped from now on."""

    def gone(self, connection: Connection) -> None:
        """Forget a connection that is closed."""

    async def opened(self, gate: threading.Event) -> None:
        """Wait for a gate."""


class Connection(asyncio.StreamReaderProtocol):
    """Serves one client, keep-alive, in a task that ends with the connection."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        """Serve for `host`, on its loop."""
        self._reader = asyncio.StreamReader(loop=loop)
        super().__init__(self._reader, loop=loop)
        self._host, self._event_loop = host, loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve."""
        transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that what was written is sent before an abort
        self._writer = asyncio.StreamWriter(transport, self, self._reader, self._event_loop)
        self.serving = self._event_loop.create_task(self._serve())
        self._host.made(self)

    def eof_received(self) -> bool:
        """Take a client that hangs up for gone, even while its reply waits: no client only half-closes."""
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to serve."""
        super().connection_lost(exc)
        self.serving.cancel()
        self._host.gone(self)

    def drop(self) -> None:
        """Close the connection abruptly, which ends its task."""
        self._writer.transport.abort()

    async def _serve(self) -> None:
        try:
            while await self._exchange():
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            pass  # the client is gone, or speaks no HTTP
        finally:
            self._writer.transport.abort()

    async def _exchange(self) -> bool:
        """Serve one request; return whether the connection lives on."""
        request = await self._read()
        reply = self._host.answer(request)
        try:
            await self._write(reply)
        except (asyncio.CancelledError, ConnectionError):
            self._host.broken_off(reply.generation_id)
            raise
        return not reply.aborted and request.headers.get("connection", "").lower() != "close"

    async def _read(self) -> Received:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines if line]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await self._read_chunks()
        else:
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Received.of(method, target, headers, body)

    async def _read_chunks(self) -> bytes:
        chunks = []
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            chunks.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(chunks)

    async def _write(self, reply: Reply) -> None:
        try:
            await self._wait(reply.delay_s, reply.gate)
            head, framed = _encoded(reply)
        except Exception as error:  # noqa: BLE001 - nothing has been sent yet, so it can be told
            reply = breakdown(error)
            head, framed = _encoded(reply)
        if reply.steps:
            await self._send(head)
        for step, data in zip(reply.steps, framed, strict=True):
            await self._wait(step.pause_s, step.gate)
            await self._send(data)
        if reply.streamed and not reply.aborted:
            await self._send(b"0\r\n\r\n")

    async def _wait(self, pause_s: float, gate: threading.Event | None) -> None:
        if pause_s:
            await asyncio.sleep(pause_s)
        if gate is not None:
            await self._host.opened(gate)

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _encoded(reply: Reply) -> tuple[bytes, list[bytes]]:
    """Return the head of a reply and what each of its steps sends. Raises where it cannot be sent."""
    if not reply.steps:
        return b"", []
    return _head(reply), [_framed(step.data) if reply.streamed else b"%b" % step.data for step in reply.steps]


def _head(reply: Reply) -> bytes:
    size = len(reply.steps[0].data)
    framing = "Transfer-Encoding: chunked" if reply.streamed else f"Content-Length: {size}"
    reason = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else "Unassigned"
    lines = [f"HTTP/1.1 {reply.status:d} {reason}", framing, *(f"{k}: {v}" for k, v in reply.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
