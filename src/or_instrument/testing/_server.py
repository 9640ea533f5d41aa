"""A small HTTP server on loopback: one event loop in one daemon thread, cheap for 1,000 paused streams."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

from ._connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._exchange import Received
    from ._reply import Reply

_GATE_POLL_S = 0.002


class Server:
    """Serves `answer` on 127.0.0.1; tells `broken_off` the generation id where a client leaves mid-reply."""

    def __init__(self, port: int, answer: Callable[[Received], Reply], broken_off: Callable[[str], None]) -> None:
        """Listen at once, on a free port where `port` is 0.

        Raises:
            OSError: The port cannot be had.

        """
        self.answer, self.broken_off = answer, broken_off
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self._connections: set[Connection] = set()
        self._gates: dict[threading.Event, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"fake-openrouter-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Drop all connections, close the socket and end the thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def opened(self, gate: threading.Event) -> None:
        """Wait for a gate; all who wait for the same one share one watcher."""
        if gate.is_set():
            return
        if gate not in self._gates:
            self._gates[gate] = self._loop.create_task(self._watch(gate))
        await asyncio.shield(self._gates[gate])

    def made(self, connection: Connection) -> None:
        """Remember a connection that can be dropped from now on."""
        self._connections.add(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        server = await self._loop.create_server(self._connect, sock=self._socket, backlog=1024)
        await self._stopping.wait()
        # asyncio accepts in tasks of its own, and leaks a connection whose server is closed meanwhile.
        while asyncio.all_tasks() - self._tasks():
            await asyncio.sleep(0)
        server.close()
        while self._connections or len(asyncio.all_tasks()) > 1:
            for connection in self._connections:
                connection.drop()
            for watcher in self._gates.values():
                watcher.cancel()
            await asyncio.sleep(0)

    def _tasks(self) -> set[asyncio.Task[None] | None]:
        serving = (connection.serving for connection in self._connections)
        return {asyncio.current_task(), *serving, *self._gates.values()}

    def _connect(self) -> Connection:
        return Connection(self, self._loop)

    async def _watch(self, gate: threading.Event) -> None:
        while not gate.is_set():
            await asyncio.sleep(_GATE_POLL_S)
        del self._gates[gate]


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as error:
        why = f"port {port} of 127.0.0.1 cannot be had ({error.strerror})"
        raise OSError(error.errno, f"{why}; give a free one, or 0 to have one picked") from error
