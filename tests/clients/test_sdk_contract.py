"""Each touch of the SDK's internals, one test: it is there, and does what we take it for, on the installed version."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai._models import FinalRequestOptions

from or_instrument._clients import openai_sdk as _sdk
from or_instrument.testing import Answer, FakeOpenRouter, errors

pytestmark = pytest.mark.anyio

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


class Seen(Exception):  # noqa: N818 - it carries a result, not an error
    """Carries the arguments of `request` out of the SDK."""


@pytest.fixture
def asked(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that makes a call and returns the arguments that `OpenAI.request` got."""

    def request(_client: Any, *args: Any, **kwargs: Any) -> None:
        raise Seen(args, kwargs)

    monkeypatch.setattr(openai.OpenAI, "request", request)

    def ask(**options: Any) -> Any:
        with pytest.raises(Seen) as caught:
            client.chat.completions.create(**CHAT, **options)
        return caught.value.args

    return ask


def test_options_of(asked: Callable[..., Any]) -> None:
    """Every call hands its final options to `request`, by position or by name; ours take their place there."""
    args, kwargs = asked(stream=True)
    options = _sdk.options_of(args, kwargs)

    assert isinstance(options, FinalRequestOptions)
    assert (options.method.lower(), options.url, kwargs["stream"]) == ("post", "/chat/completions", True)
    assert _sdk.options_of(("cast", options), {}) is _sdk.options_of((), {"options": options}) is options
    other = options.model_copy()
    assert _sdk.options_of(*_sdk.with_options(args, kwargs, other)) is other
    assert _sdk.options_of(*_sdk.with_options((), {"options": options}, other)) is other


def test_sent_body(asked: Callable[..., Any], fake: FakeOpenRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is `json_data`, and `extra_body` is `extra_json`, which wins."""
    options = _sdk.options_of(*asked(temperature=0.5, extra_body={"temperature": 0.25, "session_id": "s"}))
    said = _sdk.sent_body(options)
    monkeypatch.undo()
    with openai.OpenAI(api_key="k", base_url=fake.base_url) as client:
        client.post(
            "/chat/completions", cast_to=object, body=options.json_data, options={"extra_json": options.extra_json}
        )

    assert {key: said[key] for key in fake.requests[0].json} == fake.requests[0].json  # type: ignore[union-attr]
    assert (said["temperature"], said["session_id"], said["model"]) == (0.25, "s", CHAT["model"])


def test_url_of(asked: Callable[..., Any], client: openai.OpenAI) -> None:
    """A path goes to the client's base URL; a whole URL goes where it says."""
    options = _sdk.options_of(*asked())

    assert _sdk.url_of(client, options) == client.base_url
    other = options.model_copy(update={"url": "https://openrouter.ai/api/v1/chat/completions"})
    assert _sdk.url_of(client, other).host == "openrouter.ai"


async def test_post_parser(client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """`post_parser` is called with what was parsed, before the caller's own, and a copy of the options is used."""
    seen: list[Any] = []
    options = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=CHAT)
    theirs = options.model_copy(update={"post_parser": lambda parsed: ("theirs", parsed)})
    for given in (options, theirs):
        observed = _sdk.observed(given, seen.append, {"usage": {"include": True}})
        assert observed is not given
        assert given.extra_json is None
        result: Any = client.request(object, observed)
        aresult: Any = await aclient.request(object, observed)
        whole = [result, aresult] if given is options else [result[1], aresult[1]]
        assert seen == whole
        seen.clear()


@pytest.mark.parametrize("stream", [False, True])
async def test_is_stream(stream: bool, client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """The SDK's streams are told from parsed replies."""
    reply: Any = client.chat.completions.create(**CHAT, stream=stream)
    areply: Any = await aclient.chat.completions.create(**CHAT, stream=stream)

    assert _sdk.is_stream(reply) is _sdk.is_stream(areply) is stream
    if stream:
        reply.close()
        await areply.close()


async def test_replace_iterator(client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """What a stream yields, by `for` and by `next`, comes out of the iterator that was put in."""
    stream: Any = client.chat.completions.create(**CHAT, stream=True)
    astream: Any = await aclient.chat.completions.create(**CHAT, stream=True)
    before = stream._iterator
    theirs, ours = _sdk.replace_iterator(stream, lambda iterator: (f"tapped {chunk.object}" for chunk in iterator))
    assert (theirs, ours) == (before, stream._iterator)
    assert next(stream) == "tapped chat.completion.chunk"
    assert set(stream) == {"tapped chat.completion.chunk"}

    async def tapped(iterator: Any) -> Any:
        async for chunk in iterator:
            yield f"tapped {chunk.object}"

    _sdk.replace_iterator(astream, tapped)
    assert await astream.__anext__() == "tapped chat.completion.chunk"
    assert {chunk async for chunk in astream} == {"tapped chat.completion.chunk"}


def test_http_response_of(client: openai.OpenAI) -> None:
    """The HTTP response is found in every raw shape, and not in a parsed reply; its read body is the same bytes."""
    create = client.chat.completions.create
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    spoken = client.audio.speech.create(model="m", input="hi", voice="alloy")
    plain = client.post("/chat/completions", cast_to=http.Response, body=CHAT)
    for shape in (raw, spoken, plain):
        response = _sdk.http_response_of(shape)
        assert type(response) is http.Response
        assert _sdk.body_of(response) == response.content
        assert _sdk.header(response, "x-generation-id")
        assert _sdk.is_json(response) == (shape is not spoken)
    assert _sdk.http_response_of(create(**CHAT)) is None
    with client.chat.completions.with_streaming_response.create(**CHAT) as streamed:
        response = _sdk.http_response_of(streamed)
        assert type(response) is http.Response
        assert _sdk.body_of(response) is None


async def test_the_response_takes_hooks(client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """A stream reads and closes its response through methods that an instance can override."""
    stream: Any = client.chat.completions.create(**CHAT, stream=True)
    astream: Any = await aclient.chat.completions.create(**CHAT, stream=True)
    called: list[str] = []

    def hook(response: Any, name: str) -> None:
        method = getattr(response, name)

        def hooked(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return method(*args, **kwargs)

        setattr(response, name, hooked)

    for name in ("iter_bytes", "close"):
        hook(stream.response, name)
    for name in ("aiter_bytes", "aclose"):
        hook(astream.response, name)
    next(stream)
    stream.close()
    await astream.__anext__()
    await astream.close()
    assert called[:2] == ["iter_bytes", "close"]
    assert set(called) == {"iter_bytes", "close", "aiter_bytes", "aclose"}


async def test_error_chunk(fake: FakeOpenRouter, client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """The chunk that the SDK throws away when it raises can be had from where it was raised."""
    fake.default = Answer(midstream_error=errors.midstream().midstream_error, chunks=2, cost=0.25)
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(**CHAT, stream=True))
    with pytest.raises(openai.APIError) as acaught:
        [chunk async for chunk in await aclient.chat.completions.create(**CHAT, stream=True)]

    for exc in (caught.value, acaught.value):
        chunk: Any = _sdk.error_chunk(exc)
        assert chunk["usage"]["cost"] == 0.25
    assert _sdk.error_chunk(ValueError()) is None


async def test_is_running() -> None:
    """A generator, sync or async, is running only while its own code does."""
    seen: list[bool] = []

    def sync() -> Any:
        seen.append(_sdk.is_running(made))
        yield 1

    async def later() -> Any:
        seen.append(_sdk.is_running(amade))
        yield 1

    made, amade = sync(), later()
    next(made)
    await amade.__anext__()
    assert (seen, _sdk.is_running(made), _sdk.is_running(amade)) == ([True, True], False, False)
    made.close()
    await amade.aclose()
    assert not _sdk.is_running(iter(()))


def test_observed_with_pydantic_1() -> None:
    """The SDK runs with pydantic 1 too, whose models are copied in another way and share nothing then either."""
    pydantic_1 = pytest.importorskip("pydantic.v1")
    options_class = pydantic_1.create_model("Options", post_parser=(Any, None), extra_json=(Any, None), url=(str, "/x"))
    options, seen = options_class(), []

    made: Any = _sdk.observed(options, seen.append, {"usage": {}})
    assert made.post_parser("parsed") == "parsed"
    assert (seen, made.extra_json, made.url) == (["parsed"], {"usage": {}}, "/x")
    assert (options.post_parser, options.extra_json) == (None, None)
