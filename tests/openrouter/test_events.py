r"""Facts about keeping what a raw body's usage needs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument._openrouter import events as _body
from or_instrument._openrouter.events import EventKeeper, JSONKeeper, Telltale, parse_json
from or_instrument._openrouter.fold import fold

USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "cost": 0.25}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


def sse(events: list[Any], *, end: str = "\n", comment: str = "", done: bool = True) -> bytes:
    """Return a server-sent event stream."""
    lines = [f"{comment}data: {json.dumps(event)}{end}{end}" for event in events]
    return ("".join(lines) + (f"data: [DONE]{end}{end}" if done else "")).encode()


def kept(keeper: EventKeeper | JSONKeeper, body: bytes, cuts: list[int] | int = 0) -> list[object]:
    """Feed a body in pieces; return what was kept of it."""
    ends = range(cuts, len(body), cuts) if isinstance(cuts, int) and cuts else sorted(cuts or [])  # type: ignore[arg-type]
    start = 0
    for end in (*ends, len(body)):
        keeper.feed(body[start:end])
        start = end
    return keeper.chunks()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[DONE]", b"\xff", b"[" * 100_000, b"9" * 5000], ids=lambda t: repr(t)[:9]
)
def test_what_is_no_json_is_nothing(text: bytes) -> None:
    """Truncated, not UTF-8, nested too deep or too long a number: no exception, no value."""
    assert parse_json(text) == []


def test_a_json_null_is_a_value() -> None:
    """It is told from no JSON at all."""
    assert parse_json(b"null") == [None]


@given(JSON, st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_json_body_is_kept_whole_however_it_was_cut(body: Any, cuts: list[int]) -> None:
    """Bytes come in any pieces."""
    assert kept(JSONKeeper(), json.dumps(body).encode(), cuts) == [body]


def test_a_json_body_of_the_bound_is_kept_and_one_byte_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded: nothing of a body too large is held."""
    monkeypatch.setattr(_body, "_JSON_LIMIT", 10)
    small, large = JSONKeeper(), JSONKeeper()
    assert kept(small, b'"12345678"', 3) == ["12345678"]
    assert kept(large, b'"123456789"', 3) == []
    assert (small.is_whole, large.is_whole) == (True, False)
    assert large._parts == []
    large.feed(b"1")
    assert large.chunks() == []


def test_a_body_has_data_from_its_first_byte() -> None:
    """An empty read is none."""
    keeper = JSONKeeper()
    keeper.feed(b"")
    assert not keeper.has_data
    keeper.feed(b" ")
    assert keeper.has_data


def test_a_stream_has_data_from_its_first_event() -> None:
    """A comment that keeps the connection open is no first chunk; an event's name split over two reads is one."""
    keeper = EventKeeper()
    keeper.feed(b": OPENROUTER PROCESSING data: no\n\nda")
    assert not keeper.has_data
    keeper.feed(b"ta: {}")
    assert keeper.has_data
    keeper.feed(b"\n\n")
    assert keeper.has_data


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("comment", ["", ": OPENROUTER PROCESSING\n\n", "event: message\nid: 7\n"], ids=len)
def test_events_are_read_whatever_stands_between_them(end: str, comment: str) -> None:
    """Line ends of both kinds, comments, event names and `[DONE]`."""
    assert kept(EventKeeper(), sse([{"n": 1}, USAGE], end=end, comment=comment), 7) == [{"n": 1}, USAGE]


def test_events_need_no_space_after_the_colon_and_no_done() -> None:
    """Both are optional."""
    assert kept(EventKeeper(), b'data:{"n":1}\n\ndata: {"n":2}') == [{"n": 1}, {"n": 2}]


def test_a_broken_event_is_left_out_and_the_others_kept() -> None:
    """A stream cut in the middle keeps what came whole."""
    assert kept(EventKeeper(), b'data: {"n": 1}\n\ndata: {"n": \n\ndata: {"n": 3}\n\ndata: {"u') == [{"n": 1}, {"n": 3}]


def test_data_inside_a_json_string_starts_no_event() -> None:
    """A model may well write about server-sent events."""
    text = 'so send\ndata: {"usage": {"cost": 99}}\n\ndata: [DONE]\n'
    assert kept(EventKeeper(), sse([{"delta": text}, USAGE]), 5) == [{"delta": text}, USAGE]


def test_the_last_events_of_a_long_stream_are_kept_and_the_others_let_go() -> None:
    """Usage is in the last one or two; memory does not grow with the stream."""
    keeper = EventKeeper()
    largest = 0
    for number in range(3000):
        keeper.feed(sse([{"n": number, "text": "x" * 100}], done=False))
        largest = max(largest, len(keeper._tail))
    keeper.feed(sse([USAGE]))
    assert keeper.chunks()[-1] == USAGE
    assert {"n": 2999, "text": "x" * 100} in keeper.chunks()
    assert largest < 2 * _body._TRIM_AT


def test_a_huge_final_event_is_kept_whole() -> None:
    """The last event of Responses repeats the whole answer."""
    final = {"type": "response.completed", "response": {"text": "x" * 1_000_000, "usage": {"cost": 0.5}}}
    body = sse([*({"n": number} for number in range(50)), final])
    assert kept(EventKeeper(), body, 4096)[-1] == final


def test_an_event_beyond_the_bound_is_let_go_and_the_next_ones_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded even where one event never ends."""
    monkeypatch.setattr(_body, "_EVENT_LIMIT", 8192)
    keeper = EventKeeper()
    keeper.feed(sse([{"n": 1}, {"n": 2}, {"n": 3}], done=False) + b'data: {"text": "')
    for _ in range(100):
        keeper.feed(b"x" * 1000)
        assert len(keeper._tail) <= 3 * 8192
    keeper.feed(b'"}\n\n' + sse([USAGE]))
    assert keeper.chunks() == [USAGE]


def test_a_stream_of_comments_alone_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider may think for long."""
    monkeypatch.setattr(_body, "_EVENT_LIMIT", 8192)
    keeper = EventKeeper()
    for _ in range(3000):
        keeper.feed(b": OPENROUTER PROCESSING\n\n")
    assert len(keeper._tail) <= 3 * 8192
    keeper.feed(sse([USAGE]))
    assert keeper.chunks() == [USAGE]


EVENTS = st.lists(
    st.fixed_dictionaries({"n": st.integers(0, 9), "text": st.text(max_size=40) | st.just("\ndata: {}\n")})
    | st.just({"text": "x" * 3000}),
    max_size=12,
)


@given(EVENTS, st.lists(st.integers(0, 20_000), max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_stream_cut_at_any_bytes_ends_in_the_same_events(
    events: list[Any], cuts: list[int], end: str, comment: bool
) -> None:
    """Wherever the reads cut it, its last three events are the last three kept, and none is made up."""
    events = [*events, USAGE]
    body = sse(events, end=end, comment=": a\n\n" if comment else "")
    chunks = kept(EventKeeper(), body, [cut for cut in cuts if cut < len(body)])
    assert chunks == events[-len(chunks) :]
    assert len(chunks) >= min(3, len(events))
    assert fold(chunks) == fold(events)


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_without_an_exception(body: bytes, step: int) -> None:
    """What is no event stream has no events."""
    kept(EventKeeper(), body, step)
    kept(JSONKeeper(), body, step)


def event(finish: str = "null", rest: str = "", content: str = "hi") -> bytes:
    """A chunk of a chat stream as OpenRouter writes it."""
    delta = f'"delta":{{"content":{json.dumps(content)}}}'
    return f'data: {{"id":"gen-1","choices":[{{{delta},"finish_reason":{finish}}}]{rest}}}\n\n'.encode()


TEXT = event()
TELLING = (
    event('"stop"'),
    event(rest=',"usage":{"cost":1}'),
    event(rest=',"usage": {"cost": 1}'),
    event('"stop"', rest=',"usage":{"cost":1}'),
    TEXT.replace(b'"finish_reason":null', b'"finish_reason":null,"native_finish_reason":"STOP"'),
)


def pieces_of(body: bytes, data: st.DataObject) -> list[bytes]:
    """Cut a body anywhere."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=12)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT, id="text"),
        pytest.param(event(rest=',"usage":null'), id="usage is null"),
        pytest.param(event(content='"usage":{"cost":1}, "finish_reason":"stop"'), id="text that speaks of usage"),
        pytest.param(b": OPENROUTER PROCESSING\n\n" + TEXT, id="comment"),
        pytest.param(TEXT + b"data: [DONE]\n\n", id="done"),
    ],
)
def test_chunks_of_mere_text_are_told(text: bytes) -> None:
    """What a model says, quotes and all, is text until usage or an end is in sight: quotes in a text are escaped."""
    telltale = Telltale()

    assert all(telltale.is_text(text) for _ in range(50))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b": OPENROUTER PROCESSING\n\n", id="comment"),
        pytest.param(b'data: {"type":"response.created","response":{"usage":null}}\n\n', id="an event of Responses"),
        pytest.param(TEXT.replace(b":", b": "), id="JSON with spaces"),
    ],
)
def test_what_no_chat_chunk_of_openrouter_is_said_in_is_no_text(body: bytes) -> None:
    """Where the words looked for could be written otherwise, all chunks are kept."""
    telltale = Telltale()

    assert not any(telltale.is_text(body) for _ in range(3))


@pytest.mark.parametrize("telling", TELLING, ids=["end", "usage", "usage with a space", "both", "the provider's end"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_usage_and_end_are_told_however_they_are_cut(telling: bytes, data: st.DataObject) -> None:
    """By the read that ends the event at the latest: before the SDK can make a chunk of it."""
    telltale = Telltale()
    told = [telltale.is_text(piece) for piece in pieces_of(TEXT * 3 + telling, data)]

    assert not told[-1]
    assert not any(telltale.is_text(piece) for piece in (TEXT, TEXT[:20], TEXT[20:]))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_text_is_told_however_it_is_cut(data: st.DataObject) -> None:
    """A cut hides no choice, and invents no end."""
    telltale = Telltale()

    assert any(telltale.is_text(piece) for piece in pieces_of(TEXT, data))
    assert telltale.is_text(TEXT)


@pytest.mark.parametrize("bytes_", [b"data: [DONE]\n\n", b": OPENROUTER PROCESSING\n\n", b""])
def test_bytes_without_a_choice_bring_no_text(bytes_: bytes) -> None:
    """The chunk before them may be the last, and how a stream ended is told by that."""
    telltale = Telltale()
    telltale.is_text(TEXT)

    assert not telltale.is_text(bytes_)
    assert telltale.is_text(TEXT)
