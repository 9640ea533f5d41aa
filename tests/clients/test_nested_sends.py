"""Sends inside sends, and sends of the SDK's: which of them are calls, and that nothing of ours is in their way."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import importlib
import json
import weakref
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from in_memory import Telemetry

import or_instrument
from or_instrument._calls import shield
from or_instrument._clients.aiohttp import AiohttpPatch
from or_instrument._clients.http_send import Sending
from or_instrument._clients.httpx import HTTPXPatch
from or_instrument._clients.inside import answers_of, response_of
from or_instrument._clients.requests import RequestsPatch
from or_instrument._clients.sent import Sent
from or_instrument._clients.under_way import INNERMOST, SDKCall, UnderWay

requests = pytest.importorskip("requests")
http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
URL = "https://openrouter.ai/api/v1"
HELLO: Any = {"model": "a/model", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(autouse=True)
def _fresh_log() -> Iterator[None]:
    """Each cause is logged once a process; here each test is the first."""
    shield._reported.clear()
    yield
    shield._reported.clear()


def answer(library: Any, cost: float = 0.5, status: int = 200) -> Any:
    """Return a response of a library, in memory."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": cost}
    body = {"id": "gen-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [], "usage": usage}
    return library.Response(status, json=body)


def streamed(library: Any) -> Any:
    """Return a response whose body is still to be read."""

    class Body(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            yield answer(library).content

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield answer(library).content

    return library.Response(200, stream=Body())


def costs(telemetry: Telemetry) -> list[float | None]:
    """Return the cost of each call, the least first."""
    return sorted(call.usage.cost if call.usage and call.usage.cost else 0.0 for call in telemetry.settle().calls)


def fail(_: Any) -> Any:
    """Fail as a transport does."""
    raise http.ConnectError("no route")


def test_a_transport_that_asks_another_client_is_the_sdks_call(telemetry: Telemetry) -> None:
    """What the transport of the SDK's client sends on through a client of its own, and answers with, counts once."""
    inner = http.Client(transport=http.MockTransport(lambda _: answer(http)))

    def send_on(request: Any) -> Any:
        return inner.send(inner.build_request("POST", f"{URL}/chat/completions?via=proxy", content=request.content))

    client = openai.OpenAI(base_url=URL, api_key="k", http_client=http.Client(transport=http.MockTransport(send_on)))
    client.chat.completions.create(**HELLO)

    assert costs(telemetry) == [0.5]


def test_a_transport_that_asks_for_something_else_makes_a_call_of_its_own(telemetry: Telemetry) -> None:
    """What it does not answer with is another call, and so is one that fails."""
    inner = http.Client(transport=http.MockTransport(lambda _: answer(http, cost=0.25)))

    failing = http.Client(transport=http.MockTransport(fail))

    def ask_twice(_: Any) -> Any:
        inner.post(f"{URL}/chat/completions", json={"model": "a/judge"})
        with pytest.raises(http.ConnectError):
            failing.post(f"{URL}/chat/completions", json={"model": "a/judge"})
        return answer(http)

    client = openai.OpenAI(base_url=URL, api_key="k", http_client=http.Client(transport=http.MockTransport(ask_twice)))
    client.chat.completions.create(**HELLO)

    assert costs(telemetry) == [0.0, 0.25, 0.5]
    assert sorted(call.outcome for call in telemetry.calls) == ["complete", "complete", "error"]


FAILS: Any = {"base_url": URL, "api_key": "k", "max_retries": 0}


def test_the_sdks_own_send_may_fail(telemetry: Telemetry) -> None:
    """What is raised below the SDK is one failed call of the SDK's, and no other."""
    client = openai.OpenAI(**FAILS, http_client=http.Client(transport=http.MockTransport(fail)))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**HELLO)
    assert [call.request.parameters["openrouter.client"] for call in telemetry.settle().calls] == ["openai"]


@pytest.mark.anyio
async def test_the_sdks_own_async_send_may_fail(telemetry: Telemetry) -> None:
    """The same where it is async."""
    client = openai.AsyncOpenAI(**FAILS, http_client=http.AsyncClient(transport=http.MockTransport(fail)))
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(**HELLO)
    assert [call.request.parameters["openrouter.client"] for call in telemetry.settle().calls] == ["openai"]


@pytest.mark.parametrize("asked", ["no request", None])
def test_what_the_library_refuses_it_refuses_in_its_own_words(telemetry: Telemetry, asked: Any) -> None:
    """An argument that is no request is the library's to complain of."""
    with httpx.Client() as client, pytest.raises((AttributeError, TypeError)) as without:
        httpx.Client.send.__wrapped__(client, asked)  # type: ignore[attr-defined]
    with httpx.Client() as client, pytest.raises(type(without.value), match=str(without.value)[:20]):
        client.send(asked)
    assert not telemetry.settle().calls


def test_a_port_that_is_none_is_the_librarys_to_refuse(telemetry: Telemetry) -> None:
    """Nothing can be recorded of a URL that leads nowhere."""
    request = requests.Request("GET", f"{URL}/key").prepare()
    request.url = "https://openrouter.ai:many/api/v1/key"
    with requests.Session() as session, pytest.raises((requests.RequestException, ValueError)):
        session.send(request)
    assert not telemetry.settle().calls


def test_a_wrapper_that_was_taken_off_does_nothing(telemetry: Telemetry) -> None:
    """Who holds a method of ours from before `uninstrument()` calls the library's own."""
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx))) as client:
        send = client.send
        or_instrument.uninstrument()
        assert send(client.build_request("POST", f"{URL}/chat/completions", json=HELLO)).status_code == 200
    assert not telemetry.settle().calls


@pytest.mark.parametrize("content", [b"[1, 2]", b"{half", b'{"a":' * 100_000, "\u00fc".encode("latin-1"), b""])
def test_a_body_that_is_no_object_is_recorded_without_what_it_asks(telemetry: Telemetry, content: bytes) -> None:
    """What cannot be read of the request stays unknown; the bill is read from the answer."""
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx))) as client:
        client.post(f"{URL}/chat/completions", content=content)
    (call,) = telemetry.settle().calls
    assert (call.request.model, call.usage and call.usage.cost) == (None, 0.5)


@pytest.mark.usefixtures("telemetry")
def test_a_failure_of_ours_leaves_a_send_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that cannot be described, and a response that cannot be looked at, go through."""

    def is_broken(*_args: object) -> Any:
        raise ZeroDivisionError

    with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx))) as client:
        for broken in ("or_instrument._clients.sent._object", "or_instrument._clients.httpx.answer_of"):
            with monkeypatch.context() as patch:
                patch.setattr(broken, is_broken)
                assert client.post(f"{URL}/chat/completions", json=HELLO).json()["id"] == "gen-1"
    assert "ZeroDivisionError" in caplog.text


def test_a_limit_that_is_spent_stops_a_send_before_it_is_sent(telemetry: Telemetry) -> None:
    """The library's send is not called."""
    sent: list[Any] = []

    def note(request: Any) -> Any:
        sent.append(json.loads(request.content))
        return answer(httpx)

    with httpx.Client(transport=httpx.MockTransport(note)) as client, or_instrument.track(limit_usd=0.1):
        client.post(f"{URL}/chat/completions", json=HELLO)
        with pytest.raises(or_instrument.BudgetExceeded):
            client.post(f"{URL}/chat/completions", json=HELLO)
    assert len(sent) == len(telemetry.settle().calls) == 1


def test_what_ends_in_another_context_leaves_that_alone() -> None:
    """A coroutine may be destroyed in another context than it ran in: what is under way there stays."""
    around, call = SDKCall(None), UnderWay()
    here = contextvars.copy_context()
    here.run(call.__enter__)
    with around:
        call.__exit__(None, None, None)
        assert INNERMOST.get() is around
    assert not call.is_running


def test_a_failure_of_ours_at_a_response_leaves_it_alone(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is the caller's; its call is abandoned."""

    def is_broken(*_args: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("or_instrument._clients.http_send.Sending.answered", is_broken)
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx))) as client:
        assert client.post(f"{URL}/chat/completions", json=HELLO).json()["id"] == "gen-1"
    monkeypatch.undo()
    assert [call.outcome for call in telemetry.settle().calls] == ["abandoned"]
    assert "looking at a response" in caplog.text


def test_a_host_that_only_holds_the_name_is_another(telemetry: Telemetry) -> None:
    """The quick search finds it, and it is none all the same."""
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx))) as client:
        client.post("https://openrouter.ai.example.com/api/v1/chat/completions", json=HELLO)
    assert not telemetry.settle().calls


@pytest.mark.parametrize("seam", [HTTPXPatch, RequestsPatch, AiohttpPatch])
def test_a_library_that_comes_after_the_end_stays_as_it_is(seam: Any) -> None:
    """Where it is imported after `uninstrument()`, nothing is wrapped."""
    patch = seam(SimpleNamespace(hosts=SimpleNamespace(search=None)), lambda: False)
    patch.remove()
    patch.wrap(SimpleNamespace())
    assert not patch.lost()


def test_what_only_stands_for_a_request_may_fail() -> None:
    """Without a call there is nobody to tell, and what was made inside ends."""
    sending = Sending(lambda: Sent("POST", URL))
    with pytest.raises(ValueError, match="no route"), sending:
        raise ValueError("no route")
    assert not sending.is_running


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_that_an_inner_client_streams_counts_once(telemetry: Telemetry, is_streamed: bool) -> None:
    """Read by the outer client, or by the user: it is one answer."""
    inner = httpx.Client(transport=httpx.MockTransport(lambda _: streamed(httpx)))

    def send_on(request: Any) -> Any:
        changed = inner.build_request("POST", request.url, json={**json.loads(request.content), "via": "proxy"})
        return inner.send(changed, stream=True)

    with httpx.Client(transport=httpx.MockTransport(send_on)) as client:
        if is_streamed:
            with client.stream("POST", f"{URL}/chat/completions", json=HELLO) as response:
                response.read()
        else:
            response = client.post(f"{URL}/chat/completions", json=HELLO)
    assert response.json()["id"] == "gen-1"
    assert costs(telemetry) == [0.5]
    assert not {"iter_bytes", "iter_raw", "close"} & vars(response).keys()


@pytest.mark.anyio
async def test_a_task_that_outlives_the_send_around_it_makes_a_call_of_its_own(telemetry: Telemetry) -> None:
    """Begun inside, ended after: recorded when it ends, and failed where it fails."""
    go, tasks = asyncio.Event(), list[asyncio.Task[Any]]()

    async def late(request: Any) -> Any:
        await go.wait()
        if b"fails" in request.content:
            raise httpx.ConnectError("no route")
        return answer(httpx, cost=0.25)

    other = httpx.AsyncClient(transport=httpx.MockTransport(late))

    async def hook(_: Any) -> None:
        tasks.extend(
            asyncio.create_task(other.post(f"{URL}/chat/completions", json={"model": m})) for m in ("a", "fails")
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    transport = httpx.MockTransport(lambda _: answer(httpx))
    async with httpx.AsyncClient(transport=transport, event_hooks={"request": [hook]}) as client:
        await client.post(f"{URL}/chat/completions", json=HELLO)
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert costs(telemetry) == [0.0, 0.25, 0.5]
    assert sorted(call.outcome for call in telemetry.calls) == ["complete", "complete", "error"]


@pytest.mark.parametrize("spelled", [json.dumps({"model": "b"}), {"model": "b"}, b'{"model":"b"}'])
def test_a_hook_that_posts_to_the_same_url_makes_a_call_of_its_own(telemetry: Telemetry, spelled: Any) -> None:
    """Whatever kind of object its body is: it is another one."""
    around = Sending(lambda: Sent("POST", URL, b'{"model":"a"}'))
    assert not around.carries(Sent("POST", URL, spelled))
    assert around.carries(Sent("POST", URL, {"model": "a"}))
    assert around.carries(Sent("POST", URL, '{"model": "a"}'))
    assert around.carries(Sent("POST", URL, None))
    assert not telemetry.calls


def test_a_url_that_is_escaped_otherwise_is_the_same() -> None:
    """Libraries differ in what they escape."""
    around = Sending(lambda: Sent("POST", f"{URL}?at=2026-01-01T00%3A00", "not \ud800 json"))
    assert around.carries(Sent("POST", f"{URL}?at=2026-01-01T00:00", "not \ud800 json"))
    assert not around.carries(Sent("GET", f"{URL}?at=2026-01-01T00:00"))


def test_what_a_gateway_sends_on_with_its_clients_agent_is_recorded(telemetry: Telemetry) -> None:
    """The name of the OpenAI SDK in a header is no call of this process's SDK."""
    agent = {"user-agent": "OpenAI/Python 3.57.0"}
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx))) as client:
        client.post(f"{URL}/chat/completions", json=HELLO, headers=agent)
    assert costs(telemetry) == [0.5]


def test_an_exception_with_a_history_of_its_own_is_the_callers(telemetry: Telemetry) -> None:
    """What the caller's exceptions are like is nothing to us."""

    class TheirsError(Exception):
        history = None
        response = property(lambda _self: 1 / 0)

    def hook(_: Any) -> None:
        with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx, cost=0.25))) as other:
            other.post(f"{URL}/chat/completions", json={"model": "b"})
        raise TheirsError

    transport = httpx.MockTransport(lambda _: answer(httpx))
    with httpx.Client(transport=transport, event_hooks={"request": [hook]}) as client, pytest.raises(TheirsError):
        client.post(f"{URL}/chat/completions", json=HELLO)
    assert costs(telemetry) == [0.0, 0.25]
    assert sorted(call.outcome for call in telemetry.calls) == ["complete", "error"]


def test_what_a_hook_raises_of_another_answer_is_not_this_ones(telemetry: Telemetry) -> None:
    """A hook that asks elsewhere, and raises what it got there: that is a call of its own, with its bill."""
    other = http.Client(transport=http.MockTransport(lambda _: answer(http, cost=0.25, status=402)))

    def hook(*_: Any, **__: Any) -> None:
        other.post(f"{URL}/embeddings", json={"model": "b"}).raise_for_status()

    transport = httpx.MockTransport(lambda _: answer(httpx))
    client = httpx.Client(transport=transport, event_hooks={"response": [hook]})
    with client, pytest.raises(http.HTTPStatusError):
        client.post(f"{URL}/chat/completions", json=HELLO)
    told = {call.request.operation: call for call in telemetry.settle().calls}
    assert told["embeddings"].usage is not None
    assert told["embeddings"].usage.cost == 0.25
    assert told["chat"].reply.status_code != 402
    assert told["chat"].usage is None or told["chat"].usage.cost != 0.25


def test_what_a_hook_of_the_sdks_client_raises_is_not_the_calls_answer(telemetry: Telemetry) -> None:
    """Also where it asks the same URL: another body is another request."""
    other = http.Client(transport=http.MockTransport(lambda _: answer(http, cost=0.25, status=402)))

    def hook(_: Any) -> None:
        other.post(f"{URL}/chat/completions", json={"model": "b"}).raise_for_status()

    below = http.Client(transport=http.MockTransport(lambda _: answer(http)), event_hooks={"response": [hook]})
    client = openai.OpenAI(base_url=URL, api_key="k", max_retries=0, http_client=below)
    with client, contextlib.suppress(Exception):
        client.chat.completions.create(**HELLO)
    told = {call.request.model: call for call in telemetry.settle().calls}
    assert told["b"].usage is not None
    assert told["b"].usage.cost == 0.25
    assert told["a/model"].reply.status_code != 402
    assert told["a/model"].usage is None


@pytest.mark.parametrize(
    ("request_of", "is_own"),
    [
        (RuntimeError("has not been set"), True),
        (None, True),
        (httpx.Request("GET", URL), False),
        (httpx.Request("POST", URL), True),
    ],
    ids=["made by a hook", "none", "another method", "the same"],
)
def test_whose_answer_an_exception_has(request_of: Any, is_own: bool) -> None:
    """That of what was sent, unless its own request says otherwise."""

    class Answer:
        status_code = 402

        @property
        def request(self) -> Any:
            if isinstance(request_of, Exception):
                raise request_of
            return request_of

    exc: Any = Exception()
    exc.response = Answer()
    assert (response_of(exc, lambda: Sent("POST", URL)) is exc.response) is is_own
    assert response_of(exc, None) is exc.response


def test_an_answer_whose_history_cannot_be_read_is_the_end_alone() -> None:
    """It may be any object of a client's."""

    class Answer:
        history = property(lambda _self: 1 / 0)

    end = Answer()
    assert answers_of(end) == (end,)


@pytest.mark.parametrize("library", [httpx, http])
def test_a_refusal_that_a_hook_raises_after_a_redirect_tells_its_status(telemetry: Telemetry, library: Any) -> None:
    """Hooks run before a response knows what led to it."""

    def refuse(request: Any) -> Any:
        if request.url.path.endswith("/"):
            return library.Response(429)
        return library.Response(307, headers={"location": f"{request.url}/"})

    def check(response: Any) -> None:
        if response.status_code == 429:
            response.raise_for_status()

    client = library.Client(
        transport=library.MockTransport(refuse), follow_redirects=True, event_hooks={"response": [check]}
    )
    with client, pytest.raises(library.HTTPStatusError):
        client.post(f"{URL}/chat/completions", json=HELLO)
    (call,) = telemetry.settle().calls
    assert call.reply.status_code == 429


@pytest.mark.anyio
async def test_nothing_of_a_call_is_held_by_a_timer_that_it_started(telemetry: Telemetry) -> None:
    """A timer keeps a copy of the context; an answer that is dropped unread is freed all the same, and abandoned."""
    dropped: list[weakref.ref[Any]] = []

    def start_timer(_: Any) -> Any:
        asyncio.get_running_loop().call_later(600, lambda: None)
        return streamed(httpx)

    async with httpx.AsyncClient(transport=httpx.MockTransport(start_timer)) as client:
        request = client.build_request("POST", f"{URL}/chat/completions", json=HELLO)
        dropped.append(weakref.ref(await client.send(request, stream=True)))
        gc.collect()
        assert dropped[0]() is None
        assert [call.outcome for call in telemetry.settle().calls] == ["abandoned"]


def test_a_transport_that_sends_the_same_request_on_carries_the_same_call(telemetry: Telemetry) -> None:
    """Whatever it does with the answer."""
    inner = httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx, cost=0.25)))

    def send_on(request: Any) -> Any:
        inner.send(inner.build_request("POST", request.url, content=request.content))
        return answer(httpx)

    with httpx.Client(transport=httpx.MockTransport(send_on)) as client:
        client.post(f"{URL}/chat/completions", json=HELLO)
    assert costs(telemetry) == [0.5]


def redirecting(library: Any, inner: Any) -> Any:
    """Return a transport that sends each request on, as those of aiohttp do: what comes back is made anew."""

    def send_on(request: Any) -> Any:
        try:
            response = inner.send(inner.build_request(request.method, request.url, content=request.read()))
        except library.ConnectError as exc:
            raise library.ConnectError("no route") from exc
        return library.Response(response.status_code, headers=response.headers, content=response.content)

    return library.MockTransport(send_on)


def hop(library: Any) -> Any:
    """Return a transport that redirects twice before it answers."""

    def answer_at(request: Any) -> Any:
        hops = int(request.url.params.get("hops", 0))
        where = {"Location": f"{URL}/chat/completions?hops={hops + 1}"}
        return library.Response(307, headers=where) if hops < 2 else answer(library)

    return library.MockTransport(answer_at)


def test_redirects_above_a_client_that_a_transport_has_are_one_call(telemetry: Telemetry) -> None:
    """Each hop passes both clients, and the bill counts once."""
    inner = httpx.Client(transport=hop(httpx))
    with httpx.Client(transport=redirecting(httpx, inner), follow_redirects=True) as client:
        response = client.post(f"{URL}/chat/completions", json=HELLO)
    assert len(response.history) == 2
    assert costs(telemetry) == [0.5]


def test_redirects_of_the_sdk_above_such_a_client_are_one_call(telemetry: Telemetry) -> None:
    """The SDK's client follows redirects too."""
    inner = http.Client(transport=hop(http))
    outer = http.Client(transport=redirecting(http, inner), follow_redirects=True)
    openai.OpenAI(base_url=URL, api_key="k", http_client=outer).chat.completions.create(**HELLO)
    assert [call.request.parameters["openrouter.client"] for call in telemetry.settle().calls] == ["openai"]


def test_a_redirect_that_leads_nowhere_is_one_failed_call(telemetry: Telemetry) -> None:
    """What the inner client raises is the outer's own."""

    def lead_nowhere(request: Any) -> Any:
        if request.url.params:
            raise httpx.ConnectError("no route", request=request)
        return httpx.Response(307, headers={"Location": "?hops=1"})

    inner = httpx.Client(transport=httpx.MockTransport(lead_nowhere))
    with (
        httpx.Client(transport=redirecting(httpx, inner), follow_redirects=True) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.post(f"{URL}/chat/completions", json=HELLO)
    assert [call.outcome for call in telemetry.settle().calls] == ["error"]


def test_what_raises_an_exception_without_a_request_is_looked_at(telemetry: Telemetry) -> None:
    """An exception of httpx may have no request, and says so by another; what failed inside is a call of its own."""

    def ask(_: Any) -> Any:
        with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx, cost=0.25))) as other:
            other.post(f"{URL}/chat/completions", json={"model": "b"})
        raise httpx.ReadError("lost")

    with (
        httpx.Client(event_hooks={"request": [ask]}, transport=httpx.MockTransport(fail)) as client,
        pytest.raises(httpx.ReadError),
    ):
        client.post(f"{URL}/chat/completions", json=HELLO)
    assert costs(telemetry) == [0.0, 0.25]


def test_a_limit_counts_what_a_hook_has_spent_so_far(telemetry: Telemetry) -> None:
    """Before it is known whether that is the outer call's own: a hook that asks on and on is stopped."""
    asked: list[Any] = []

    def ask(_: Any) -> None:
        with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx, cost=0.25))) as other:
            for _ in range(5):
                asked.append(other.post(f"{URL}/chat/completions", json={"model": "b"}))

    transport = httpx.MockTransport(lambda _: answer(httpx))
    with (
        httpx.Client(event_hooks={"request": [ask]}, transport=transport) as client,
        or_instrument.track(limit_usd=0.5) as cost,
        pytest.raises(or_instrument.BudgetExceeded, match=r"0\.5"),
    ):
        client.post(f"{URL}/chat/completions", json=HELLO)
    assert (len(asked), cost.total_usd, cost.calls) == (2, Decimal("0.5"), 3)
    assert costs(telemetry) == [0.0, 0.25, 0.25]


def test_a_limit_counts_what_turned_out_to_be_the_outer_calls_own_once(telemetry: Telemetry) -> None:
    """The transport's answer is the outer's; what it cost is spent once."""
    inner = httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx, cost=0.25)))

    def send_on(request: Any) -> Any:
        return inner.send(inner.build_request("POST", request.url, json={"via": "proxy"}))

    with httpx.Client(transport=httpx.MockTransport(send_on)) as client, or_instrument.track(limit_usd=0.5) as cost:
        client.post(f"{URL}/chat/completions", json=HELLO)
        cost.check_budget()
        assert (cost.total_usd, cost.calls) == (Decimal("0.25"), 1)
        client.post(f"{URL}/chat/completions", json=HELLO)
        with pytest.raises(or_instrument.BudgetExceeded):
            cost.check_budget()
    assert costs(telemetry) == [0.25, 0.25]


@pytest.mark.parametrize(("other", "is_same"), [("gr\u00fc\u00dfe".encode(), True), (b"other", False)])
def test_a_body_that_is_no_json_is_the_same_as_text_and_as_bytes(other: bytes, is_same: bool) -> None:
    """One library has it as the one, one as the other."""
    assert Sent("POST", URL, "gr\u00fc\u00dfe").is_same(Sent("POST", URL, other)) is is_same


def test_a_client_whose_auth_cannot_be_seen_sends_as_it_would(caplog: pytest.LogCaptureFixture) -> None:
    """What is none of the library's clients may have another name for it: its arguments stay as they are."""
    patch = HTTPXPatch(SimpleNamespace(hosts=SimpleNamespace(search=None)), lambda: False)  # type: ignore[arg-type]
    given = {"auth": object(), "stream": True}
    assert patch._with_auth(object(), given) is given
    assert "looking at an auth failed with AttributeError" in caplog.text
