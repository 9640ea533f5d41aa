"""Calls through httpx, httpx2, requests and aiohttp: recorded once, with their bill, however they are read and end."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter, errors

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
requests = pytest.importorskip("requests")

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from in_memory import Telemetry

BODY: dict[str, Any] = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
STREAMED = {**BODY, "stream": True}
ORIGINALS = {
    owner: {name: vars(owner).get(name) for name in ("send", "_request")}
    for owner in (
        *(httpx.Client, httpx.AsyncClient, httpx2.Client, httpx2.AsyncClient),
        *(requests.Session, aiohttp.ClientSession),
    )
}


def url(fake: FakeOpenRouter, path: str = "chat/completions") -> str:
    """Return the URL of a path of the fake."""
    return f"{fake.base_url}/{path}"


def read_httpx(library: Any) -> Callable[..., None]:
    """Return what makes a call through a sync client of httpx or httpx2, and reads or leaves its answer."""

    def ask(at: str, body: Any, how: str) -> None:
        with library.Client() as client:
            if how == "whole":
                client.post(at, json=body)
                return
            with client.stream("POST", at, json=body) as response:
                # Held until the response is closed: a reader that is let go of before abandons it.
                lines = response.iter_lines() if how != "raw" else response.iter_raw()
                _read(lines, how)

    return ask


def read_requests(at: str, body: Any, how: str) -> None:
    """Make a call through requests, and read or leave its answer."""
    if how == "whole":
        requests.post(at, json=body, timeout=60)
        return
    with requests.post(at, json=body, stream=True, timeout=60) as response:
        lines = response.iter_lines() if how != "raw" else response.raw.stream(64, decode_content=False)
        _read(lines, how)


def _read(lines: Iterator[Any], how: str) -> None:
    for _ in lines:
        if how == "left":
            break


async def aread_aiohttp(at: str, body: Any, how: str) -> None:
    """Make a call through aiohttp, and read or leave its answer."""
    async with aiohttp.ClientSession() as session, session.post(at, json=body) as response:
        if how == "whole":
            await response.json(content_type=None)
            return
        lines = response.content if how != "raw" else response.content.iter_chunked(64)
        async for _ in lines:
            if how == "left":
                break


def aread_httpx(library: Any) -> Callable[..., Awaitable[None]]:
    """Return what makes a call through an async client of httpx or httpx2, and reads or leaves its answer."""

    async def ask(at: str, body: Any, how: str) -> None:
        async with library.AsyncClient() as client:
            if how == "whole":
                await client.post(at, json=body)
                return
            async with client.stream("POST", at, json=body) as response:
                lines = response.aiter_lines() if how != "raw" else response.aiter_raw()
                async for _ in lines:
                    if how == "left":
                        break

    return ask


SYNC = {"httpx": read_httpx(httpx), "httpx2": read_httpx(httpx2), "requests": read_requests}
ASYNC = {"httpx": aread_httpx(httpx), "httpx2": aread_httpx(httpx2), "aiohttp": aread_aiohttp}
CLIENTS = [*((name, "sync") for name in SYNC), *((name, "async") for name in ASYNC)]
pytestmark = [pytest.mark.anyio]


async def ask(client: tuple[str, str], at: str, body: Any, how: str) -> None:
    """Make a call through one of the clients."""
    name, kind = client
    if kind == "sync":
        SYNC[name](at, body, how)
    else:
        await ASYNC[name](at, body, how)


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_whole_answer(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """An answer that is read whole is one call with its bill, its parameters and the name of its seam."""
    await ask(client, url(fake), BODY, "whole")
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend, call.usage and call.usage.input_tokens) == (
        "complete",
        float(fake.charged_usd),
        fake.generations[call.generation_id or ""]["native_tokens_prompt"],
    )
    span = telemetry.span()
    assert span["openrouter.client"] == client[0].removesuffix("2")
    assert (span["gen_ai.request.model"], span["gen_ai.request.temperature"]) == ("a/model", 0.5)
    assert not any("hi" in str(value) for key, value in span.items() if key.startswith("gen_ai.input"))


@pytest.mark.parametrize("how", ["lines", "raw"])
@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_stream(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str], how: str) -> None:
    """A stream that is read to its end, by lines or in raw pieces, is one call with its bill and its first chunk."""
    await ask(client, url(fake), STREAMED, how)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend, call.request.stream) == ("complete", float(fake.charged_usd), True)
    assert call.time_to_first_chunk_s is not None


@pytest.mark.parametrize("body", [BODY, STREAMED], ids=["plain", "stream"])
async def test_answer_that_aiohttp_has_read_itself(telemetry: Telemetry, fake: FakeOpenRouter, body: Any) -> None:
    """What checks each answer, as a middleware may, has read it before the caller gets it: complete, with its bill."""

    async def check(response: Any) -> None:
        await response.read()

    async with aiohttp.ClientSession(raise_for_status=check) as session, session.post(url(fake), json=body) as response:
        assert await response.text()
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", float(fake.charged_usd))


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_left_stream(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """A stream that is left and closed is one call, closed, of unknown cost, and no error."""
    fake.script(Answer(chunks=50, pause_s=0.01))
    await ask(client, url(fake), STREAMED, "left")
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.missing, call.failure) == ("closed", "closed", None)
    assert telemetry.spans()[0].status.is_unset


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_refusal(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """A refusal is an error with its type, status and wait; these clients raise nothing of it."""
    fake.script(errors.rate_limit(3))
    await ask(client, url(fake), BODY, "whole")
    (call,) = telemetry.settle().calls
    assert call.failure is not None
    assert (call.outcome, call.failure.type, call.failure.status_code, call.failure.retry_after, call.missing) == (
        "error",
        "rate_limit_exceeded",
        429,
        3.0,
        "rejected",
    )


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_refusal_that_is_not_read(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """A refusal that is closed unread is an error all the same: its status has come."""
    fake.script(errors.server_error())
    await ask(client, url(fake), STREAMED, "left")
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.failure and call.failure.status_code) == ("error", 500)


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_lost_connection(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """A connection lost inside a stream is the user's exception, and one failed call."""
    fake.script(Answer(chunks=5, abort_after=2))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each library has its own
        await ask(client, url(fake), STREAMED, "lines")
    assert "or_instrument" not in type(caught.value).__module__
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("error", None)
    assert call.failure is not None


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_no_connection(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """A call that never came through is one failed call."""
    at = url(fake)
    fake.stop()
    with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own
        await ask(client, at, BODY, "whole")
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.missing) == ("error", "error")


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
@pytest.mark.parametrize("path", ["models", "key"])
async def test_other_requests_are_not_seen(
    telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str], path: str
) -> None:
    """A POST that tells no cost leaves no call and no span, whatever is sent."""
    await ask(client, url(fake, path), {"any": "thing"}, "whole")
    telemetry.settle()
    assert (telemetry.calls, telemetry.spans()) == ([], [])


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_nothing_is_changed(fake: FakeOpenRouter, instrumented: Any, client: tuple[str, str]) -> None:
    """The request is the same to the last byte, its headers too, whether or not somebody watches."""
    await ask(client, url(fake), STREAMED, "lines")
    instrumented(broadcast="propagate")
    await ask(client, url(fake), STREAMED, "lines")
    sent = [(request.headers, request.body) for request in fake.requests]
    assert sent[0] == sent[1]


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_budget(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """With the budget spent the call raises, and nothing is sent."""
    with or_instrument.track(limit_usd=0.00001):
        await ask(client, url(fake), BODY, "whole")
        with pytest.raises(or_instrument.BudgetExceeded):
            await ask(client, url(fake), BODY, "whole")
    assert (len(fake.requests), len(telemetry.calls)) == (1, 1)


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_scope(telemetry: Telemetry, fake: FakeOpenRouter, client: tuple[str, str]) -> None:
    """Attributes, trackers and the span around a call are those of the code that made it."""
    tracer = telemetry.tracer_provider.get_tracer("test")
    with (
        tracer.start_as_current_span("outer") as outer,
        or_instrument.attributes(feature="search"),
        or_instrument.track() as cost,
    ):
        await ask(client, url(fake), BODY, "whole")
    call_span = telemetry.spans()[0]
    assert call_span.parent is not None
    assert call_span.parent.span_id == outer.get_span_context().span_id
    assert dict(call_span.attributes or {})["feature"] == "search"
    assert cost.total_usd == fake.charged_usd


@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
async def test_clients_option(fake: FakeOpenRouter, instrumented: Any, client: tuple[str, str]) -> None:
    """A seam that was not asked for sees nothing."""
    word = client[0].removesuffix("2")
    seen = instrumented(clients=[word])
    await ask(client, url(fake), BODY, "whole")
    or_instrument.uninstrument()
    unseen = instrumented(clients=[other for other in ("openai", "httpx", "requests", "aiohttp") if other != word])
    await ask(client, url(fake), BODY, "whole")
    assert (len(seen.calls), unseen.calls) == (1, [])


def test_nothing_is_left(telemetry: Telemetry) -> None:
    """After `uninstrument()` the clients have the methods that they had."""
    assert telemetry.calls == []
    assert vars(httpx.Client)["send"] is not ORIGINALS[httpx.Client]["send"]
    or_instrument.uninstrument()
    assert {owner: {name: vars(owner).get(name) for name in names} for owner, names in ORIGINALS.items()} == ORIGINALS


@pytest.mark.parametrize("clients", [["openai"], ["openai", "httpx"], ["httpx"]])
def test_sdk_is_recorded_by_its_seam_or_not(fake: FakeOpenRouter, instrumented: Any, clients: list[str]) -> None:
    """A call of the OpenAI SDK is one call of its own seam, with each retry inside; without that seam it is none."""
    fake.script(errors.unavailable(0))
    telemetry = instrumented(clients=clients)
    with openai.OpenAI(api_key="k", base_url=fake.base_url, max_retries=1) as client:
        client.chat.completions.create(model="a/model", messages=[])
        list(client.chat.completions.create(model="a/model", messages=[], stream=True))
        seen = [call.request.parameters["openrouter.client"] for call in telemetry.settle().calls]
    assert seen == (["openai", "openai"] if "openai" in clients else [])
    assert len(fake.requests) == 3


def test_call_in_a_hook_of_the_sdk_is_one_of_its_own(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """What a hook asks besides, while the SDK sends, is another call, and the SDK's is one call still."""
    asked = []

    def hook(request: Any) -> None:
        if not asked:
            asked.append(request)
            with httpx2.Client() as inner:
                inner.post(url(fake), json={**BODY, "model": "b/model"})

    library = httpx2 if issubclass(openai.DefaultHttpxClient, httpx2.Client) else httpx
    with (
        library.Client(event_hooks={"request": [hook]}) as http,
        openai.OpenAI(api_key="k", base_url=fake.base_url, http_client=http) as client,
    ):
        client.chat.completions.create(model="a/model", messages=[])
    told = sorted(
        (call.request.model, call.request.parameters["openrouter.client"]) for call in telemetry.settle().calls
    )
    assert told == [("a/model", "openai"), ("b/model", "httpx")]


def test_redirects_are_one_call(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """A redirect that requests follows inside is the same call, with the bill of the last answer."""
    moved = Answer(status=307, headers={"Location": url(fake, "chat/completions?again=1")}, json_body={})
    fake.script(moved, Answer(cost=0.5))
    response = requests.post(url(fake), json=BODY, timeout=60)
    (call,) = telemetry.settle().calls
    assert (len(response.history), len(fake.requests), call.spend, call.outcome) == (1, 2, 0.5, "complete")


def test_call_in_a_hook_of_requests_is_one_of_its_own(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """What a response hook asks besides is another call."""

    def hook(_response: Any, **_: Any) -> None:
        requests.post(url(fake), json={**BODY, "model": "b/model"}, timeout=60)

    requests.post(url(fake), json=BODY, hooks={"response": hook}, timeout=60)
    assert sorted(call.request.model or "" for call in telemetry.settle().calls) == ["a/model", "b/model"]


def test_dropped_stream(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """A stream of requests that is let go of without a close is abandoned."""
    fake.script(Answer(chunks=50, pause_s=0.01))
    response = requests.post(url(fake), json=STREAMED, stream=True, timeout=60)
    lines = response.iter_lines()
    next(lines)
    del response, lines
    gc.collect()
    assert [call.outcome for call in telemetry.settle().calls] == ["abandoned"]


@pytest.mark.parametrize("client", [httpx, httpx2, requests], ids=lambda library: library.__name__)
def test_body_that_is_a_generator_is_not_read(fake: FakeOpenRouter, telemetry: Telemetry, client: Any) -> None:
    """A body that only the client may read is sent as it is; the call is recorded without what it asks."""
    read = []

    def pieces() -> Iterator[bytes]:
        for piece in (b'{"model": "a/model", ', b'"messages": []}'):
            read.append(piece)
            yield piece

    body = {"data": pieces()} if client is requests else {"content": pieces()}
    client.post(url(fake), headers={"Content-Type": "application/json"}, timeout=60, **body)
    (call,) = telemetry.settle().calls
    assert (len(read), call.request.model, call.spend) == (2, None, float(fake.charged_usd))


def test_unknown_path_that_tells_a_cost(telemetry: Telemetry) -> None:
    """A POST to a path that is not known is a call if its answer tells a cost, named by its last word."""
    body = json.dumps({"id": "gen-1", "usage": {"cost": 0.25}})
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    with httpx.Client(transport=transport) as client:
        client.post("https://openrouter.ai/api/v1/new/thing", json={"model": "a/model"})
        client.post("https://openrouter.ai/api/v1/new/batches", json={"model": "a/model"})
    (call,) = telemetry.settle().calls
    (span,) = telemetry.spans()
    assert (call.request.operation, call.spend, span.name) == ("thing", 0.25, "thing a/model")
    assert span.start_time == call.started_ns


def test_suppressed(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """Where OpenTelemetry's instrumentation is suppressed nothing is recorded."""
    utils = pytest.importorskip("opentelemetry.instrumentation.utils")
    with utils.suppress_instrumentation():
        httpx.post(url(fake), json=BODY)
        requests.post(url(fake), json=BODY, timeout=60)
    assert telemetry.settle().calls == []


def leave_httpx(library: Any, at: str, headers: dict[str, str]) -> None:
    """Leave a stream of httpx or httpx2."""
    with library.Client(headers=headers) as client, client.stream("POST", at, json=STREAMED) as response:
        next(response.iter_lines())


def leave_requests(at: str, headers: dict[str, str]) -> None:
    """Leave a stream of requests."""
    with requests.post(at, json=STREAMED, headers=headers, stream=True, timeout=60) as response:
        next(response.iter_lines())


async def aleave_aiohttp(at: str, headers: dict[str, str]) -> None:
    """Leave a stream of aiohttp."""
    async with aiohttp.ClientSession(headers=headers) as session, session.post(at, json=STREAMED) as response:
        await response.content.readline()


@pytest.mark.parametrize("client", ["httpx", "httpx2", "requests", "aiohttp"])
async def test_recovered_with_the_calls_own_key(fake: FakeOpenRouter, instrumented: Any, client: str) -> None:
    """The cost of a stream that was left is looked up with the key it was sent with, at the host that served it."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(chunks=50, pause_s=0.01, cost=0.5))
    headers = {"Authorization": "Bearer sk-or-own"}
    if client == "aiohttp":
        await aleave_aiohttp(url(fake), headers)
    elif client == "requests":
        leave_requests(url(fake), headers)
    else:
        leave_httpx({"httpx": httpx, "httpx2": httpx2}[client], url(fake), headers)
    assert or_instrument.flush(20)
    assert [(call.spend, call.recovers is None) for call in telemetry.calls] == [(None, True), (0.5, False)]
    asked = fake.requests[-1]
    assert (asked.path, asked.headers["authorization"]) == ("/api/v1/generation", "Bearer sk-or-own")


def test_batch_is_recorded_once_and_without_a_duration_point(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """A batch is one call, of the poll that first shows its cost, and its time is in no histogram of durations."""
    asked = {"model": "a/model", "endpoint": "/v1/chat/completions", "requests": [{"custom_id": "1", "body": BODY}]}
    with httpx.Client(base_url=fake.base_url) as client, or_instrument.track() as cost:
        batch = client.post("/batches", json=asked).json()
        for _ in range(3):
            client.get(f"/batches/{batch['id']}")
            client.get("/batches")
    (call,) = telemetry.settle().calls
    assert (call.request.operation, call.spend, cost.total_usd) == (
        "batches",
        float(fake.charged_usd),
        fake.charged_usd,
    )
    metrics = telemetry.metrics()
    assert "gen_ai.client.operation.duration" not in metrics
    assert telemetry.total("gen_ai.usage.cost") == call.spend


@pytest.mark.parametrize("first", ["usage", "results"])
def test_batch_of_any_size_tells_its_own_bill(telemetry: Telemetry, first: str) -> None:
    """Its results have usage objects too, and its id may stand far from both ends."""
    result = {"response": {"body": {"usage": {"cost": 0.001}, "choices": [{"finish_reason": "length"}]}}}
    batch: dict[str, Any] = {"usage": {"cost": 0.5}} if first == "usage" else {}
    batch |= {"id": "batch-1", "model": "a/model", "results": [result] * 2_000, "usage": {"cost": 0.5}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=batch))
    with httpx.Client(transport=transport) as client:
        client.get("https://openrouter.ai/api/v1/batches/batch-1")
    (call,) = telemetry.settle().calls
    assert (call.spend, call.reply.id, call.reply.model) == (0.5, "batch-1", "a/model")


def polled(*polls: dict[str, Any]) -> None:
    """Ask after one job, as often as there are answers."""
    answers = iter([*polls, polls[-1]])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"id": "job-1", **next(answers)}))
    with httpx.Client(transport=transport) as client:
        for _ in range(len(polls) + 1):
            client.get("https://openrouter.ai/api/v1/videos/job-1")


@pytest.mark.parametrize(
    ("polls", "expected"),
    [
        ([("pending", 0), ("in_progress", 0), ("completed", 0.5)], [0.5]),
        ([("in_progress", 0.1), ("completed", 0.5)], [0.5]),
        ([("validating", 0), ("finalizing", 0), ("cancelling", 0.2), ("cancelled", 0.2)], [0.2]),
        ([("pending", None), ("completed", None), ("completed", 0.5)], [0.5]),
        ([("completed", 0)], [0.0]),
        ([("failed", 0)], [0.0]),
        ([("failed", None)], []),
        ([("expired", 0)], [0.0]),
        ([(None, 0), (None, 0.5)], [0.5]),
        ([(None, 0)], []),
        ([("rendering", 0), ("done", 0.5)], [0.5]),
        ([(5, 0), ({}, 0.5)], [0.5]),
    ],
)
def test_job_is_recorded_with_its_final_cost(telemetry: Telemetry, polls: list[Any], expected: list[float]) -> None:
    """Once, when it is over; where no status that is known says so, when a cost is told that is not 0."""
    polled(*({"status": status, "usage": {"cost": cost}} for status, cost in polls))
    assert [call.spend for call in telemetry.settle().calls] == expected


def test_job_that_its_provider_bills_has_a_cost(telemetry: Telemetry) -> None:
    """With a key of the user's own OpenRouter may charge 0 and the provider more: that is no job without cost."""
    usage = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}
    polled({"usage": usage})
    assert [call.spend for call in telemetry.settle().calls] == [0.5]


def test_job_that_has_failed_is_an_error(telemetry: Telemetry) -> None:
    """Its cost is told all the same."""
    polled({"status": "failed", "error": {"message": "no"}, "usage": {"cost": 0.25}})
    assert [(call.spend, call.outcome) for call in telemetry.settle().calls] == [(0.25, "error")]


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_refusal_that_a_hook_raises_is_a_refusal(telemetry: Telemetry, library: Any) -> None:
    """Many a client has `raise_for_status` among its hooks: the status tells more than the exception."""
    transport = library.MockTransport(lambda _: library.Response(429, headers={"retry-after": "7"}))
    with (
        library.Client(transport=transport, event_hooks={"response": [lambda it: it.raise_for_status()]}) as client,
        pytest.raises(library.HTTPStatusError),
    ):
        client.post("https://openrouter.ai/api/v1/chat/completions", json=BODY)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.missing, call.reply.status_code) == ("error", "rejected", 429)
    assert call.failure is not None
    assert (call.failure.type, call.failure.retry_after) == ("429", 7.0)


@pytest.mark.parametrize(("reads", "told"), [(True, "payment_required"), (False, "402")])
@pytest.mark.parametrize("library", [httpx, httpx2, requests])
def test_refusal_that_a_hook_has_read_tells_its_type(
    fake: FakeOpenRouter, telemetry: Telemetry, library: Any, reads: bool, told: str
) -> None:
    """A hook that reads the body for its log, and raises then, leaves it in memory; one that does not, does not."""
    fake.script(errors.insufficient_credits())

    def check(response: Any, **_: Any) -> None:
        assert not reads or (response.read() if hasattr(response, "read") else response.content)
        response.raise_for_status()

    is_requests = library is requests
    client = requests.Session() if is_requests else library.Client(event_hooks={"response": [check]})
    with client, pytest.raises(Exception, match="402"):
        client.post(url(fake), json=BODY, **({"hooks": {"response": check}} if is_requests else {}))
    (call,) = telemetry.settle().calls
    assert call.failure is not None
    assert (call.failure.type, call.failure.status_code) == (told, 402)


def test_video_is_recorded_once_and_never_looked_up(fake: FakeOpenRouter, instrumented: Any) -> None:
    """A video's POST, which answers with a generation id, is no call; the poll that shows its cost is one."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(cost=0.5))
    video = requests.post(url(fake, "videos"), json={"model": "a/model", "prompt": "a cat"}, timeout=60).json()
    for _ in range(3):
        requests.get(url(fake, f"videos/{video['id']}"), timeout=60)
    telemetry.settle()
    assert [(call.request.operation, call.spend) for call in telemetry.calls] == [("videos", 0.5)]
    assert not [request for request in fake.requests if request.path.endswith("/generation")]


def test_job_of_the_sdk_is_recorded_too(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """The OpenAI SDK's own poll of a batch that is done is one call of its seam."""
    fake.job_polls = 0
    asked = {"model": "a/model", "endpoint": "/v1/chat/completions", "requests": []}
    with openai.OpenAI(api_key="k", base_url=fake.base_url, max_retries=0) as client:
        batch: Any = client.post("/batches", body=asked, cast_to=object)
        for _ in range(2):
            client.batches.retrieve(batch["id"])
    (call,) = telemetry.settle().calls
    assert (call.request.operation, call.request.parameters["openrouter.client"]) == ("batches", "openai")


def test_request_that_is_not_prepared(
    fake: FakeOpenRouter, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """What requests refuses to send is refused in its words, and is neither a call nor a fault of ours."""
    with requests.Session() as session, pytest.raises(ValueError, match="PreparedRequests"):
        session.send(requests.Request("POST", url(fake), json=BODY))
    assert (telemetry.settle().calls, caplog.records) == ([], [])


async def own_session_of_requests(at: str) -> int:
    """Send by a session of the user's."""

    class Session(requests.Session):  # type: ignore[misc]
        @property
        def _auth(self) -> Any:
            raise KeyError("token")

    with Session() as session:
        return session.post(at, json=BODY, timeout=60).status_code  # type: ignore[no-any-return]


async def own_session_of_aiohttp(at: str) -> int:
    """Send by a session of the user's."""

    class Session(aiohttp.ClientSession):  # type: ignore[misc]
        @property
        def _auth(self) -> Any:
            raise KeyError("token")

    async with Session() as session, session.post(at, json=BODY) as response:
        return response.status  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:Inheritance class Session")
@pytest.mark.parametrize("send", [own_session_of_requests, own_session_of_aiohttp])
async def test_what_a_session_of_the_users_calls_its_own_is_not_touched(
    fake: FakeOpenRouter, telemetry: Telemetry, send: Any
) -> None:
    """Only in httpx `_auth` is the library's."""
    assert await send(url(fake)) == 200
    assert len(telemetry.settle().calls) == 1


NAMED = {"X-Session-Id": "by header"}


async def by_httpx(at: str, body: Any) -> None:
    """Name a session in a header of httpx's."""
    httpx.post(at, json=body, headers=NAMED)


async def by_requests(at: str, body: Any) -> None:
    """Name a session in a header of requests'."""
    requests.post(at, json=body, headers=NAMED, timeout=60)


async def by_aiohttp(at: str, body: Any) -> None:
    """Name a session in a header of aiohttp's."""
    async with aiohttp.ClientSession() as session, session.post(at, json=body, headers=NAMED) as response:
        await response.read()


async def by_aiohttp_session(at: str, body: Any) -> None:
    """Name a session in a header of all that a session of aiohttp sends."""
    async with aiohttp.ClientSession(headers=NAMED) as session, session.post(at, json=body) as response:
        await response.read()


async def by_openai(at: str, body: Any) -> None:
    """Name a session in a header of a call."""
    own = {name: body[name] for name in ("session_id",) if name in body}
    with openai.OpenAI(api_key="k", base_url=at.removesuffix("/chat/completions")) as client:
        client.chat.completions.create(model="m", messages=[], extra_body=own, extra_headers=NAMED)


async def by_openai_client(at: str, body: Any) -> None:
    """Name a session in a header of all that a client sends."""
    own, base_url = {name: body[name] for name in ("session_id",) if name in body}, at.removesuffix("/chat/completions")
    with openai.OpenAI(api_key="k", base_url=base_url, default_headers=NAMED) as client:
        client.chat.completions.create(model="m", messages=[], extra_body=own)


@pytest.mark.parametrize("ask_by", [by_httpx, by_requests, by_aiohttp, by_aiohttp_session, by_openai, by_openai_client])
async def test_a_session_that_a_header_names(
    telemetry: Telemetry, fake: FakeOpenRouter, ask_by: Callable[[str, Any], Awaitable[None]]
) -> None:
    """Is the call's, unless its body names one; the body stays as it is."""
    for body in (BODY, {**BODY, "session_id": "by body"}):
        await ask_by(url(fake), body)
    told = [call.request.parameters["gen_ai.conversation.id"] for call in telemetry.settle().calls]
    assert told == ["by header", "by body"]
    assert [json.loads(request.body).get("session_id") for request in fake.requests] == [None, "by body"]
