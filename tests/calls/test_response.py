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

from or_instrument._clients import openai as _patch
from or_instrument._clients import openai_sdk as _sdk
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
        self.is_closing.wait(10)
        yield data

    def close(self) -> None:
        self.is_closing.set()
        self.was_read.wait(10)


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
    began.wait(10)
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

    patch._wrap(openai)

    assert "request" not in vars(openai.OpenAI)


def test_a_wrapper_that_others_have_taken_off_is_gone() -> None:
    """Taking off a wrapper that somebody else has replaced leaves theirs."""
    patch = _patch.OpenAIPatch(SimpleNamespace(open=None), None)  # type: ignore[arg-type]
    patch._wrap(openai)
    theirs = openai.OpenAI.request = lambda *_args, **_options: None  # type: ignore[method-assign,assignment]
    try:
        patch.remove()

        assert vars(openai.OpenAI)["request"] is theirs
    finally:
        del openai.OpenAI.request
