"""Every shape in which the SDK makes a call: the same result and the same bytes as without us, and one true record."""

# ruff: noqa: D103 - the small ones' names say what they do; fixtures are arguments
from __future__ import annotations

import copy
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import openai
import pytest
from in_memory import Telemetry
from pydantic import BaseModel

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter, errors

pytestmark = pytest.mark.anyio

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
RESPONSES: dict[str, Any] = {"model": "openai/gpt-4o-mini", "input": "hi"}
RERANK = {"model": "cohere/rerank-v3.5", "query": "q", "documents": ["a", "b"]}
READERS = ("iter_bytes", "iter_text", "iter_lines", "read", "text", "json")
Instrumented = Callable[..., Telemetry]
Shape = Callable[[Any], Awaitable[Any]]


class Verdict(BaseModel):
    """What `.parse()` is asked for."""

    good: bool


def feature(path: str) -> Any:
    """Return what the installed SDK has under a path, such as `chat.completions.stream`, `None` where it has not."""
    found: Any = openai.OpenAI(api_key="k")
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def helper(client: Any, path: str) -> Any:
    """Return a helper of the client, which older SDKs keep under `beta`."""
    found = client if feature(path) else client.beta
    for name in path.split("."):
        found = getattr(found, name)
    return found


async def settled(value: Any) -> Any:
    """Return the value, awaited where it is to be."""
    return await value if inspect.isawaitable(value) else value


async def drained(stream: Any) -> list[Any]:
    """Return what is left of a sync or async iterable."""
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


class Entered:
    """A sync or async context manager, entered by `async with`."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        if hasattr(self._manager, "__aenter__"):
            return await self._manager.__aenter__()
        return self._manager.__enter__()

    async def __aexit__(self, *exc: Any) -> None:
        if hasattr(self._manager, "__aexit__"):
            await self._manager.__aexit__(*exc)
        else:
            self._manager.__exit__(*exc)


async def chat(client: Any) -> Any:
    return await settled(client.chat.completions.create(**CHAT))


async def chat_options(client: Any) -> Any:
    return await chat(client.with_options(timeout=20.0).copy(default_headers={"X-Title": "t"}))


async def chat_for(client: Any) -> Any:
    stream = await settled(client.chat.completions.create(stream=True, **CHAT))
    return [type(stream), *await drained(stream)]


async def chat_next(client: Any) -> Any:
    stream = await settled(client.chat.completions.create(stream=True, **CHAT))
    first = await stream.__anext__() if hasattr(stream, "__anext__") else next(stream)
    return [first, *await drained(stream)]


async def chat_with(client: Any) -> Any:
    stream = await settled(client.chat.completions.create(stream=True, **CHAT))
    async with Entered(stream) as entered:
        return [entered is stream, *await drained(entered)]


async def chat_helper(client: Any) -> Any:
    async with Entered(helper(client, "chat.completions.stream")(**CHAT)) as stream:
        events = await drained(stream)
        return [type(stream), [event.type for event in events], await settled(stream.get_final_completion())]


async def chat_parse(client: Any) -> Any:
    return await settled(helper(client, "chat.completions.parse")(**CHAT, response_format=Verdict))


async def raw_parsed(client: Any) -> Any:
    raw = await settled(client.chat.completions.with_raw_response.create(**CHAT))
    return [type(raw), raw.parse(), raw.parse() is raw.parse(), raw.headers.get("content-type"), raw.text]


async def raw_unparsed(client: Any) -> Any:
    return type(await settled(client.chat.completions.with_raw_response.create(**CHAT)))


async def raw_stream(client: Any) -> Any:
    raw = await settled(client.chat.completions.with_raw_response.create(stream=True, **CHAT))
    stream = raw.parse()
    return [type(raw), type(stream), *await drained(stream)]


async def streaming_parsed(client: Any) -> Any:
    async with Entered(client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return [type(response), await settled(response.parse())]


async def streaming_stream(client: Any) -> Any:
    async with Entered(client.chat.completions.with_streaming_response.create(stream=True, **CHAT)) as response:
        stream = await settled(response.parse())
        return [type(response), type(stream), *await drained(stream)]


def streaming_raw(reader: str, *, stream: bool) -> Shape:
    """Return the shape of a response whose body the user reads in this raw way."""

    async def shape(client: Any) -> Any:
        manager = client.chat.completions.with_streaming_response.create(stream=stream, **CHAT)
        async with Entered(manager) as response:
            read = getattr(response, reader)()
            if reader.startswith("iter_"):
                parts = await drained(read)
                return parts[0][:0].join(parts) if reader != "iter_lines" else parts
            return await settled(read)

    return shape


async def responses(client: Any) -> Any:
    return await settled(client.responses.create(**RESPONSES))


async def responses_for(client: Any) -> Any:
    stream = await settled(client.responses.create(stream=True, **RESPONSES))
    return [type(stream), *await drained(stream)]


async def responses_helper(client: Any) -> Any:
    async with Entered(client.responses.stream(**RESPONSES)) as stream:
        return [type(stream), [e.type for e in await drained(stream)], await settled(stream.get_final_response())]


async def responses_parse(client: Any) -> Any:
    return await settled(client.responses.parse(**RESPONSES, text_format=Verdict))


async def completions(client: Any) -> Any:
    return await settled(client.completions.create(model="m", prompt="hi"))


async def completions_for(client: Any) -> Any:
    return await drained(await settled(client.completions.create(model="m", prompt="hi", stream=True, n=2)))


async def embeddings(client: Any) -> Any:
    return await settled(client.embeddings.create(model="m", input=["a", "b"]))


async def embeddings_raw(client: Any) -> Any:
    return (await settled(client.embeddings.with_raw_response.create(model="m", input="a"))).parse()


async def rerank(client: Any) -> Any:
    return await settled(client.post("/rerank", cast_to=object, body=RERANK))


async def http_response(client: Any) -> Any:
    response = await settled(client.post("/chat/completions", cast_to=http.Response, body=CHAT))
    return [type(response), response.json()]


async def transcription(client: Any) -> Any:
    return await settled(client.audio.transcriptions.create(model="m", file=("a.mp3", b"sound")))


async def speech(client: Any) -> Any:
    spoken = await settled(client.audio.speech.create(model="m", input="hi", voice="alloy"))
    return [type(spoken), spoken.read()]


SHAPES: dict[str, Shape] = {
    made.__name__: made
    for needs, made in (
        ("", chat),
        ("", chat_options),
        ("", chat_for),
        ("", chat_next),
        ("", chat_with),
        ("", chat_helper),
        ("", chat_parse),
        ("", raw_parsed),
        ("", raw_unparsed),
        ("", raw_stream),
        ("", streaming_parsed),
        ("", streaming_stream),
        ("responses", responses),
        ("responses", responses_for),
        ("responses.stream", responses_helper),
        ("responses.parse", responses_parse),
        ("", completions),
        ("", completions_for),
        ("", embeddings),
        ("", embeddings_raw),
        ("", rerank),
        ("", http_response),
        ("", transcription),
        ("", speech),
    )
    if not needs or feature(needs)
}
SHAPES |= {f"streaming_{reader}": streaming_raw(reader, stream=False) for reader in READERS}
SHAPES |= {f"proxied_{reader}": streaming_raw(reader, stream=True) for reader in READERS if reader != "json"}
ANSWER = Answer(content='{"good": true}', prompt_tokens=11, completion_tokens=7, cost=0.00012, chunks=3)


@pytest.fixture(params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"])
async def either(request: pytest.FixtureRequest, fake: FakeOpenRouter) -> AsyncIterator[Any]:
    """Return a sync client, then an async one."""
    # Reading the system's certificates takes longer than most of the tests, which need none.
    is_sync = request.param is openai.OpenAI
    transport = (openai.DefaultHttpxClient if is_sync else openai.DefaultAsyncHttpxClient)(verify=False)
    options = {"api_key": "sk-or-test", "base_url": fake.base_url, "max_retries": 0, "http_client": transport}
    async with Entered(request.param(**options)) as made:
        yield made


async def told(shape: Shape, client: Any) -> str:
    """Return what the caller gets, or the type of what is raised, without what differs from call to call."""
    try:
        result = await shape(client)
    except Exception as exc:  # noqa: BLE001 - to be compared
        result = [type(exc), type(exc.__cause__), type(exc.__context__), str(exc)]
    return re.sub(r"\w+-\d{10}-\w+|_tmp_\w+|call_\w+|0x\w+|\b\d{10}\b", "ID", repr(result))


def sent(fake: FakeOpenRouter) -> Any:
    """Return the last request as it stood on the wire, but for the random boundary of a form."""
    request = fake.requests[-1]
    boundary = request.headers.get("content-type", "").partition("boundary=")[2]
    text = repr((request.method, request.path, request.query, sorted(request.headers.items()), request.body))
    return text.replace(boundary, "BOUNDARY") if boundary else text


@pytest.mark.parametrize("name", SHAPES)
async def test_shape(name: str, fake: FakeOpenRouter, either: Any, instrumented: Instrumented) -> None:
    """The caller gets the same, the same is sent, and one record has what the service charged."""
    shape, fake.default = SHAPES[name], ANSWER
    without, sent_without = await told(shape, either), sent(fake)
    charged = fake.charged_usd
    telemetry = instrumented(inject_usage=False)

    assert await told(shape, either) == without
    assert "Error" not in without
    assert sent(fake) == sent_without
    (call,) = telemetry.settle().calls
    assert call.outcome == "complete"
    assert call.failure is None
    assert len(telemetry.spans()) == 1
    if name == "speech":
        assert (call.usage, call.missing) == (None, "no_usage")
        assert call.reply.generation_id == next(reversed(fake.generations))
        assert telemetry.total("openrouter.usage.missing", openrouter__missing__reason="no_usage") == 1
    else:
        assert call.usage is not None
        assert Decimal(str(call.usage.cost)) == charged
        assert telemetry.total("gen_ai.usage.cost") == float(charged)


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("transcription", "speech", "rerank")])
async def test_only_the_usage_option_is_added(
    name: str, fake: FakeOpenRouter, either: Any, instrumented: Instrumented
) -> None:
    """But for `usage` the body is the same to the byte, and of the headers only the length differs."""
    fake.default = ANSWER
    await told(SHAPES[name], either)
    instrumented()
    await told(SHAPES[name], either)

    plain, ours = fake.requests
    assert re.sub(rb', ?"usage": ?{"include": ?true}', b"", ours.body) == plain.body
    assert ours.json["usage"] == {"include": True}  # type: ignore[index]
    assert {**ours.headers, "content-length": ""} == {**plain.headers, "content-length": ""}


@pytest.mark.parametrize("path", ["chat.completions", "responses"])
async def test_a_parse_that_fails_on_a_good_reply(
    path: str, fake: FakeOpenRouter, either: Any, telemetry: Telemetry
) -> None:
    """The caller gets the SDK's own error; the record has the reply as the service gave it."""
    if path == "responses" and not feature("responses.parse"):
        return
    fake.default = Answer(content="no json", cost=0.25)
    asked = {**RESPONSES, "text_format": Verdict} if path == "responses" else {**CHAT, "response_format": Verdict}
    with pytest.raises(Exception, match="Verdict"):
        await settled(helper(either, f"{path}.parse")(**asked))

    (call,) = telemetry.calls
    assert (call.outcome, call.failure) == ("complete", None)
    assert call.usage is not None
    assert call.usage.cost == 0.25


@pytest.mark.parametrize("stream", [False, True])
async def test_a_raw_response_parsed_late(
    stream: bool, fake: FakeOpenRouter, either: Any, telemetry: Telemetry
) -> None:
    """A raw response parsed after other calls, and after uninstrumenting, is recorded once."""
    raw = await settled(either.chat.completions.with_raw_response.create(stream=stream, **CHAT))
    await chat(either)
    or_instrument.uninstrument()
    parsed = raw.parse()
    if stream:
        await drained(parsed)
    assert raw.parse() is parsed

    calls = telemetry.settle().calls
    assert sum(Decimal(str(call.spend)) for call in calls) == fake.charged_usd
    assert [call.outcome for call in calls] == ["complete", "complete"]


async def test_a_raw_stream_never_parsed(fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """A raw stream that nobody reads ends when it is closed, and counts as missing."""
    del fake
    raw = await settled(either.chat.completions.with_raw_response.create(stream=True, **CHAT))
    close = raw.http_response.aclose if isinstance(either, openai.AsyncOpenAI) else raw.http_response.close
    await settled(close())

    (call,) = telemetry.calls
    assert (call.outcome, call.missing) == ("closed", "closed")


async def test_an_unread_streaming_response(fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """A response entered and left without a read is closed; its generation id is known for a look-up."""
    async with Entered(either.chat.completions.with_streaming_response.create(**CHAT)):
        assert telemetry.calls == []

    (call,) = telemetry.calls
    assert (call.outcome, call.missing) == ("closed", "closed")
    assert call.reply.generation_id == next(iter(fake.generations))


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_azure_style_client(kind: str, fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """A subclass that rewrites the request is recorded like its base."""
    azure = openai.AzureOpenAI if kind == "sync" else openai.AsyncAzureOpenAI
    root = fake.base_url.rpartition("/api/")[0]
    made = azure(api_key="k", base_url=f"{root}/deployments/d/v1", api_version="2024-10-21", max_retries=0)
    async with Entered(made) as client:
        await chat(client)

    (call,) = telemetry.calls
    assert call.spend == float(fake.charged_usd)


def test_module_level_client(fake: FakeOpenRouter, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """`openai.chat.completions.create` is recorded where the module's base URL is a named host."""
    for name, value in (("base_url", f"{fake.base_url}/"), ("api_key", "k"), ("api_type", None)):
        monkeypatch.setattr(openai, name, value)
    openai._reset_client()
    openai.chat.completions.create(**CHAT)
    openai._load_client().close()
    openai._reset_client()

    assert len(telemetry.calls) == 1


async def test_retries_are_one_record(fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """What the SDK tries again is one call, with the end of the last try."""
    fake.script(*[replace(errors.unavailable(), headers={"Retry-After-Ms": "1"})] * 2)
    await chat(either.with_options(max_retries=2))

    assert len(fake.requests) == 3
    (call,) = telemetry.calls
    assert (call.outcome, call.failure, call.spend) == ("complete", None, float(fake.charged_usd))


async def test_other_requests_are_not_recorded(fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """Neither a GET nor a POST to a path that bills nothing is recorded."""
    await drained(either.models.list())
    await settled(either.get("/key", cast_to=object))
    with pytest.raises(openai.NotFoundError):
        await settled(either.post("/coffee", cast_to=object, body={}))

    assert len(fake.requests) == 3
    assert telemetry.settle().calls == []
    assert telemetry.spans() == []


@pytest.mark.parametrize(("hosts", "recorded"), [(["openrouter.ai"], 0), (["*"], 1), (["127.0.0.1"], 1)])
async def test_hosts(
    hosts: list[str], recorded: int, fake: FakeOpenRouter, either: Any, instrumented: Instrumented
) -> None:
    """A host that is not named is not recorded, but by `*`, which adds nothing to the body."""
    telemetry = instrumented(hosts=hosts)
    await chat(either)

    assert len(telemetry.calls) == recorded
    assert ("usage" in fake.requests[0].json) == (hosts == ["127.0.0.1"])  # type: ignore[operator]


@pytest.mark.parametrize("place", ["extra_body", "body"])
async def test_the_users_own_usage_wins(place: str, fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """A `usage` of the user's is sent as it is, and what the user passed in stays as it was."""
    if place == "extra_body":
        given: dict[str, Any] = {**CHAT, "extra_body": {"usage": {"include": False}, "plugins": [{"id": "web"}]}}
        before = copy.deepcopy(given)
        await settled(either.chat.completions.create(**given))
    else:
        given = {**CHAT, "usage": {"include": False}}
        before = copy.deepcopy(given)
        await settled(either.post("/chat/completions", cast_to=object, body=given))

    assert given == before
    assert fake.requests[0].json["usage"] == {"include": False}  # type: ignore[index]
    assert len(telemetry.calls) == 1


async def test_the_users_dicts_stay_as_they_were(fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """The option is added to a copy: neither the user's extra body nor a posted body is changed."""
    extra, body = {"session_id": "s"}, copy.deepcopy(CHAT)
    await settled(either.chat.completions.create(**CHAT, extra_body=extra))
    await settled(either.post("/chat/completions", cast_to=object, body=body))

    assert (extra, body) == ({"session_id": "s"}, CHAT)
    assert [request.json["usage"] for request in fake.requests] == [{"include": True}] * 2  # type: ignore[index]
    assert len(telemetry.calls) == 2


@pytest.fixture
def script(fake: FakeOpenRouter) -> Callable[[str], list[str]]:
    """Return a function that runs Python in a fresh interpreter and returns the lines that it printed."""
    start = f"BASE = {fake.base_url!r}\nCHAT = {CHAT!r}\n"

    def run(code: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-X", "faulthandler", "-c", start + code],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


CALL = """
client = openai.OpenAI(api_key="k", base_url=BASE)
client.chat.completions.create(**CHAT)
print(len(calls))
"""
INSTRUMENT = """
import or_instrument
calls = []
or_instrument.instrument(hosts=["127.0.0.1"], sinks=[calls.append])
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(INSTRUMENT + "import sys; assert 'openai' not in sys.modules\nimport openai" + CALL, id="before"),
        pytest.param("import openai" + INSTRUMENT + CALL, id="after"),
        pytest.param(
            "import openai\nold = openai.OpenAI(api_key='k', base_url=BASE)"
            + INSTRUMENT
            + "old.chat.completions.create(**CHAT)\nprint(len(calls))\nold.close()",
            id="client-made-before",
        ),
        pytest.param(
            "import sys, importlib.abc\n"
            "class Half(importlib.abc.MetaPathFinder):\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'openai._module_client':\n"
            "            sys.meta_path.remove(self)\n"
            "            assert sys.modules['openai'].__spec__._initializing\n"
            "            exec(INSTRUMENT, globals())\n"
            "sys.meta_path.insert(0, Half())\n"
            f"INSTRUMENT = {INSTRUMENT!r}\n"
            "import openai" + CALL,
            id="half-imported",
        ),
    ],
)
def test_import_order(code: str, script: Callable[[str], list[str]]) -> None:
    """The SDK may be imported before, after or while we are switched on, and clients may be older than we."""
    assert script(code + "\nclient = locals().get('client'); client and client.close()") == ["1"]


@pytest.mark.parametrize("stream", [True, False])
async def test_read_by_iter_raw(stream: bool, client: Any, aclient: Any, telemetry: Telemetry) -> None:
    """Bytes that are read before they are decoded tell the bill all the same, where nothing is encoded."""
    with client.chat.completions.with_streaming_response.create(**CHAT, stream=stream) as response:
        assert list(response.http_response.iter_raw())
    async with aclient.chat.completions.with_streaming_response.create(**CHAT, stream=stream) as response:
        assert [data async for data in response.http_response.aiter_raw()]
    assert [(call.outcome, call.missing) for call in telemetry.calls] == [("complete", None)] * 2


@pytest.mark.parametrize("stream", [True, False])
async def test_encoded_bytes_read_by_iter_raw(
    stream: bool, client: Any, aclient: Any, fake: FakeOpenRouter, telemetry: Telemetry
) -> None:
    """Where they are encoded they end a call at their end; its usage was not seen."""
    fake.default = Answer(headers={"Content-Encoding": "unknown"})
    with client.chat.completions.with_streaming_response.create(**CHAT, stream=stream) as response:
        assert list(response.http_response.iter_raw())
    async with aclient.chat.completions.with_streaming_response.create(**CHAT, stream=stream) as response:
        assert [data async for data in response.http_response.aiter_raw()]
    assert [(call.outcome, call.missing) for call in telemetry.calls] == [("complete", "no_usage")] * 2


def test_a_stream_that_only_the_body_asks_for(
    client: openai.OpenAI, fake: FakeOpenRouter, telemetry: Telemetry
) -> None:
    """The SDK does not know of it, and the user reads the events himself: the usage in them is found."""
    fake.default = Answer(cost=0.25)
    body = {**CHAT, "stream": True}
    whole = client.post("/chat/completions", cast_to=http.Response, body=body)
    assert whole.text.endswith("data: [DONE]\n\n")
    with client.chat.completions.with_streaming_response.create(**CHAT, extra_body={"stream": True}) as response:
        assert list(response.iter_lines())
    assert [call.spend for call in telemetry.calls] == [0.25, 0.25]
