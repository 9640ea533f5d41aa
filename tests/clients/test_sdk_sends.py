"""Calls of the OpenAI SDK that are answered otherwise: by a `send` of the user's own, or while we are switched off."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest
from in_memory import Telemetry

import or_instrument
from or_instrument._clients import under_way

requests = pytest.importorskip("requests")
http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
URL = "https://openrouter.ai/api/v1"
HELLO: Any = {"model": "a/model", "messages": [{"role": "user", "content": "Hello"}]}


def answer(library: Any, cost: float = 0.5, status: int = 200) -> Any:
    """Return a response of a library, in memory."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": cost}
    body = {"id": "gen-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [], "usage": usage}
    return library.Response(status, json=body)


def streamed() -> Any:
    """Return a response whose body is still to be read."""

    class Body(http.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            yield answer(http).content

    return http.Response(200, stream=Body())


def costs(telemetry: Telemetry) -> list[float | None]:
    """Return the cost of each call, the least first."""
    return sorted(call.usage.cost if call.usage and call.usage.cost else 0.0 for call in telemetry.settle().calls)


class Relaying(http.Client):  # type: ignore[misc]
    """A client with a `send` of its own, which calls no other of its class."""

    def __init__(self, relay: Any) -> None:
        super().__init__()
        self.relay = relay

    def send(self, request: Any, **_: Any) -> Any:
        """Send by somebody else."""
        return self.relay(request)


def by_another(request: Any) -> Any:
    """Have another client send the request as it is."""
    return http.Client(transport=http.MockTransport(lambda _: answer(http))).send(request)


def by_requests(request: Any) -> Any:
    """Have requests send it, and make an answer of the library's own."""
    with requests.Session() as session:
        session.mount("https://", Memory())
        theirs = session.post(str(request.url), data=request.content, timeout=60)
    return http.Response(theirs.status_code, content=theirs.content, request=request)


class Memory(requests.adapters.BaseAdapter):  # type: ignore[misc]
    """Answers in memory, after one failure."""

    failures = 0

    def send(self, request: Any, **_: Any) -> Any:
        """Answer."""
        response = requests.Response()
        response.status_code, response._content = 200, answer(http).content
        if Memory.failures:
            Memory.failures -= 1
            response.status_code, response._content = 500, b"{}"
        response.request, response.url = request, request.url
        return response

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("relay", [by_another, by_requests])
@pytest.mark.parametrize("failures", [0, 1])
def test_a_send_of_the_users_own_under_the_sdk_counts_once(
    telemetry: Telemetry, relay: Any, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subclass that calls no `super().send` sends by another client: that is the SDK's call, with its retries."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    Memory.failures = failures
    client = openai.OpenAI(base_url=URL, api_key="k", http_client=Relaying(relay), max_retries=1)
    client.chat.completions.create(**HELLO)
    assert [call.request.parameters["openrouter.client"] for call in telemetry.settle().calls] == ["openai"]
    assert costs(telemetry) == [0.5]


def test_what_such_a_send_asks_besides_is_a_call_of_its_own(telemetry: Telemetry) -> None:
    """It is neither the answer nor its request."""

    def relay(request: Any) -> Any:
        with httpx.Client(transport=httpx.MockTransport(lambda _: answer(httpx, cost=0.25))) as other:
            other.post(f"{URL}/chat/completions", json={"model": "a/judge"})
        return by_another(request)

    openai.OpenAI(base_url=URL, api_key="k", http_client=Relaying(relay)).chat.completions.create(**HELLO)
    assert costs(telemetry) == [0.25, 0.5]


def test_such_a_send_may_refuse(telemetry: Telemetry) -> None:
    """The refusal is the SDK's."""

    def relay(request: Any) -> Any:
        return http.Client(transport=http.MockTransport(lambda _: answer(http, status=400))).send(request)

    with pytest.raises(openai.BadRequestError):
        openai.OpenAI(base_url=URL, api_key="k", http_client=Relaying(relay)).chat.completions.create(**HELLO)
    assert [call.outcome for call in telemetry.settle().calls] == ["error"]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_call_that_is_on_its_way_when_we_are_switched_off_has_its_bill(
    telemetry: Telemetry, is_streamed: bool
) -> None:
    """Its answer passes nothing of ours in the SDK any more."""

    def switch_off(_: Any) -> Any:
        or_instrument.uninstrument()
        return streamed()

    client = openai.OpenAI(base_url=URL, api_key="k", http_client=http.Client(transport=http.MockTransport(switch_off)))
    raw = client.chat.completions.with_raw_response.create(**HELLO, stream=is_streamed)
    raw.http_response.read()
    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]
    assert costs(telemetry) == [0.5]


@pytest.mark.anyio
async def test_an_async_call_that_is_on_its_way_when_we_are_switched_off_has_its_bill(telemetry: Telemetry) -> None:
    """As above, also of httpx itself."""

    def switch_off(_: Any) -> Any:
        or_instrument.uninstrument()
        return answer(http)

    transport = http.MockTransport(switch_off)
    client = openai.AsyncOpenAI(base_url=URL, api_key="k", http_client=http.AsyncClient(transport=transport))
    await client.chat.completions.create(**HELLO)
    assert costs(telemetry) == [0.5]


def test_a_retry_after_we_were_switched_off_is_not_seen(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is that the call came through; what the first attempt was refused with is not its answer."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    statuses = iter((500, 200))

    def switch_off(_: Any) -> Any:
        or_instrument.uninstrument()
        return answer(http, status=next(statuses))

    http_client = http.Client(transport=http.MockTransport(switch_off))
    openai.OpenAI(base_url=URL, api_key="k", http_client=http_client, max_retries=1).chat.completions.create(**HELLO)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.missing) == ("complete", "no_usage")


def answers(status: int = 200) -> Any:
    """Return a transport that gives one answer."""
    return http.MockTransport(lambda _: answer(http, status=status))


class InPool(http.Client):  # type: ignore[misc]
    """A client that sends in a thread of its own, with a timeout over all."""

    def __init__(self, transport: Any) -> None:
        super().__init__(transport=transport)
        self.pool = ThreadPoolExecutor(1)

    def send(self, *args: Any, **options: Any) -> Any:
        """Send there."""
        return self.pool.submit(super().send, *args, **options).result(60)

    def close(self) -> None:
        """End the thread too."""
        super().close()
        self.pool.shutdown()


class OverPool(http.BaseTransport):  # type: ignore[misc]
    """A transport that sends by another client, in a thread of its own."""

    def __init__(self, transport: Any) -> None:
        self.client = InPool(transport)

    def handle_request(self, request: Any) -> Any:
        """Send there."""
        theirs = self.client.post(request.url, headers=request.headers, content=request.content)
        return http.Response(theirs.status_code, content=theirs.content)

    def close(self) -> None:
        """End the thread."""
        self.client.close()


@pytest.mark.parametrize("is_transport", [False, True], ids=["client", "transport"])
def test_a_send_in_another_thread_is_the_sdks_call(telemetry: Telemetry, *, is_transport: bool) -> None:
    """What the SDK sends through a thread that knows nothing of its call is recorded once."""
    own = http.Client(transport=OverPool(answers())) if is_transport else InPool(answers())
    with openai.OpenAI(base_url=URL, api_key="k", http_client=own) as client:
        client.chat.completions.create(**HELLO)
    assert [call.request.parameters["openrouter.client"] for call in telemetry.settle().calls] == ["openai"]
    assert costs(telemetry) == [0.5]


@pytest.mark.parametrize(
    "more",
    [
        {"extra_body": {"provider": {"order": ("a", "b")}}},
        {"logit_bias": {50256: -100}},
        {"extra_query": {"x": "1"}},
        {"messages": ({"role": "user", "content": "Hello"},)},
    ],
    ids=["tuple", "number as key", "query", "messages"],
)
def test_what_is_given_otherwise_than_it_is_sent_is_known_in_another_thread(
    telemetry: Telemetry, more: dict[str, Any]
) -> None:
    """A body that is no plain JSON when the SDK gets it is recorded once as well."""
    with openai.OpenAI(base_url=URL, api_key="k", http_client=InPool(answers())) as client:
        client.chat.completions.create(**{**HELLO, **more})
    assert costs(telemetry) == [0.5]


@pytest.mark.parametrize("status", [200, 400])
def test_no_call_of_the_sdk_is_kept(telemetry: Telemetry, status: int) -> None:
    """A call that is over, whatever its end, is none of those that a send in another thread may belong to."""
    with openai.OpenAI(base_url=URL, api_key="k", http_client=InPool(answers(status))) as client, suppress(Exception):
        client.chat.completions.create(**HELLO)
    assert len(telemetry.settle().calls) == 1
    assert [call for call in under_way._SDK_CALLS.values() if call.sends] == []


@pytest.mark.parametrize("is_streamed", [False, True], ids=["in memory", "streamed"])
def test_a_relay_in_another_thread_is_a_call_of_its_own(telemetry: Telemetry, *, is_streamed: bool) -> None:
    """Another request that says it is the SDK's, as one that a proxy hands on, is recorded while the SDK's is sent."""
    body = json.dumps({**HELLO, "model": "another/model", "usage": {"include": True}}).encode()

    def handler(request: Any) -> Any:
        if b"a/model" in request.content:
            headers = {"user-agent": request.headers["user-agent"]}
            with InPool(http.MockTransport(lambda _: answer(http, cost=0.25))) as other:
                other.post(f"{URL}/chat/completions", headers=headers, content=iter([body]) if is_streamed else body)
        return answer(http)

    with openai.OpenAI(base_url=URL, api_key="k", http_client=http.Client(transport=http.MockTransport(handler))) as it:
        it.chat.completions.create(**HELLO)
    assert costs(telemetry) == [0.25, 0.5]


@pytest.mark.anyio
async def test_a_task_that_is_dropped_is_freed(telemetry: Telemetry) -> None:
    """A call whose task nobody holds any more is destroyed as without us, and recorded as that."""

    async def handler(_: Any) -> Any:
        asked.set()
        await asyncio.get_running_loop().create_future()

    asked = asyncio.Event()
    own = http.AsyncClient(transport=http.MockTransport(handler))
    async with openai.AsyncOpenAI(base_url=URL, api_key="k", http_client=own) as client:
        task = asyncio.ensure_future(client.chat.completions.create(**HELLO))
        await asked.wait()
        dropped = weakref.ref(task)
        del task
        gc.collect()
    assert dropped() is None
    assert [call.outcome for call in telemetry.settle().calls] == ["error"]
    assert [call for call in under_way._SDK_CALLS.values() if call.sends] == []
