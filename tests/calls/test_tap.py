"""The tap and the wire where no real service leads: empty streams, foreign iterators, bodies too large to keep."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from in_memory import Telemetry
from opentelemetry.context import Context, attach, detach

from or_instrument import Call, Request
from or_instrument._calls.flight import Flight
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.tap import Chunks, atap, tap
from or_instrument._clients import openai as _patch
from or_instrument._clients import openai_sdk as _sdk
from or_instrument._content.capture import Capture
from or_instrument._openrouter import events as _body
from or_instrument._openrouter.fold import fold
from or_instrument.testing import Answer, FakeOpenRouter

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
HELLO: Any = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}
REQUEST = Request("chat", "openrouter", "m", "openrouter.ai", 443, stream=True)


def test_an_empty_stream_is_complete() -> None:
    """A stream without a chunk has an end, and no first chunk."""
    calls: list[Call] = []

    assert list(tap(iter(()), Flight(REQUEST, [calls.append]), Chunks(REQUEST))) == []

    assert [(call.outcome, call.time_to_first_chunk_s) for call in calls] == [("complete", None)]


@pytest.mark.anyio
async def test_an_empty_async_stream_is_complete() -> None:
    """Likewise where it is async."""
    calls: list[Call] = []

    async def nothing() -> Any:
        for chunk in ():
            yield chunk

    assert [chunk async for chunk in atap(nothing(), Flight(REQUEST, [calls.append]), Chunks(REQUEST))] == []

    assert [call.outcome for call in calls] == ["complete"]


def test_an_iterator_that_cannot_be_closed_is_let_go() -> None:
    """A tap over an iterator without `close` is closed all the same."""
    calls: list[Call] = []
    tapped = tap(iter([{}, {}]), Flight(REQUEST, [calls.append]), Chunks(REQUEST))
    next(tapped)

    tapped.close()

    REAPER.drain()
    assert [call.outcome for call in calls] == ["abandoned"]


HEAD: Any = {"id": "gen-1", "model": "m", "provider": "Acme"}
TEXT: Any = {**HEAD, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
DONE: Any = {**HEAD, "choices": [{"index": 0, "finish_reason": "stop", "native_finish_reason": "STOP"}]}
BILL: Any = {**DONE, "usage": {"cost": 0.25}}


def seen(*chunks: Any, request: Request = REQUEST) -> Chunks:
    """Return what is kept of these chunks."""
    kept = Chunks(request)
    for chunk in chunks:
        kept.see(chunk)
    return kept


def heard() -> tuple[Chunks, Callable[[bytes], None]]:
    """Return what is kept where many streams are open, and what hears the bytes."""
    kept = Chunks(REQUEST)
    hear = kept.listener()
    assert hear is not None
    return kept, hear


def test_each_of_several_choices_is_read() -> None:
    """The bill repeats the end of one of them only."""
    other = {**HEAD, "choices": [{"index": 1, "finish_reason": "length", "native_finish_reason": "MAX"}]}
    several = REQUEST._replace(parameters={"gen_ai.request.choice.count": 2})

    kept = seen(DONE, other, TEXT, TEXT, TEXT, TEXT, BILL, request=several)

    assert fold(kept()).finish_reasons == ("stop", "length")


@pytest.mark.parametrize(
    ("request_", "capture"),
    [
        pytest.param(REQUEST._replace(parameters={"gen_ai.request.choice.count": 2}), False, id="several choices"),
        pytest.param(REQUEST._replace(operation="text_completion"), False, id="several prompts"),
        pytest.param(REQUEST, True, id="content"),
    ],
)
def test_no_bytes_are_listened_to_where_every_chunk_is_needed(request_: Request, capture: bool) -> None:
    """Each choice may end in another chunk, and content is in all of them."""
    collector = Capture(1000).begin({}) if capture else None

    assert Chunks(request_, collector).listener() is None


def test_text_is_let_go_of_when_the_next_bytes_come() -> None:
    """Until usage or an end is in sight; from then on the last four chunks are kept."""
    kept, hear = heard()
    hear(b'data: {"choices":[{}]}\n\n')
    kept.start(TEXT)
    for number in range(9):
        hear(b'data: {"choices":[{}]}\n\n' * 3)
        for _ in range(2):
            kept.see(TEXT)
        kept.see({**TEXT, "number": number})

    assert list(kept()) == [HEAD, TEXT, TEXT, {**TEXT, "number": 8}]
    hear(b'data: {"usage":{}}\n\n')
    for chunk in (DONE, BILL, TEXT):
        hear(b'data: {"choices":[{}]}\n\n')
        kept.see(chunk)

    assert list(kept()) == [HEAD, {**TEXT, "number": 8}, DONE, BILL, TEXT]


def test_who_answered_is_known_of_text_that_was_let_go_of() -> None:
    """A stream may be broken off when bytes have come of which no chunk was made."""
    kept, hear = heard()
    hear(b'data: {"choices":[{}]}\n\n')
    kept.start(TEXT)
    hear(b'data: {"choices":[{"del')

    assert list(kept()) == [HEAD]


def test_how_a_stream_ended_is_known_where_the_done_comes_alone() -> None:
    """The last chunk is kept, whatever it says: no other comes."""
    failed = {**TEXT, "choices": [{"index": 0, "error": {"code": 502}}]}
    kept, hear = heard()
    for chunk in (TEXT, failed):
        hear(b'data: {"choices":[{}]}\n\n')
        kept.see(chunk)
    hear(b"data: [DONE]\n\n")

    assert list(kept()) == [failed]


def test_events_of_responses_are_kept_whatever_their_bytes_say() -> None:
    """They have no choices, unless in what they quote."""
    created, failed = {"type": "response.created"}, {"type": "response.failed"}
    kept, hear = heard()
    hear(b'data: {"choices":[{}]}\n\n')
    kept.start(created)
    hear(b'data: {"choices":[{}]}\n\n')
    kept.see(failed)
    hear(b'data: {"choices":[{}]}\n\n')

    assert list(kept()) == [created, created, failed]


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


def test_a_body_too_large_to_keep_is_read_by_the_parser(
    fake: FakeOpenRouter, telemetry: Any, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too large to keep as bytes is still recorded, once, where the SDK parses it."""
    monkeypatch.setattr(_body, "_JSON_LIMIT", 10)

    with client.chat.completions.with_streaming_response.create(**HELLO) as response:
        response.read()
        assert telemetry.calls == []
        response.parse()

    assert [call.spend for call in telemetry.calls] == [float(fake.charged_usd)]


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
    patch = _patch.Patch(SimpleNamespace(open=None))  # type: ignore[arg-type]
    patch.remove()

    patch._wrap(openai)

    assert "request" not in vars(openai.OpenAI)


def test_a_wrapper_that_others_have_taken_off_is_gone() -> None:
    """Taking off a wrapper that somebody else has replaced leaves theirs."""
    patch = _patch.Patch(SimpleNamespace(open=None))  # type: ignore[arg-type]
    patch._wrap(openai)
    theirs = openai.OpenAI.request = lambda *_args, **_options: None  # type: ignore[method-assign,assignment]
    try:
        patch.remove()

        assert vars(openai.OpenAI)["request"] is theirs
    finally:
        del openai.OpenAI.request


def test_a_context_that_is_not_ours_is_left() -> None:
    """A coroutine destroyed in another context leaves that one as it is."""
    ours, theirs = Context({"of": "ours"}), Context({"of": "theirs"})
    token = attach(theirs)
    try:
        _patch._detach_if_current(token, ours)

        assert _patch.get_current() is theirs
    finally:
        detach(token)
