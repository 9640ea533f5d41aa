"""The hooks on a response where no real service leads: a close in the middle of a read, a body too large to keep."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from in_memory import Telemetry

import or_instrument
from or_instrument._calls.ending import is_cancellation, is_read_by_stream, reader_closing
from or_instrument._clients import openai as _patch
from or_instrument._clients import openai_sdk as _sdk
from or_instrument._openrouter.stream import Events
from or_instrument.testing import Answer, FakeOpenRouter

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
HELLO: Any = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}
HEAD: Any = {"id": "gen-1", "model": "m", "provider": "Acme"}
TEXT: Any = {**HEAD, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}


class _Slow(http.SyncByteStream):  # type: ignore[name-defined, misc]
    """A body whose next bytes come when it is being closed: they were in the socket already."""

    def __init__(self) -> None:
        self.is_closing = threading.Event()
        self.was_read = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        data = b"data: " + json.dumps({**TEXT, "object": "chat.completion.chunk"}).encode() + b"\n\n"
        yield data
        self.is_closing.wait(60)
        yield data

    def close(self) -> None:
        self.is_closing.set()
        self.was_read.wait(60)


def test_a_close_from_elsewhere_is_the_end_where_the_reader_got_its_bytes_and_stopped(telemetry: Telemetry) -> None:
    """A reader that is in a read when the close begins need not see the end: it may have what it wanted."""
    body, began, stop = _Slow(), threading.Event(), threading.Event()
    headers = {"content-type": "text/event-stream"}
    transport = http.MockTransport(lambda _: http.Response(200, headers=headers, stream=body))
    client = openai.OpenAI(
        api_key="x", base_url="https://openrouter.ai/api/v1", http_client=http.Client(transport=transport)
    )
    stream = client.chat.completions.create(**HELLO, stream=True)

    def read() -> None:
        for _ in stream:
            began.set()
            if stop.is_set():
                break
        body.was_read.set()

    reader = threading.Thread(target=read)
    reader.start()
    began.wait(60)
    stop.set()
    stream.close()
    reader.join()

    assert [call.outcome for call in telemetry.calls] == ["closed"]


def test_what_was_read_raw_before_parsing_is_not_forgotten(
    fake: FakeOpenRouter, telemetry: Any, client: openai.OpenAI
) -> None:
    """The bill that has passed counts, also where the parsed stream is not read."""
    fake.script(Answer(chunks=2, pause_s=0.01))
    with client.chat.completions.with_streaming_response.create(**HELLO, stream=True) as response:
        raw = response.iter_bytes()
        while b"[DONE]" not in next(raw):
            pass
        response.parse()

    (call,) = telemetry.calls
    assert call.reply.finish_reasons == ("stop",)
    assert call.spend is not None


@pytest.mark.parametrize("padding", [0, 200_000, 3_000_000])
def test_the_bill_of_a_large_body_is_read(
    padding: int, fake: FakeOpenRouter, telemetry: Any, client: openai.OpenAI
) -> None:
    """However large a body is, the end of it tells the bill, read raw or parsed."""
    body = {"id": "gen-1", "model": "m", "choices": [{"finish_reason": "stop", "message": {"content": "x" * padding}}]}
    fake.default = Answer(json_body={**body, "usage": {"prompt_tokens": 3, "cost": 0.25}})
    with client.chat.completions.with_streaming_response.create(**HELLO) as response:
        response.read()
    client.chat.completions.create(**HELLO)

    for call in telemetry.calls:
        reply = call.reply
        assert (call.outcome, call.spend, reply.model, reply.finish_reasons) == ("complete", 0.25, "m", ("stop",))
    assert len(telemetry.calls) == 2


def test_a_raw_stream_that_breaks_is_an_error(fake: FakeOpenRouter, telemetry: Any, client: openai.OpenAI) -> None:
    """A connection that drops while the user reads raw bytes is an error with the exception's name."""
    fake.script(Answer(abort_after=1))

    with (
        client.chat.completions.with_streaming_response.create(**HELLO, stream=True) as response,
        pytest.raises(Exception, match=r"\w") as caught,
    ):
        list(response.iter_bytes())

    (call,) = telemetry.calls
    assert (call.outcome, call.failure.type.rpartition(".")[2]) == ("error", caught.type.__name__)


@pytest.mark.parametrize(
    ("body", "extra", "sent"),
    [({"a": 1}, {"b": 2}, {"a": 1, "b": 2}), (None, {"b": 2}, {"b": 2}), ([1], {"b": 2}, {}), ([1], None, {})],
)
def test_the_sent_body_is_what_the_sdk_sends(body: Any, extra: Any, sent: Any) -> None:
    """The body is the merged top level; one that is no object has none."""
    assert _sdk.sent_body(SimpleNamespace(json_data=body, extra_json=extra)) == sent  # type: ignore[arg-type]


def test_a_hook_that_comes_after_the_end_patches_nothing() -> None:
    """Where openai is imported after `uninstrument()`, it stays as it is."""
    patch = _patch.OpenAIPatch(SimpleNamespace(open=None), None)  # type: ignore[arg-type]
    patch.remove()

    patch.wrap(openai)

    assert "request" not in vars(openai.OpenAI)


def test_a_wrapper_that_others_have_taken_off_is_gone() -> None:
    """Taking off a wrapper that somebody else has replaced leaves theirs."""
    patch = _patch.OpenAIPatch(SimpleNamespace(open=None), None)  # type: ignore[arg-type]
    patch.wrap(openai)
    theirs = openai.OpenAI.request = lambda *_args, **_options: None  # type: ignore[method-assign,assignment]
    try:
        patch.remove()

        assert vars(openai.OpenAI)["request"] is theirs
    finally:
        del openai.OpenAI.request


def test_a_stream_of_an_older_sdk_is_tapped(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose iterator cannot be replaced is handed on as it is."""
    monkeypatch.setattr(_sdk, "closes_when_raising", lambda: False)
    seen: list[Any] = []
    monkeypatch.setattr(_sdk, "replace_iterator", lambda stream, _tapped: seen.append(stream))
    or_instrument.instrument(hosts=["127.0.0.1"], spans="off", metrics=False, sinks=[lambda _call: None])
    stream = client.chat.completions.create(**HELLO, stream=True)
    assert len(seen) == 1
    assert list(stream)

    def fail(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_sdk, "replace_iterator", fail)
    assert list(client.chat.completions.create(**HELLO, stream=True))


@pytest.mark.parametrize("broken", ["reader_closing", "end_closed"])
def test_a_failure_of_ours_at_a_close_leaves_it_alone(
    broken: str, telemetry: Telemetry, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response is closed, and the call is recorded, once, at the latest when it is dropped."""

    def fail(*_args: object) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(f"or_instrument._calls.response.{broken}", fail)
        stream = client.chat.completions.create(**HELLO, stream=True)
        next(stream)
        stream.close()
        assert stream.response.is_closed
    del stream
    assert len(telemetry.settle().calls) == 1


def _fail_after_the_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Events._take

    def fail(self: Events, data: bytes) -> None:
        if not self.is_new:
            raise ZeroDivisionError
        take(self, data)

    monkeypatch.setattr(Events, "_take", fail)


def test_a_failure_of_ours_in_a_stream_leaves_its_bytes_alone(
    telemetry: Telemetry, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read by us is the user's all the same."""
    _fail_after_the_first_event(monkeypatch)
    chunks = list(client.chat.completions.create(**HELLO, stream=True))
    assert chunks[-1].usage
    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]


@pytest.mark.anyio
async def test_a_failure_of_ours_in_an_async_stream_leaves_its_bytes_alone(
    telemetry: Telemetry, aclient: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where it is async."""
    _fail_after_the_first_event(monkeypatch)
    chunks = [chunk async for chunk in await aclient.chat.completions.create(**HELLO, stream=True)]
    assert chunks[-1].usage
    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]


def test_to_read_twice_is_refused_and_ends_nothing(telemetry: Telemetry, client: openai.OpenAI) -> None:
    """The HTTP library refuses it; who was reading goes on, and has the bill."""
    with client.chat.completions.with_streaming_response.create(**HELLO, stream=True) as response:
        reading = response.http_response.iter_raw()
        next(reading)
        with pytest.raises(http.StreamConsumed):
            next(response.http_response.iter_raw())
        list(reading)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.missing) == ("complete", None)


def test_a_failure_of_ours_where_a_stream_breaks_leaves_the_exception(
    fake: FakeOpenRouter, telemetry: Telemetry, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is an error, whatever it was."""

    def fail(*_args: object) -> Any:
        raise ZeroDivisionError

    fake.script(Answer(abort_after=1))
    monkeypatch.setattr("or_instrument._calls.response.is_read_by_stream", fail)
    with pytest.raises(Exception, match=r"\w") as caught:
        list(client.chat.completions.create(**HELLO, stream=True))
    assert not isinstance(caught.value, ZeroDivisionError)
    assert [call.outcome for call in telemetry.settle().calls] == ["error"]


def test_who_closes_is_looked_for_no_deeper_than_there_are_frames() -> None:
    """A reader that is called by nobody, as by a thread's first function, is no stream of the SDK's."""
    assert reader_closing(object(), None) is None
    assert not is_read_by_stream(None)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("trio", "Cancelled"),
        ("greenlet", "GreenletExit"),
        ("gevent.timeout", "Timeout"),
        ("eventlet.timeout", "Timeout"),
    ],
)
def test_who_is_stopped_is_no_error(module: str, name: str) -> None:
    """What other ways of concurrency throw into a reader is the user's wish, and so is what is derived from it."""
    thrown: type[BaseException] = type(name, (BaseException,), {"__module__": module})
    derived: type[BaseException] = type("MyOwn", (thrown,), {})
    assert is_cancellation(thrown())
    assert is_cancellation(derived())
    assert not is_cancellation(type(name, (BaseException,), {"__module__": "mine"})())
