"""The fake's own HTTP server: threads, sockets, framing and many streams at once."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from or_instrument.testing import Answer, FakeOpenRouter

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/api/v1/chat/completions"
BODY = json.dumps({"model": "a/model", "stream": True})


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a served fake."""
    with FakeOpenRouter() as served:
        yield served


def connect(fake: FakeOpenRouter) -> http.client.HTTPConnection:
    """Return a connection to the fake."""
    url = urlsplit(fake.base_url)
    return http.client.HTTPConnection(str(url.hostname), url.port, timeout=60)


def test_stop_leaves_no_thread_and_no_listener() -> None:
    """After stop() the thread has ended the port refuses connections, and a stream held open is dropped."""
    before = set(threading.enumerate())
    fake = FakeOpenRouter().start()
    fake.script(Answer(hold_after=0, gate=threading.Event()))
    client = connect(fake)
    client.request("POST", PATH, BODY)
    reply = client.getresponse()
    url = urlsplit(fake.base_url)
    fake.stop()
    fake.stop()
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(url.hostname), url.port or 0))
    with pytest.raises(http.client.IncompleteRead):
        reply.read()
    client.close()


def test_stop_leaves_no_transport(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that idles when the fake stops is closed, not left to the collector with its task."""
    with FakeOpenRouter() as fake:
        client = connect(fake)
        client.request("POST", PATH, BODY)
        client.getresponse().read()
    gc.collect()
    assert client.sock.recv(1) == b""
    assert not caplog.records
    client.close()


def test_stop_ends_what_is_being_accepted(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that comes together with stop() is closed too, whatever asyncio has made of it by then."""
    fake = FakeOpenRouter().start()
    url, server = urlsplit(fake.base_url), fake._server
    assert server is not None
    is_held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        is_held.set()
        go_on.wait(30)

    server._loop.call_soon_threadsafe(hold)
    is_held.wait(30)
    client = socket.create_connection((str(url.hostname), url.port or 0), timeout=30)
    server._loop.call_soon_threadsafe(server._stopping.set)
    go_on.set()
    fake.stop()
    gc.collect()
    with suppress(ConnectionResetError):
        assert client.recv(1) == b""
    assert not caplog.records
    client.close()


def test_taken_port_is_named() -> None:
    """A port that is in use gives an error that names it and says what to do."""
    with FakeOpenRouter() as first:
        port = urlsplit(first.base_url).port or 0
        with pytest.raises(OSError, match=rf"port {port} .*give a free one, or 0"):
            FakeOpenRouter(port=port).start()


def test_second_start_is_refused(fake: FakeOpenRouter) -> None:
    """A fake that is served cannot be started again, but can be after stop()."""
    with pytest.raises(RuntimeError, match="already served"):
        fake.start()
    fake.stop()
    assert fake.start() is fake


def test_base_url_needs_a_server() -> None:
    """Before start() there is no base_url, and the error says how to get one."""
    with pytest.raises(RuntimeError, match="call start"):
        _ = FakeOpenRouter().base_url


def test_connection_is_kept_alive(fake: FakeOpenRouter) -> None:
    """One connection serves streamed and whole replies one after another."""
    client = connect(fake)
    local = []
    for body in (BODY, "{}", BODY):
        client.request("POST", PATH, body)
        client.getresponse().read()
        local.append(client.sock.getsockname())
    assert len(set(local)) == 1
    client.close()


def test_connection_closes_when_asked(fake: FakeOpenRouter) -> None:
    """A request with "Connection: close" is answered in full before the connection ends."""
    client = connect(fake)
    client.request("POST", PATH, BODY, {"Connection": "close"})
    assert client.getresponse().read().endswith(b"data: [DONE]\n\n")
    client.close()


def test_chunked_request_is_read(fake: FakeOpenRouter) -> None:
    """A request body that comes in chunks is put together."""
    client = connect(fake)
    client.request("POST", PATH, iter([b'{"model": "a/', b'model"}']), encode_chunked=True)
    client.getresponse().read()
    assert fake.requests[0].json == {"model": "a/model"}
    client.close()


def test_raw_body_and_status_are_sent(fake: FakeOpenRouter) -> None:
    """A raw body goes out with the status, type and bytes that were scripted."""
    fake.script(Answer(status=502, body=b"<html>", content_type="text/html"))
    client = connect(fake)
    client.request("POST", PATH, BODY)
    reply = client.getresponse()
    assert (reply.status, reply.headers["Content-Type"], reply.read()) == (502, "text/html", b"<html>")
    client.close()


def test_comments_stand_between_the_chunks(fake: FakeOpenRouter) -> None:
    """Processing comments come before the first chunk and between chunks."""
    fake.script(Answer(chunks=3, comments=2))
    client = connect(fake)
    client.request("POST", PATH, BODY)
    assert client.getresponse().read().count(b": OPENROUTER PROCESSING\n\n") == 6
    client.close()


def test_done_can_be_left_out(fake: FakeOpenRouter) -> None:
    """A stream can end without its [DONE] line."""
    fake.script(Answer(done=False))
    client = connect(fake)
    client.request("POST", PATH, BODY)
    assert b"[DONE]" not in client.getresponse().read()
    client.close()


def test_many_streams_wait_at_one_gate(fake: FakeOpenRouter) -> None:
    """A hundred streams are held at once by one thread, and all end when their gate opens."""
    gate, threads = threading.Event(), threading.active_count()
    fake.default = Answer(chunks=2, hold_after=1, gate=gate)
    clients = [connect(fake) for _ in range(100)]
    for client in clients:
        client.request("POST", PATH, BODY)
    replies = [client.getresponse() for client in clients]
    fake.wait_for(lambda: len(fake.requests) == 100)
    # Threads of other tests may end meanwhile.
    assert threading.active_count() <= threads
    gate.set()
    assert all(reply.read().endswith(b"data: [DONE]\n\n") for reply in replies)
    for client in clients:
        client.close()


def test_books_hold_under_threads(fake: FakeOpenRouter) -> None:
    """Requests from many threads are all charged and all have ids of their own."""
    fake.default = Answer(cost=0.1)

    def work() -> None:
        client = connect(fake)
        for _ in range(10):
            client.request("POST", PATH, BODY)
            client.getresponse().read()
        client.close()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert fake.charged_usd == 8
    assert len(fake.generations) == 80


def test_wait_for_gives_up(fake: FakeOpenRouter) -> None:
    """wait_for() raises TimeoutError where its condition never holds."""
    with pytest.raises(TimeoutError, match="did not hold"):
        fake.wait_for(lambda: False, timeout_s=0.01)


def test_garbage_only_ends_its_connection(fake: FakeOpenRouter) -> None:
    """Bytes that are no HTTP end their own connection and nothing else."""
    url = urlsplit(fake.base_url)
    with socket.create_connection((str(url.hostname), url.port or 0)) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert sock.recv(1) == b""
    client = connect(fake)
    client.request("POST", PATH, BODY)
    assert client.getresponse().status == 200
    client.close()
