"""What OpenRouter said is recorded, whatever is done with it, and whoever else sends something meanwhile."""

from __future__ import annotations

import contextvars
import gzip
import importlib
import json
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest
from in_memory import Telemetry

pytestmark = pytest.mark.anyio
http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]}
USAGE: Any = {"prompt_tokens": 194, "completion_tokens": 25, "total_tokens": 219, "cost": 0.0012, "is_byok": False}
WHO: Any = {"id": "gen-1", "model": "openai/gpt-5-mini", "provider": "OpenAI", "created": 1}
BODY: Any = {
    **WHO,
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Titan"}}],
    "usage": USAGE,
}
JSON = "application/json"
EVENTS = "text/event-stream"


def events(*chunks: Any, done: bool = True) -> bytes:
    """Return a stream of these chunks."""
    lines = [f"data: {json.dumps({**WHO, 'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
    return "".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode()


def delta(content: str = "", reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk of a chat stream."""
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}], **more}


STREAM = events(delta("Ti"), delta("tan", "stop"), delta("", "stop", usage=USAGE))


class Bytes(http.SyncByteStream, http.AsyncByteStream):  # type: ignore[name-defined, misc]
    """A body that is not in memory: it comes in a few reads."""

    def __init__(self, body: bytes, step: int = 300) -> None:
        self._parts = [body[start : start + step] for start in range(0, len(body), step)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def answer(body: bytes, kind: str = JSON, status: int = 200, *, in_memory: bool = False, **headers: str) -> Any:
    """Return a response."""
    content = {"content": body} if in_memory else {"stream": Bytes(body)}
    return http.Response(status, headers={"content-type": kind, **headers}, **content)


def client_of(handler: Callable[[Any], Any], **options: Any) -> openai.OpenAI:
    """Return a client whose service is a function."""
    made = http.Client(transport=http.MockTransport(handler), **options)
    return openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=made, max_retries=1)


def aclient_of(handler: Callable[[Any], Any], **options: Any) -> openai.AsyncOpenAI:
    """Return an async client whose service is a function."""
    made = http.AsyncClient(transport=http.MockTransport(handler), **options)
    return openai.AsyncOpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=made, max_retries=1)


def the_bill(telemetry: Telemetry, count: int = 1) -> None:
    """Every call is complete, with the bill as it was sent."""
    said = [(c.outcome, c.spend, c.usage and c.usage.input_tokens, c.reply.id) for c in telemetry.settle().calls]
    assert said == [("complete", 0.0012, 194, "gen-1")] * count


@pytest.mark.parametrize("in_memory", [True, False])
async def test_chunks_that_their_owner_edits(in_memory: bool, telemetry: Telemetry) -> None:
    """A proxy takes usage out, adds a margin, writes its own alias: the record is what came."""

    def edit(chunk: Any) -> None:
        if chunk.usage:
            chunk.usage.cost = 9.0
        chunk.id, chunk.model, chunk.usage = "theirs", "their-alias", None
        chunk.choices.clear()

    for chunk in client_of(lambda _: answer(STREAM, EVENTS, in_memory=in_memory)).chat.completions.create(
        **CHAT, stream=True
    ):
        edit(chunk)
    made = aclient_of(lambda _: answer(STREAM, EVENTS, in_memory=in_memory))
    async for chunk in await made.chat.completions.create(**CHAT, stream=True):
        edit(chunk)
    the_bill(telemetry, 2)
    assert {call.reply.model for call in telemetry.calls} == {"openai/gpt-5-mini"}


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_one_body_answers_a_stream_and_events_a_plain_call(
    stream: bool, in_memory: bool, telemetry: Telemetry
) -> None:
    """Whatever was asked for, the answer tells the bill."""
    body, kind = (json.dumps(BODY).encode(), JSON) if stream else (STREAM, EVENTS)
    ask = {**CHAT, "stream": True} if stream else CHAT
    reply: Any = client_of(lambda _: answer(body, kind, in_memory=in_memory)).chat.completions.create(**ask)
    if stream:
        assert list(reply) == []
    areply: Any = await aclient_of(lambda _: answer(body, kind, in_memory=in_memory)).chat.completions.create(**ask)
    if stream:
        assert [chunk async for chunk in areply] == []
    the_bill(telemetry, 2)


def test_a_refusal_of_status_200_is_an_error(telemetry: Telemetry) -> None:
    """With its type, also where a stream was asked for."""
    body = {"error": {"code": 402, "message": "SECRET", "metadata": {"error_type": "insufficient_credits"}}}
    made = client_of(lambda _: answer(json.dumps(body).encode()))
    assert list(made.chat.completions.create(**CHAT, stream=True)) == []
    (span,) = telemetry.spans()
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == (
        "insufficient_credits",
        200,
    )
    assert span.status.status_code.name == "ERROR"


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/octet-stream", ""])
def test_the_content_type_decides_nothing(kind: str, telemetry: Telemetry) -> None:
    """JSON is read as JSON, however it is called."""
    made = client_of(lambda _: answer(json.dumps(BODY).encode(), kind))
    made.chat.completions.with_raw_response.create(**CHAT)
    with made.chat.completions.with_streaming_response.create(**CHAT) as response:
        response.read()
    the_bill(telemetry, 2)


READS = ("read", "iter_bytes", "iter_lines")


@pytest.mark.parametrize(
    ("read", "by_hook"),
    [*((read, False) for read in (*READS, "iter_raw")), *((read, True) for read in (*READS, "text", "content"))],
)
def test_a_body_read_by_a_hook_or_by_the_user(read: str, by_hook: bool, telemetry: Telemetry) -> None:
    """By any way that a response has, also one that a hook has read for a log line."""

    def use(response: Any) -> None:
        found = getattr(response, read)
        said = found() if callable(found) else found
        assert said if isinstance(said, (bytes, str)) else list(said)

    hooks: Any = {"event_hooks": {"response": [lambda response: response.read()]}} if by_hook else {}
    made = client_of(lambda _: answer(STREAM, EVENTS), **hooks)
    with made.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
        use(response.http_response)
    use(made.chat.completions.create(**CHAT, stream=True).response)
    the_bill(telemetry, 2)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(encoding: str, encode: Callable[[bytes], bytes], stream: bool, telemetry: Telemetry) -> None:
    """What the HTTP library decodes is read decoded."""
    body, kind = (STREAM, EVENTS) if stream else (json.dumps(BODY).encode(), JSON)
    made = client_of(lambda _: answer(encode(body), kind, **{"content-encoding": encoding}))
    reply: Any = made.chat.completions.create(**CHAT, stream=stream)
    if stream:
        list(reply)
    the_bill(telemetry)


def test_all_had_arrived_when_it_was_let_go_of(telemetry: Telemetry) -> None:
    """One read holds all of it; who stops after the first chunk has had the whole answer."""
    made = client_of(lambda _: http.Response(200, headers={"content-type": EVENTS}, stream=Bytes(STREAM, 1 << 20)))
    for _chunk in made.chat.completions.create(**CHAT, stream=True):
        break
    with made.chat.completions.create(**CHAT, stream=True) as stream:
        next(stream)
    made.chat.completions.create(**CHAT, stream=True).close()
    outcomes = sorted(call.outcome for call in telemetry.settle().calls)
    assert outcomes == ["closed", "complete", "complete"]


class Retried:
    """A service that answers a second try, and what is asked besides."""

    def __init__(self, first: Any = None) -> None:
        self.first = first
        self.asked: list[str] = []

    def __call__(self, request: Any) -> Any:
        """Answer."""
        self.asked.append(request.url.path)
        if self.first is not None and len(self.asked) == 1:
            return self.first
        if request.url.path.endswith("completions") or request.url.path.endswith("elsewhere"):
            return answer(json.dumps(BODY).encode())
        return answer(b'{"id": "gen-other", "usage": {"cost": 7}, "data": []}')


def other() -> Any:
    """Return an answer with a bill that is not the call's."""
    return answer(b'{"id": "gen-other", "usage": {"cost": 7}}', status=500)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(other, id="retry"),
        pytest.param(lambda: http.Response(307, headers={"location": "/api/v1/elsewhere"}), id="redirect"),
    ],
)
async def test_tries_and_redirects_are_inside_one_call(first: Callable[[], Any], telemetry: Telemetry) -> None:
    """The answer is that of the last."""
    client_of(Retried(first()), follow_redirects=True).chat.completions.create(**CHAT)
    await aclient_of(Retried(first()), follow_redirects=True).chat.completions.create(**CHAT)
    the_bill(telemetry, 2)


def test_an_auth_flow_asks_for_a_token_first(telemetry: Telemetry) -> None:
    """What that is billed with is a call of its own, and none of the SDK's call."""

    class Auth(http.Auth):  # type: ignore[name-defined, misc]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            yield http.Request("POST", "https://openrouter.ai/api/v1/token")
            yield request

    client_of(Retried(), auth=Auth()).chat.completions.create(**CHAT)
    said = sorted((call.reply.id, call.spend, call.outcome) for call in telemetry.settle().calls)
    assert said == [("gen-1", 0.0012, "complete"), ("gen-other", 7.0, "complete")]


@pytest.mark.parametrize("asks", ["http", "sdk", "other sdk", "thread"])
def test_a_hook_that_asks_something_meanwhile(asks: str, telemetry: Telemetry) -> None:
    """By the same client, by another one, in a thread with the call's context: its answers are not the call's."""
    answering: list[int] = []

    def hook(response: Any) -> None:
        if answering or not response.request.url.path.endswith("completions"):
            return
        answering.append(1)
        if asks == "http":
            inner.get("https://openrouter.ai/api/v1/models").read()
        elif asks == "sdk":
            made.models.list()
        elif asks == "other sdk":
            client_of(Retried()).models.list()
        else:
            thread = threading.Thread(target=contextvars.copy_context().run, args=(made.models.list,))
            thread.start()
            thread.join()

    inner = http.Client(transport=http.MockTransport(Retried()))
    made = client_of(Retried(), event_hooks={"response": [hook]})
    made.chat.completions.create(**CHAT)
    assert answering
    the_bill(telemetry)


def test_a_call_inside_a_call_is_a_call_of_its_own(telemetry: Telemetry) -> None:
    """A hook that asks a model about the answer makes two records, each with its own bill."""

    def hook(_response: Any) -> None:
        if not answering:
            answering.append(1)
            made.embeddings.create(model="m", input="x", encoding_format="float")

    answering: list[int] = []
    made = client_of(Retried(), event_hooks={"response": [hook]})
    made.chat.completions.create(**CHAT)
    said = sorted((call.request.operation, call.spend) for call in telemetry.settle().calls)
    assert said == [("chat", 0.0012), ("embeddings", 7.0)]


def test_a_client_of_the_users_own(telemetry: Telemetry) -> None:
    """One whose `send` calls no `super()`, or sends in another thread."""

    class Own(http.Client):  # type: ignore[name-defined, misc]
        def send(self, request: Any, **_options: Any) -> Any:
            response = answer(json.dumps(BODY).encode())
            response.request = request
            thread = threading.Thread(target=response.read)
            thread.start()
            thread.join()
            return response

    made = openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=Own())
    made.chat.completions.create(**CHAT)
    the_bill(telemetry)


def test_a_refused_call_is_told_by_its_last_answer(telemetry: Telemetry) -> None:
    """A 500, then a lost connection: the exception has no response, and the first answer is not it."""

    def handler(_request: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            return other()
        raise http.ConnectError("lost")

    tries: list[int] = []
    with pytest.raises(openai.APIConnectionError):
        client_of(handler).chat.completions.create(**CHAT)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.usage, call.reply.status_code) == ("error", None, None)
    assert call.failure is not None
    assert call.failure.type == "openai.APIConnectionError"


async def test_a_stream_read_while_another_error_is_handled(telemetry: Telemetry) -> None:
    """A fallback inside an `except` is a healthy call: the error there is the other call's."""
    made, amade = (make(lambda _: answer(STREAM, EVENTS)) for make in (client_of, aclient_of))
    broken = client_of(lambda _: answer(events({"error": {"code": 502}}), EVENTS))
    try:
        list(broken.chat.completions.create(**CHAT, stream=True))
    except openai.APIError:
        list(made.chat.completions.create(**CHAT, stream=True))
        async for _chunk in await amade.chat.completions.create(**CHAT, stream=True):
            pass
    first, *others = telemetry.settle().calls
    assert (first.outcome, first.failure and first.failure.type) == ("error", "502")
    assert [(call.outcome, call.failure, call.spend) for call in others] == [("complete", None, 0.0012)] * 2


def test_a_reader_of_others_that_can_be_read_again(telemetry: Telemetry) -> None:
    """A hook of the user's that makes a list of the bytes: each is delivered once."""

    def hook(response: Any) -> None:
        theirs = response.iter_bytes
        response.iter_bytes = lambda *args, **kwargs: list(theirs(*args, **kwargs))

    made = client_of(lambda _: answer(STREAM, EVENTS), event_hooks={"response": [hook]})
    assert len(list(made.chat.completions.create(**CHAT, stream=True))) == 3
    the_bill(telemetry)


def test_what_stands_in_for_a_response(telemetry: Telemetry) -> None:
    """An object that hands every attribute on is read as the response would be."""

    class Standing:
        def __init__(self, response: Any) -> None:
            self._response = response

        def __getattr__(self, name: str) -> Any:
            return getattr(self._response, name)

    class Own(http.Client):  # type: ignore[name-defined, misc]
        def send(self, *args: Any, **options: Any) -> Any:
            return Standing(super().send(*args, **options))

    own = Own(transport=http.MockTransport(lambda _: answer(STREAM, EVENTS)))
    made = openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=own)
    assert len(list(made.chat.completions.create(**CHAT, stream=True))) == 3
    the_bill(telemetry)


@pytest.mark.parametrize(
    "broken",
    [
        "or_instrument._calls.flight.Flight._call",
        "or_instrument._calls.flight.missing",
        "or_instrument._calls.response.ResponseHooks.remove",
        "or_instrument._calls.response.end_closed",
        "or_instrument._calls.response.reader_closing",
    ],
)
def test_a_bug_of_ours_leaves_a_stream_alone(
    broken: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever we fail while a stream is read, the user has all of its chunks."""

    def fail(*_args: object, **_options: object) -> Any:
        raise RuntimeError

    made = client_of(lambda _: answer(STREAM, EVENTS))
    stream = made.chat.completions.create(**CHAT, stream=True)
    monkeypatch.setattr(broken, fail)
    assert len(list(stream)) == 3
    monkeypatch.undo()
    assert len(telemetry.settle().calls) <= 1
