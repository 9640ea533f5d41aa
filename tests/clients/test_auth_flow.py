"""What an auth of httpx sends by itself, before or after the request that it is for: calls of their own."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from in_memory import Telemetry

import or_instrument

httpx2 = pytest.importorskip("httpx2")
http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
URL = "https://openrouter.ai/api/v1"
AT = f"{URL}/chat/completions"
HELLO: Any = {"model": "a/model", "messages": [{"role": "user", "content": "Hello"}]}
JUDGE: Any = {"model": "a/judge", "messages": []}
COSTS = {"a/model": 0.5, "a/judge": 0.25}


def answered(library: Any) -> Callable[[Any], Any]:
    """Return what answers in memory, with the cost of the model that is asked."""

    def answer(request: Any) -> Any:
        body = json.loads(request.content or b"{}")
        if "fails" in body:
            raise library.ConnectError("no route")
        cost = COSTS.get(body.get("model"))
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": cost}
        said = {"id": f"gen-{cost}", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
        return library.Response(200, json={**said, "usage": usage})

    return answer


def judging(library: Any, *, needs_body: bool = False, then: Any = None, body: Any = JUDGE, at: str = AT) -> Any:
    """Return an auth that asks a judge before it lets a request go, and sends another one `then`."""

    class Judging(library.Auth):  # type: ignore[misc, name-defined]
        requires_response_body = needs_body

        def auth_flow(self, request: Any) -> Iterator[Any]:
            verdict = yield library.Request("POST", at, json=body)
            request.headers["Authorization"] = verdict.json()["id"] if needs_body else "k"
            answer = yield request
            assert answer.status_code == 200
            if then is not None:
                yield then(request)

    return Judging()


def told(telemetry: Telemetry) -> list[tuple[str | None, float | None, str]]:
    """Return model, spend and outcome of each call."""
    return sorted((call.request.model, call.spend, call.outcome) for call in telemetry.settle().calls)  # type: ignore[type-var]


BOTH = [("a/judge", 0.25, "complete"), ("a/model", 0.5, "complete")]


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("needs_body", [False, True])
@pytest.mark.parametrize("is_of_client", [False, True])
def test_what_an_auth_asks_is_a_call(
    telemetry: Telemetry, library: Any, *, needs_body: bool, is_of_client: bool
) -> None:
    """Whether or not it reads the answer, and whosever it is; what it is for is one call still."""
    auth = judging(library, needs_body=needs_body)
    given: Any = ({"auth": auth}, {}) if is_of_client else ({}, {"auth": auth})
    with library.Client(transport=library.MockTransport(answered(library)), **given[0]) as client:
        assert client.post(AT, json=HELLO, **given[1]).json()["id"] == "gen-0.5"
    assert told(telemetry) == BOTH


@pytest.mark.anyio
@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_what_an_async_auth_asks_is_a_call(telemetry: Telemetry, library: Any) -> None:
    """Written for async clients only."""

    class Judging(library.Auth):  # type: ignore[misc, name-defined]
        async def async_auth_flow(self, request: Any) -> AsyncIterator[Any]:
            await asyncio.sleep(0)
            verdict = yield library.Request("POST", AT, json=JUDGE)
            await verdict.aread()
            yield request

    async with library.AsyncClient(transport=library.MockTransport(answered(library)), auth=Judging()) as client:
        assert (await client.post(AT, json=HELLO)).json()["id"] == "gen-0.5"
    assert told(telemetry) == BOTH


def test_what_an_auth_of_the_sdks_client_asks_is_a_call(telemetry: Telemetry) -> None:
    """The SDK's own is one call, by its own seam."""
    transport = http.MockTransport(answered(http))
    client = openai.OpenAI(base_url=URL, api_key="k", http_client=http.Client(transport=transport, auth=judging(http)))
    client.chat.completions.create(**HELLO)
    assert told(telemetry) == BOTH
    assert {call.request.model: call.request.parameters["openrouter.client"] for call in telemetry.calls} == {
        "a/judge": "httpx",
        "a/model": "openai",
    }


def test_what_it_asks_for_another_host_is_a_call(telemetry: Telemetry) -> None:
    """The request that it is for is not recorded."""
    with httpx.Client(transport=httpx.MockTransport(answered(httpx)), auth=judging(httpx)) as client:
        client.post("https://other.example/v1/chat/completions", json=HELLO)
    assert told(telemetry) == BOTH[:1]


def test_what_it_asks_of_another_host_is_none(telemetry: Telemetry) -> None:
    """Most exchange a token somewhere else, or for nothing."""
    for at, body in (("https://other.example/token", JUDGE), (f"{URL}/token", {"grant": "yes"})):
        auth = judging(httpx, at=at, body=body)
        with httpx.Client(transport=httpx.MockTransport(answered(httpx)), auth=auth) as client:
            client.post(AT, json=HELLO)
    assert told(telemetry) == BOTH[1:] * 2


@pytest.mark.parametrize(
    "then",
    [
        lambda it: it,
        lambda it: httpx.Request("POST", it.url, content=it.content),
        lambda _: httpx.Request("POST", f"{AT}?signed=1", json=HELLO),
    ],
    ids=["same", "copy", "signed"],
)
def test_what_an_auth_sends_on_is_the_same_call(telemetry: Telemetry, then: Any) -> None:
    """The last answer is the one of the call, also where the auth has sent a copy, or one that it has signed."""

    class Signing(httpx.Auth):
        def auth_flow(self, request: Any) -> Iterator[Any]:
            yield then(request)

    with httpx.Client(transport=httpx.MockTransport(answered(httpx)), auth=Signing()) as client:
        assert client.post(AT, json=HELLO).json()["id"] == "gen-0.5"
    assert told(telemetry) == BOTH[1:]


def test_what_an_auth_asks_may_fail(telemetry: Telemetry) -> None:
    """The exception is the caller's, and that of the one call that did not come to be."""
    auth = judging(httpx, body={**JUDGE, "fails": True})
    with (
        httpx.Client(transport=httpx.MockTransport(answered(httpx)), auth=auth) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.post(AT, json=HELLO)
    assert told(telemetry) == [("a/model", None, "error")]
    assert {call.failure and call.failure.type for call in telemetry.calls} == {"httpx.ConnectError"}


@pytest.mark.anyio
async def test_what_an_auth_asks_may_fail_or_be_cancelled_in_async_code(telemetry: Telemetry) -> None:
    """As above; a call that is cancelled is a failed one like any other."""
    waits, go = asyncio.Event(), asyncio.Event()

    async def wait(_: Any) -> Any:
        waits.set()
        await go.wait()

    auth = judging(httpx, body={**JUDGE, "fails": True})
    async with httpx.AsyncClient(transport=httpx.MockTransport(answered(httpx)), auth=auth) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(AT, json=HELLO)
    async with httpx.AsyncClient(transport=httpx.MockTransport(wait), auth=judging(httpx)) as client:
        task = asyncio.create_task(client.post(AT, json=HELLO))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told(telemetry) == [("a/model", None, "error")] * 2
    types = sorted(str(call.failure and call.failure.type) for call in telemetry.calls)
    assert types == ["asyncio.exceptions.CancelledError", "httpx.ConnectError"]


def test_a_budget_that_is_spent_stops_an_auth(telemetry: Telemetry) -> None:
    """It asks nobody any more, though its request was let go."""
    sent: list[Any] = []

    def note(request: Any) -> Any:
        sent.append(json.loads(request.content)["model"])
        return answered(httpx)(request)

    with httpx.Client(transport=httpx.MockTransport(note)) as client, or_instrument.track(limit_usd=0.5) as cost:
        client.post(AT, json=HELLO)
        with pytest.raises(or_instrument.BudgetExceeded):
            client.post("https://other.example/v1", json=HELLO, auth=judging(httpx))
    assert (sent, cost.calls) == (["a/model"], 1)
    assert told(telemetry) == BOTH[1:]


def test_an_auth_that_raises_is_the_callers(telemetry: Telemetry) -> None:
    """What it has asked before is a call."""

    class Raising(httpx.Auth):
        def auth_flow(self, _request: Any) -> Iterator[Any]:
            yield httpx.Request("POST", AT, json=JUDGE)
            raise KeyError("no token")

    with (
        httpx.Client(transport=httpx.MockTransport(answered(httpx)), auth=Raising()) as client,
        pytest.raises(KeyError, match="no token"),
    ):
        client.post(AT, json=HELLO)
    assert told(telemetry) == [BOTH[0], ("a/model", None, "error")]


@pytest.mark.parametrize(
    "auth", [None, ("a", "b"), lambda it: it, httpx.BasicAuth("a", "b"), httpx.DigestAuth("a", "b")]
)
def test_what_only_signs_is_left_as_it_is(telemetry: Telemetry, auth: Any) -> None:
    """A tuple, a function, and httpx's own."""
    with httpx.Client(transport=httpx.MockTransport(answered(httpx)), auth=("c", "d")) as client:
        client.post(AT, json=HELLO, auth=auth)
        with pytest.raises(TypeError, match="auth"):
            client.post(AT, json=HELLO, auth=5)  # type: ignore[arg-type]
    assert [call.outcome for call in telemetry.settle().calls] == ["complete", "error"]
