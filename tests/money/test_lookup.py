"""The cost of calls that ended without usage is recovered in the background, once, with their own credentials."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import odd_account
import openai
import pytest
from odd_account import OddAccount
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from opentelemetry.sdk.trace import ReadableSpan

import or_instrument
from or_instrument import Call, Reply, Request
from or_instrument._clients.target import NoTargetError, Target, sync_client, target_of
from or_instrument._money import account_requests as _requests
from or_instrument._money.lookup import Lookup, mark_pending
from or_instrument._money.lookup_queue import Lookups
from or_instrument.testing import Answer

ASK: Any = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}]}
COST = "gen_ai.usage.cost"
MISSING = "openrouter.usage.missing"


@pytest.fixture
def fake() -> Iterator[OddAccount]:
    """Return a running service with odd answers."""
    with OddAccount() as service:
        yield service  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_requests, "FIRST_WAIT_S", 0.001)


@pytest.fixture
def recovering(instrumented: Callable[..., Any]) -> Any:
    """Return the telemetry of `lookup="missing"`."""
    return instrumented(lookup="missing")


def break_off(client: openai.OpenAI, **options: Any) -> None:
    """Begin a stream and close it after its first chunk."""
    with client.chat.completions.create(**ASK, stream=True, **options) as stream:
        next(iter(stream))


def test_cost_of_a_broken_off_stream_is_recovered(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """A stream closed early is looked up; its cost is told once, exactly, and it is not missing."""
    fake.script(Answer(cost=0.0123))
    break_off(client)
    assert or_instrument.flush()
    first, second = recovering.calls
    assert (first.outcome, first.missing, first.usage) == ("closed", "pending", None)
    assert (second.recovers, second.missing, second.usage.source) == (first.id, None, "generation")
    assert second.usage.spend_exact == Decimal("0.0123") == fake.charged_usd
    assert second.id != first.id
    assert (recovering.total(COST), recovering.total(MISSING)) == (0.0123, 0)


@pytest.mark.parametrize(("byok", "is_lower_bound"), [(True, True), (False, False)])
def test_what_a_broken_off_stream_cost_on_ones_own_key_is_a_lower_bound(
    recovering: Any, fake: OddAccount, client: openai.OpenAI, byok: bool, is_lower_bound: bool
) -> None:
    """The provider may go on and bill the key for more; what OpenRouter itself charges ends with the stream."""
    fake.script(Answer(cost=0.01, byok=byok, upstream=0.2))
    with or_instrument.track() as cost:
        break_off(client)
    assert or_instrument.flush()
    _, recovered = recovering.calls
    assert recovered.usage.lower_bound is is_lower_bound
    assert (cost.calls, cost.unknown, cost.lower_bound) == (1, 0, int(is_lower_bound))
    spans = {span.name: dict(span.attributes) for span in recovering.spans()}
    assert ("openrouter.usage.lower_bound" in spans["generation a/model"]) is is_lower_bound
    assert "openrouter.usage.lower_bound" not in spans["chat a/model"]


def test_speech_on_ones_own_key_is_no_lower_bound(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """It came to its end, and its cost is whole."""
    fake.script(Answer(cost=0.01, byok=True, upstream=0.2))
    client.audio.speech.create(model="vendor/model", input="hi", voice="alloy")
    assert or_instrument.flush()
    _, recovered = recovering.calls
    assert (recovered.usage.is_byok, recovered.usage.lower_bound) == (True, False)


def test_recovered_cost_is_a_span_in_the_same_trace(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """The look-up is a child span of the call's, with cost and native tokens, and is no second call."""
    fake.script(Answer(cost=0.5, prompt_tokens=40, completion_tokens=2, byok=True, upstream=1))
    with or_instrument.attributes(feature="search"):
        break_off(client)
    or_instrument.flush()
    call, generation = recovering.spans()
    assert generation.name == "generation a/model"
    assert (generation.parent.span_id, generation.context.trace_id) == (call.context.span_id, call.context.trace_id)
    attributes = dict(generation.attributes)
    assert "gen_ai.operation.name" not in attributes
    expected = {
        "openrouter.usage.source": "generation",
        "openrouter.usage.cost": 0.5,
        "openrouter.usage.spend": 1.5,
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 2,
        "feature": "search",
    }
    assert expected.items() <= attributes.items()
    assert "openrouter.usage.cost" not in call.attributes


def test_recovered_call_adds_money_and_tokens_but_no_duration(recovering: Any, client: openai.OpenAI) -> None:
    """A call that was looked up is one call in the duration histogram, and its tokens are counted."""
    break_off(client)
    or_instrument.flush()
    (duration,) = recovering.metrics()["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert recovering.total("gen_ai.client.token.usage", gen_ai__token__type="output") > 0


def test_nothing_is_looked_up_by_default(telemetry: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """Without the option a broken-off stream is missing, and no request is made that was not asked for."""
    break_off(client)
    or_instrument.flush()
    assert [call.missing for call in telemetry.calls] == ["closed"]
    assert telemetry.total(MISSING, openrouter__missing__reason="closed") == 1
    assert fake.lookups() == []


def test_speech_is_recovered_by_its_header(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """Speech, which has no usage at all, is found by the id in the response's headers."""
    fake.script(Answer(cost=0.25))
    client.audio.speech.create(model="a/voice", input="hi", voice="alloy")
    or_instrument.flush()
    assert [call.spend for call in recovering.calls] == [None, 0.25]


def test_known_cost_is_not_looked_up(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """A call that brought its usage, or was refused, is not asked about."""
    client.chat.completions.create(**ASK)
    fake.script(Answer(status=429, error={"code": 429, "message": "slow down"}))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ASK)
    or_instrument.flush()
    assert fake.lookups() == []
    assert [call.missing for call in recovering.calls] == [None, "rejected"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_async_calls_are_recovered_by_a_sync_sibling(
    recovering: Any, fake: OddAccount, aclient: openai.AsyncOpenAI
) -> None:
    """An async client's call is looked up from another thread, with the same key and headers, on any loop."""
    configured = aclient.with_options(default_headers={"X-Team": "blue"}, default_query={"tag": "x"})
    async with await configured.chat.completions.create(**ASK, stream=True) as stream:
        await stream.__anext__()
    or_instrument.flush()
    (lookup,) = fake.lookups()
    assert (lookup.headers["authorization"], lookup.headers["x-team"]) == ("Bearer sk-or-test", "blue")
    assert lookup.query["tag"] == "x"
    assert recovering.calls[1].spend == float(fake.charged_usd)


@pytest.mark.usefixtures("recovering")
def test_the_calls_own_credentials_are_used(fake: OddAccount, client: openai.OpenAI) -> None:
    """Headers of the one call win, and a key that changes during the call does not matter."""
    break_off(client, extra_headers={"Authorization": "Bearer tenant-7"})
    stream = client.chat.completions.create(**ASK, stream=True)
    client.api_key = "sk-or-other"
    stream.close()
    or_instrument.flush()
    assert [request.headers["authorization"] for request in fake.lookups()] == ["Bearer tenant-7", "Bearer sk-or-test"]


def test_a_closed_client_does_not_matter(recovering: Any, fake: OddAccount) -> None:
    """A look-up works when the client that made the call has been closed meanwhile."""
    with openai.OpenAI(api_key="sk-or-once", base_url=fake.base_url) as client:
        stream = client.chat.completions.create(**ASK, stream=True)
    stream.close()
    or_instrument.flush()
    assert [request.headers["authorization"] for request in fake.lookups()] == ["Bearer sk-or-once"]
    assert recovering.calls[-1].spend == float(fake.charged_usd)


def test_a_call_to_a_whole_url_is_asked_about_there(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """Where a call names another URL than its client, that host alone is asked."""
    with OddAccount() as other:
        stream = client.post(
            f"{other.base_url}/chat/completions",
            cast_to=ChatCompletion,
            body={**ASK, "stream": True},
            stream=True,
            stream_cls=openai.Stream[ChatCompletionChunk],
        )
        next(iter(stream))
        stream.close()
        or_instrument.flush()
        assert len(other.lookups()) == 1  # type: ignore[attr-defined]
    assert fake.requests == []
    assert recovering.calls


@pytest.mark.parametrize("answer", [odd_account.status(401), odd_account.html(), odd_account.body({"data": None})])
def test_what_cannot_be_recovered_is_missing(
    answer: Any, recovering: Any, fake: OddAccount, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """A look-up that fails counts the call as missing, once, in one log line at most, and nothing is lost."""
    fake.answers = [answer, answer]
    break_off(client)
    break_off(client)
    or_instrument.flush()
    assert [call.missing for call in recovering.calls].count("lookup_failed") == 2
    assert recovering.total(MISSING, openrouter__missing__reason="lookup_failed") == recovering.total(MISSING) == 2
    assert sum("looking up" in record.message for record in caplog.records) <= 1
    assert len(recovering.spans()) == 2


def test_late_and_broken_answers_are_asked_again(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """404 and 500 are asked again, and the cost is told once."""
    fake.answers = [odd_account.status(404), odd_account.status(500), odd_account.status(404)]
    break_off(client)
    or_instrument.flush()
    assert len(fake.lookups()) == 4
    assert recovering.total(COST) == float(fake.charged_usd)


def test_nobody_waits_for_a_server_that_hangs(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """While a look-up hangs, calls go on and flush() returns in its time, saying that not all is done."""
    fake.answers = [fake.hanging()]
    break_off(client)
    client.chat.completions.create(**ASK)
    assert not or_instrument.flush(0.2)
    assert [call.missing for call in recovering.calls] == ["pending", None]
    fake.gate.set()
    or_instrument.flush()
    assert recovering.calls[-1].missing == "lookup_failed"


def pending(number: int, told: list[Call]) -> Lookup:
    """Return a call whose cost is to be looked up at a place that does not exist."""
    request, reply = Request("chat", "openrouter", "m", "h", 443), Reply(id="gen-1")
    call = Call(number, request, reply, "closed", 0, 1.0, None, "pending")
    return Lookup(call, [told.append], Target(None, "", {}))


def test_full_queue_gives_up_the_oldest() -> None:
    """A queue that is full drops its oldest call, which is told as missing."""
    told: list[Call] = []
    lookups = Lookups(capacity=2)
    for number in (101, 102, 103):
        lookups.add(pending(number, told))
    assert [(call.recovers, call.missing) for call in told] == [(101, "lookup_dropped")]
    assert not lookups.wait(0)
    lookups.close(0)
    assert [(call.recovers, call.missing) for call in told[1:]] == [(102, "lookup_failed"), (103, "lookup_failed")]
    assert lookups.wait(0)


def test_a_fork_leaves_the_queue_to_the_parent() -> None:
    """What was queued before a fork is none of the child's."""
    told: list[Call] = []
    lookups = Lookups(capacity=1)
    lookups.add(pending(1, told))
    lookups.forget()
    assert lookups.wait(0)
    lookups.add(pending(2, told))
    assert told == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_recovers_its_own_calls(recovering: Any, fake: OddAccount, client: openai.OpenAI) -> None:
    """A child process that is forked off has a thread of its own."""
    break_off(client)
    or_instrument.flush()
    before = len(fake.lookups())
    child = os.fork()
    if child == 0:
        try:
            with openai.OpenAI(api_key="sk-child", base_url=fake.base_url) as theirs:
                break_off(theirs)
            or_instrument.flush()
        finally:
            os._exit(0 if recovering.calls[-1].spend is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(fake.lookups()) == before + 1


def test_exit_waits_for_what_is_looked_up(fake: OddAccount) -> None:
    """A script that ends right after breaking a stream off still learns its cost."""
    script = """
        import openai, or_instrument
        def show(call): print(call.missing, call.spend)
        or_instrument.instrument(hosts="127.0.0.1", lookup="missing", sinks=[show])
        client = openai.OpenAI(api_key="k", base_url="URL")
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        next(iter(stream))
    """
    code = textwrap.dedent(script).replace("URL", fake.base_url)
    fake.script(Answer(cost=0.75))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["pending None", "None 0.75"]


def test_a_look_up_needs_an_openrouter_id() -> None:
    """Calls elsewhere, and those whose id is not a generation's, are not pending."""
    call = Call(1, Request("chat", "openrouter", "m", "h", 443), Reply(id="gen-1"), "closed", 0, 1.0, None, "closed")
    assert mark_pending(call).missing == "pending"
    assert mark_pending(call._replace(reply=Reply(id="chatcmpl-1"))).missing == "closed"
    assert mark_pending(call._replace(reply=Reply(generation_id="gen-2"))).missing == "pending"
    assert mark_pending(call._replace(request=call.request._replace(provider="openai"))).missing == "closed"
    assert mark_pending(call._replace(missing="rejected")).missing == "rejected"


HTTP: Any = sys.modules[
    next(
        base.__module__.partition(".")[0]
        for base in openai.DefaultHttpxClient.__mro__
        if base.__module__.startswith("httpx")
    )
]


@pytest.mark.anyio
async def test_a_sibling_has_the_settings_of_the_async_client() -> None:
    """Proxy and its credentials, certificates, cookies and time limits of an async client are its sibling's too."""
    context = ssl.create_default_context()
    proxy = HTTP.Proxy("http://user:word@127.0.0.1:3128")
    async with HTTP.AsyncClient(verify=context, proxy=proxy, cookies={"a": "b"}) as http:
        settings: Any = {"base_url": "http://host/api/v1", "timeout": 7, "organization": "org"}
        theirs = openai.AsyncOpenAI(api_key="k", http_client=http, **settings)
        with sync_client(theirs) as ours:
            assert isinstance(ours, openai.OpenAI)
            assert (str(ours.base_url), ours.timeout, ours.organization) == ("http://host/api/v1/", 7, "org")
            (mounted,) = ours._client._mounts.values()
            assert mounted._pool._ssl_context is context
            assert (mounted._pool._proxy_url.host, mounted._pool._proxy_url.port) == (b"127.0.0.1", 3128)
            assert mounted._pool._proxy_headers == [(b"Proxy-Authorization", b"Basic dXNlcjp3b3Jk")]
            assert ours._client.cookies["a"] == "b"
            assert ours._client.follow_redirects is False


@pytest.mark.anyio
async def test_a_transport_that_works_in_any_thread_is_borrowed(fake: OddAccount) -> None:
    """A mock transport asks as it did for the call, and is not closed with the sibling."""
    closed = threading.Event()

    class Mock(HTTP.MockTransport):
        def close(self) -> None:
            closed.set()

    async with HTTP.AsyncClient(transport=Mock(fake.handler)) as http:
        client = openai.AsyncOpenAI(api_key="k", base_url="http://nowhere/api/v1", http_client=http)
        with sync_client(client) as ours:
            assert or_instrument.fetch_key(ours).usage == 0
    assert not closed.is_set()


@pytest.mark.anyio
async def test_a_transport_bound_to_its_loop_is_not_gone_around() -> None:
    """Where only the event loop can use a transport, there is no sibling: another way could lead elsewhere."""

    class Bound(HTTP.AsyncBaseTransport): ...

    async with HTTP.AsyncClient(transport=Bound()) as http:
        client = openai.AsyncOpenAI(api_key="k", base_url="http://nowhere/api/v1", http_client=http)
        with pytest.raises(NoTargetError, match="event loop"), sync_client(client):
            pass


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/chat/completions", "http://host/api/v1/generation"),
        ("https://eu.host/api/v1/chat/completions?x=1", "https://eu.host/api/v1/generation"),
        ("https://eu.host/chat/completions", "https://eu.host/generation"),
    ],
)
def test_the_host_that_served_is_asked(path: str, url: str) -> None:
    """The look-up goes to the origin and version that the call went to."""

    class Options:
        url = path
        headers = None

    with openai.OpenAI(api_key="k", base_url="http://host/api/v1") as client:
        target: Target = target_of(client, Options())
    assert (target.url, dict(target.headers)) == (url, {"Authorization": "Bearer k"})


def test_spans_off_still_recovers(instrumented: Callable[..., Any], client: openai.OpenAI, fake: OddAccount) -> None:
    """Without spans and metrics a sink still gets the recovered cost."""
    telemetry = instrumented(lookup="missing", spans="off", metrics=False)
    break_off(client)
    or_instrument.flush()
    spans: list[ReadableSpan] = telemetry.spans()
    assert (spans, telemetry.calls[-1].spend) == ([], float(fake.charged_usd))
