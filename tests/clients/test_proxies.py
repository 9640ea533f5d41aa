"""Look-ups go the way of the call: by the proxy of the client that made it, with its credentials for both."""

from __future__ import annotations

import base64
import http.client
import http.server
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import httpx
import openai
import pytest
from handled import handled
from in_memory import Telemetry

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
requests = pytest.importorskip("requests")
pytestmark = pytest.mark.anyio

HOST: Final = "openrouter.invalid"
"""Known to the proxy alone: what goes past it goes nowhere."""
URL: Final = f"http://{HOST}/api/v1/chat/completions"
KEY: Final = {"Authorization": "Bearer sk-or-own"}
ASKED: Final[dict[str, Any]] = {"model": "a/model", "messages": []}


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes on what comes with a password, wherever it shall go, to one port."""

    port: int
    passed: list[tuple[str, str]]
    _PASSWORD: Final = "Basic " + base64.b64encode(b"user:word").decode()

    def do_GET(self) -> None:
        """Pass a GET on."""
        self._pass_on()

    def do_POST(self) -> None:
        """Pass a POST on."""
        self._pass_on()

    def _pass_on(self) -> None:
        if self.headers.get("proxy-authorization") != self._PASSWORD:
            self.send_error(407)
            return
        path = self.path.removeprefix(f"http://{HOST}")
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        there = http.client.HTTPConnection("127.0.0.1", self.port)
        there.request(self.command, path, body, {**self.headers, "Connection": "close"})
        answer = there.getresponse()
        data = answer.read()
        there.close()
        self.passed.append((self.command, self.headers.get("authorization", "")))
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy(fake: FakeOpenRouter) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Return where a proxy to the fake listens, and what it has passed on: methods, and whose key."""
    passed: list[tuple[str, str]] = []
    port = int(fake.base_url.rpartition(":")[2].partition("/")[0])
    handler = type("Handler", (Proxy,), {"port": port, "passed": passed})
    with handled(handler) as own_port:
        yield f"127.0.0.1:{own_port}", passed


def httpx_client(library: Any) -> Callable[[str], Awaitable[None]]:
    """Return what calls by a sync client with a proxy."""

    async def ask(proxy: str) -> None:
        with library.Client(proxy=f"http://user:word@{proxy}") as client:
            client.post(URL, json=ASKED, headers=KEY)

    return ask


def httpx_async_client(library: Any) -> Callable[[str], Awaitable[None]]:
    """Return what calls by an async client with a proxy for this host."""

    async def ask(proxy: str) -> None:
        transport = library.AsyncHTTPTransport(proxy=library.Proxy(f"http://{proxy}", auth=("user", "word")))
        async with library.AsyncClient(mounts={f"http://{HOST}": transport}, headers=KEY) as client:
            await client.post(URL, json=ASKED)

    return ask


async def sdk(proxy: str) -> None:
    """Call by the OpenAI SDK."""
    http = openai.DefaultHttpxClient(proxy=f"http://user:word@{proxy}")
    with openai.OpenAI(api_key="sk-or-own", base_url=URL.partition("/chat")[0], http_client=http) as client:
        client.chat.completions.create(**ASKED)
        or_instrument.flush(20)  # while it is open, it is asked itself


async def requests_session(proxy: str) -> None:
    """Call by a session with a proxy."""
    with requests.Session() as session:
        session.proxies["http"] = f"http://user:word@{proxy}"
        session.headers.update(KEY)
        session.post(URL, json=ASKED, timeout=60)


async def requests_option(proxy: str) -> None:
    """Call with a proxy for this request."""
    requests.post(URL, json=ASKED, headers=KEY, proxies={"http": f"http://user:word@{proxy}"}, timeout=60)


async def aiohttp_option(proxy: str) -> None:
    """Call with a proxy for this request, and the session's headers in another spelling than the request's."""
    session = aiohttp.ClientSession(headers={"authorization": "Bearer sk-or-session"})
    auth = aiohttp.BasicAuth("user", "word")
    async with (
        session,
        session.post(URL, json=ASKED, headers=KEY, proxy=f"http://{proxy}", proxy_auth=auth) as response,
    ):
        await response.read()


async def aiohttp_session(proxy: str) -> None:
    """Call by a session with a proxy."""
    async with (
        aiohttp.ClientSession(proxy=f"http://user:word@{proxy}", headers=KEY) as session,
        session.post(URL, json=ASKED) as response,
    ):
        await response.read()


async def requests_prepared_by_environment(_proxy: str) -> None:
    """Send what was prepared, by the proxy of the environment."""
    with requests.Session() as session:
        session.send(session.prepare_request(requests.Request("POST", URL, json=ASKED, headers=KEY)))


async def requests_by_environment(_proxy: str) -> None:
    """Call by the proxy of the environment."""
    requests.post(URL, json=ASKED, headers=KEY, timeout=60)


async def aiohttp_by_environment(_proxy: str) -> None:
    """Call by the proxy of the environment."""
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        session.post(URL, json=ASKED, headers=KEY) as response,
    ):
        await response.read()


async def httpx_by_environment(_proxy: str) -> None:
    """Call by the proxy of the environment."""
    httpx.post(URL, json=ASKED, headers=KEY)


WAYS: Final = {
    "httpx": httpx_client(httpx),
    "httpx2": httpx_client(httpx2),
    "httpx, async": httpx_async_client(httpx),
    "httpx2, async": httpx_async_client(httpx2),
    **{
        way.__name__: way
        for way in (
            *(sdk, requests_session, requests_option, aiohttp_option, aiohttp_session),
            *(httpx_by_environment, requests_by_environment, requests_prepared_by_environment, aiohttp_by_environment),
        )
    },
}


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated", "ignore:The 'proxy_auth' parameter is deprecated")
@pytest.mark.parametrize("way", WAYS)
async def test_lookup_goes_by_the_proxy_of_the_call(
    fake: FakeOpenRouter,
    instrumented: Callable[..., Telemetry],
    proxy: tuple[str, list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """The cost that an answer did not tell is asked for by the call's own proxy, with the call's own key."""
    at, passed = proxy
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if "environment" in way:
        monkeypatch.setenv("http_proxy", f"http://user:word@{at}")
    fake.script(Answer(omit_usage=True, cost=0.5))
    telemetry = instrumented(lookup="missing", hosts=[HOST])
    await WAYS[way](at)
    assert or_instrument.flush(20)
    assert [call.spend for call in telemetry.calls] == [None, 0.5]
    assert passed == [("POST", KEY["Authorization"]), ("GET", KEY["Authorization"])]


async def test_connector_that_is_not_known(
    fake: FakeOpenRouter, instrumented: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    """Past a connector of another kind, which may lead through a tunnel, nobody is asked."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(omit_usage=True))

    class Tunnel(aiohttp.TCPConnector):  # type: ignore[name-defined, misc]
        """As aiohttp_socks has one."""

    async with (
        aiohttp.ClientSession(connector=Tunnel()) as session,
        session.post(f"{fake.base_url}/chat/completions", json=ASKED) as response,
    ):
        assert response.status == 200
        await response.read()
    assert or_instrument.flush(20)
    assert [call.missing for call in telemetry.calls] == ["pending", "lookup_failed"]
    assert len(fake.requests) == 1
    assert "NoTargetError" in caplog.text
