"""Each touch of the SDK's internals, one test: it is there, and does what we take it for, on the installed version."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai._models import FinalRequestOptions

from or_instrument._clients import openai_sdk as _sdk
from or_instrument.testing import FakeOpenRouter, errors

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
    for given in ((args, kwargs), ((), {"options": options})):
        sent = _sdk.options_of(*_sdk.with_changes(*given, options, {"extra_json": {"usage": {}}}))
        assert (sent.extra_json, sent.url, options.extra_json) == ({"usage": {}}, options.url, None)


def test_headers_of(asked: Callable[..., Any], client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's headers are those of the call, of the client and of its HTTP client; ours take the call's place."""
    monkeypatch.setattr(client, "_custom_headers", {"X-Client": "a"})
    client._client.headers["X-Http"] = "b"
    options = _sdk.options_of(*asked(extra_headers={"X-Call": "c"}))
    of_call, of_client, of_http = _sdk.headers_of(client, options)
    assert (of_call["X-Call"], of_client["X-Client"], of_http["x-http"]) == ("c", "a", "b")
    assert not _sdk.headers_of(client, _sdk.options_of(*asked()))[0]
    sent = _sdk.options_of(
        *_sdk.with_changes((), {"options": options}, options, {"headers": {**of_call, "X-Ours": "d"}})
    )
    assert (sent.headers, options.headers) == ({"X-Call": "c", "X-Ours": "d"}, {"X-Call": "c"})


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


async def test_process_response(
    client: openai.OpenAI, aclient: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call hands the response that it goes on with to `_process_response`, by name, inside `request`."""
    given: list[Any] = []
    for owner in (openai.OpenAI, openai.AsyncOpenAI):
        original = owner._process_response

        def seen(client_: Any, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            given.append(kwargs["response"])
            return original(client_, *args, **kwargs)

        monkeypatch.setattr(owner, "_process_response", seen)
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    stream = client.chat.completions.create(**CHAT, stream=True)
    astream: Any = await aclient.chat.completions.create(**CHAT, stream=True)
    assert [
        one is other for one, other in zip(given, (raw.http_response, stream.response, astream.response), strict=True)
    ]
    stream.close()
    await astream.close()


async def test_replace_iterator(client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """What a stream yields, by `for` and by `next`, comes out of the iterator that was put in."""
    stream: Any = client.chat.completions.create(**CHAT, stream=True)
    astream: Any = await aclient.chat.completions.create(**CHAT, stream=True)
    _sdk.replace_iterator(stream, lambda iterator: (f"tapped {chunk.object}" for chunk in iterator))
    assert next(stream) == "tapped chat.completion.chunk"
    assert set(stream) == {"tapped chat.completion.chunk"}

    async def tapped(iterator: Any) -> Any:
        async for chunk in iterator:
            yield f"tapped {chunk.object}"

    _sdk.replace_iterator(astream, tapped)
    assert await astream.__anext__() == "tapped chat.completion.chunk"
    assert {chunk async for chunk in astream} == {"tapped chat.completion.chunk"}
    _sdk.replace_iterator(object(), tapped)


async def test_closes_when_raising(fake: FakeOpenRouter, client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """A stream that raises has closed its response by then, or else is of a version that we tap."""
    fake.default = errors.midstream()
    stream = client.chat.completions.create(**CHAT, stream=True)
    astream = await aclient.chat.completions.create(**CHAT, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)
    with pytest.raises(openai.APIError):
        [chunk async for chunk in astream]
    assert stream.response.is_closed is _sdk.closes_when_raising()
    assert astream.response.is_closed is _sdk.closes_when_raising()


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


def test_options_of_pydantic_1() -> None:
    """The SDK runs with pydantic 1 too, whose models are copied in another way and share nothing then either."""
    pydantic_1 = pytest.importorskip("pydantic.v1")
    options = pydantic_1.create_model("Options", extra_json=(Any, None), url=(str, "/x"))()

    made: Any = _sdk.options_of(*_sdk.with_changes((), {"options": options}, options, {"extra_json": {"usage": {}}}))
    assert (made.extra_json, made.url, options.extra_json) == ({"usage": {}}, "/x", None)


def test_url_of_a_subclass_with_a_base_url_of_its_own() -> None:
    """A subclass of the user's may say it anew for each call; the SDK's own is read where its property reads it."""

    class Elsewhere(openai.OpenAI):
        base_url = property(lambda _self: "https://elsewhere.example/v1", lambda _self, _url: None)  # type: ignore[assignment]

    options = FinalRequestOptions.construct(method="post", url="/chat/completions")
    plain = openai.OpenAI(base_url="https://openrouter.ai/api/v1", api_key="k")
    assert _sdk.url_of(plain, options) is plain.base_url
    assert str(_sdk.url_of(Elsewhere(api_key="k"), options)) == "https://elsewhere.example/v1"
