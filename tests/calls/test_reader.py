"""Facts about the reader of an answer: one record, however its bytes are cut, and bounded however many they are."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import Reply
from or_instrument._calls.reader import Reader

WIRE = Path(__file__).parent.parent / "wire"
RECORDED = os.environ.get("OR_INSTRUMENT_RECORDED")
FOLDERS = (WIRE, *([Path(RECORDED)] if RECORDED else []))
BODIES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["body"].encode()
    for folder in FOLDERS
    for path in folder.glob("*.json")
}
SPLITS = int(os.environ.get("OR_INSTRUMENT_SPLITS", "150"))
"""How many random splits are tried; the nox session `splits` tries more."""
WHO: Any = {"id": "gen-1", "model": "acme/large", "provider": "Acme"}
USAGE: Any = {"prompt_tokens": 194, "completion_tokens": 25, "cost": 0.0012, "is_byok": False}


def text(content: str = "x", reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a chunk of a chat stream."""
    choice = {"index": index, "delta": {"content": content}, "finish_reason": reason, "native_finish_reason": reason}
    return {**WHO, "choices": [choice], **more}


def sse(*chunks: Any, end: str = "\n", done: bool = True, spaces: bool = False) -> bytes:
    """Return a stream of these chunks."""
    separators = (", ", ": ") if spaces else (",", ":")
    lines = [f"data: {json.dumps(chunk, separators=separators, ensure_ascii=False)}" for chunk in chunks]
    return "".join(f"{line}{end}{end}" for line in [*lines, *(["data: [DONE]"] if done else [])]).encode()


def read(parts: Iterable[bytes], *, several: bool = False) -> tuple[Reply, bool]:
    """Return the reply that bytes tell, and whether they said that they are at their end."""
    reader = Reader(several=several)
    for part in parts:
        reader.feed(part)
    return reader.reply(), reader.is_ended


def whole(body: bytes, *, several: bool = False) -> tuple[Reply, bool]:
    """Return what a body in memory tells."""
    reader = Reader(several=several)
    reader.read(body)
    return reader.reply(), reader.is_ended


def pieces(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return a body cut at these places."""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(places)]


STREAM = sse(text("ä"), text("b", "stop"), text("", "stop", usage=USAGE))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_split_in_two_tells_the_same(body: bytes) -> None:
    """Inside a UTF-8 sequence, a name, a line end: wherever a real exchange is cut, one record comes of it."""
    expected = whole(body)
    assert all(read([body[:cut], body[cut:]]) == expected for cut in range(1, len(body)))


@given(st.sampled_from(sorted(BODIES)), st.lists(st.integers(0, 1 << 20), max_size=40), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=SPLITS, deadline=None)
def test_any_split_in_many_tells_the_same(name: str, cuts: list[int], end: str) -> None:
    """Likewise in many pieces, with either line end."""
    body = BODIES[name].replace(b"\n", end.encode())
    assert read(pieces(body, cuts)) == whole(BODIES[name])


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_byte_by_byte(body: bytes) -> None:
    """The smallest reads there are."""
    assert read(body[at : at + 1] for at in range(len(body))) == whole(body)


@pytest.mark.parametrize("after", [0, 1, 4, 6, 12, 500])
def test_usage_is_found_wherever_it_is(after: int) -> None:
    """However many events follow it."""
    reply, _ = read([sse(chunk, done=False) for chunk in (text(), text("", "stop", usage=USAGE), *[text("")] * after)])
    assert (reply.usage and reply.usage.cost, reply.finish_reasons) == (0.0012, ("stop",))


@pytest.mark.parametrize(
    "later", [{}, None, {"prompt_tokens": 0, "cost": 0}, {"prompt_tokens": 194}, {"cost": "nonsense"}]
)
def test_a_later_usage_object_takes_nothing_away(later: Any) -> None:
    """Empty, zeros, tokens only or broken: what was told before stands."""
    reply, _ = read([sse(text("", "stop", usage=USAGE), text("", usage=later))])
    assert reply.usage is not None
    assert (reply.usage.cost, reply.usage.input_tokens, reply.usage.is_byok) == (0.0012, 194, False)


def test_an_error_among_chunks_is_found_wherever_it_is() -> None:
    """A service may go on after it has told of an error, one event a read."""
    error = {**text(), "error": {"code": 502, "message": "Provider returned error"}}
    events = [sse(event, done=False) for event in (text(), text(), error, text(), text(), text())]

    assert read(events)[0].failure == whole(sse(error))[0].failure is not None


@pytest.mark.parametrize("kind", [lambda buffer: buffer, memoryview], ids=["bytearray", "memoryview"])
def test_a_transport_may_go_over_to_a_buffer_of_its_own(kind: Any) -> None:
    """What has passed is kept as it was, though the buffer that it came in is filled anew."""
    first, *events = (sse(chunk, done=False) for chunk in (text(), text("a", "stop"), {**text("b"), "usage": USAGE}))
    buffer = bytearray(max(map(len, events)))
    reader = Reader()
    reader.feed(first)
    for event in (*events, sse(text("c"), done=False)):
        buffer[:] = event.rstrip(b"\n").ljust(len(buffer) - 2) + b"\n\n"
        reader.feed_events(kind(buffer))
    buffer[:] = bytes(len(buffer))

    assert reader.reply() == read([first, *events])[0]


def test_usage_in_two_events_is_one() -> None:
    """Tokens first, the cost next."""
    reply, _ = read([sse(text(usage={"prompt_tokens": 3})), sse(text(usage={"cost": 0.5, "is_byok": True}))])
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.cost, reply.usage.is_byok) == (3, 0.5, True)


def test_usage_with_every_chunk_is_read_in_bounded_memory() -> None:
    """As some services count while they write; nulls in between count as nothing."""
    reader = Reader()
    for tokens in range(1, 3000):
        reader.feed(sse(text(usage={"completion_tokens": tokens} if tokens % 2 else None), done=False))
    kept: Any = reader.kept
    assert sum(map(len, (kept._before, kept._last))) < 2000
    usage = reader.reply().usage
    assert usage is not None
    assert usage.output_tokens == 2999


def test_every_choice_is_read_where_several_were_asked_for() -> None:
    """Though their ends lie far before the stream's."""
    chunks = [text("", f"r{index}", index) for index in range(20)]
    reply, _ = read([sse(chunk, done=False) for chunk in (text(), *chunks, *[text()] * 20)], several=True)
    assert reply.finish_reasons == tuple(f"r{index}" for index in range(20))


@pytest.mark.parametrize(
    "way",
    [lambda body: read(pieces(body, [70_000]), several=True), lambda body: whole(body, several=True)],
    ids=["read", "in memory"],
)
def test_every_choice_of_a_large_body_is_read_where_several_were_asked_for(way: Any) -> None:
    """They stand all over it."""
    choices = [{"index": index, "finish_reason": f"r{index}", "text": "x" * 40_000} for index in range(4)]
    reply, _ = way(json.dumps({**WHO, "choices": choices, "usage": USAGE}).encode())
    assert reply.finish_reasons == ("r0", "r1", "r2", "r3")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n   \n", b": OPENROUTER PROCESSING\n\n"])
def test_what_a_body_is_shows_its_first_byte(stream: bool, prefix: bytes) -> None:
    """White space, a byte order mark and comments may come before it."""
    body = STREAM if stream else json.dumps({**WHO, "usage": USAGE}).encode()
    if not stream and prefix.startswith(b":"):
        prefix = b""
    reply, is_ended = read(pieces(prefix + body, [1, 2, 3, len(prefix)]))
    assert (reply.id, reply.usage and reply.usage.cost, is_ended) == ("gen-1", 0.0012, True)


@pytest.mark.parametrize("way", [lambda body: read([body]), whole], ids=["read", "in memory"])
@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\n         \n" * 9000], ids=["mark", "100 KB of blanks"])
def test_what_stands_before_a_body_hides_none_of_it(prefix: bytes, way: Any) -> None:
    """Not its only event, whichever read brings it; services send white space for as long as an answer takes."""
    said: Any = {**WHO, "usage": USAGE}
    for body in (json.dumps(said).encode(), sse(said)):
        reply, is_ended = way(prefix + body)
        assert (reply.id, reply.usage and reply.usage.cost, is_ended) == ("gen-1", 0.0012, True)


@pytest.mark.parametrize("body", [b"  ", b'{"id":"gen-2"}'])
def test_a_body_in_memory_counts_alone(body: bytes) -> None:
    """What was fed before is the same body, as far as it had come, or another's."""
    reader = Reader()
    reader.feed(json.dumps({**WHO, "usage": USAGE}).encode())
    reader.read(body)
    assert reader.reply() == whole(body)[0]


@pytest.mark.parametrize("body", [b"", b"RIFF\x00\x00WAVE", b"[1]", b"\xff\xfb\x90\x00", b"   "])
def test_other_bytes_tell_nothing(body: bytes) -> None:
    """Speech, a list, nothing at all; nor do braces in the midst of them."""
    assert read([body, b'{"usage":{"cost":1}}'] if body.strip() else [body]) == (Reply(), False)


@pytest.mark.parametrize("size", [1000, 70_000, 3_000_000])
@pytest.mark.parametrize("step", [997, 65_536, 1 << 30])
def test_a_large_event_tells_its_bill_in_bounded_memory(size: int, step: int) -> None:
    """The terminal event of Responses holds the whole answer."""
    done = {"type": "response.completed", "response": {**WHO, "status": "completed", "output": [{"text": "y" * size}]}}
    done["response"]["usage"] = {"input_tokens": 3, "cost": 0.25}  # type: ignore[index]
    body = sse({"type": "response.created", "response": WHO}, done)
    reader, most = Reader(), 0
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
        kept: Any = reader.kept
        most = max(most, sum(sys.getsizeof(held) for held in (kept._before, kept._last, kept._rest or b"")))
    reply = reader.reply()
    assert reply.usage is not None
    assert (reply.usage.cost, reply.usage.input_tokens, reply.id, reader.is_ended) == (0.25, 3, "gen-1", True)
    assert most < 200_000 or step > size


def test_a_large_body_whose_fields_are_sorted_tells_who_answered() -> None:
    """Proxies write them so: all but the choices stand behind these then, the bill last."""
    said = {**WHO, "object": "x", "created": 1, "choices": [{"text": "y" * 90_000, "finish_reason": "stop"}]}
    reply, _ = whole(json.dumps({**said, "usage": USAGE}, sort_keys=True).encode())
    assert (reply.id, reply.model, reply.provider, reply.finish_reasons) == (*WHO.values(), ("stop",))
    assert (reply.usage and reply.usage.cost) == 0.0012


def test_a_large_body_in_memory_is_not_copied() -> None:
    """Though white space stands before it."""
    body = b"\n         \n" * 10 + json.dumps({**WHO, "data": "y" * 8_000_000, "usage": USAGE}).encode()
    reader = Reader()
    tracemalloc.start()
    try:
        reader.read(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    reply = reader.reply()
    assert (reply.id, reply.usage and reply.usage.cost, peak < 256 * 1024) == ("gen-1", 0.0012, True)


def test_a_stream_is_held_in_little_however_long_it_is() -> None:
    """The last two reads and who answers."""
    reader = Reader()
    for _ in range(2000):
        reader.feed(sse(text(), done=False))
    kept: Any = reader.kept
    assert len(kept._before) + len(kept._last) < 700


@pytest.mark.parametrize(
    ("body", "is_ended"),
    [
        (STREAM, True),
        (sse(text(), done=False), False),
        (sse(text("", "stop", usage=USAGE), done=False), False),
        (sse({**WHO, "error": {"code": 400}}, done=False), True),
        (sse({"type": "response.failed", "response": {"status": "failed"}}, done=False), True),
        (b'{"id":"gen-1"', False),
        (b'{"id":"gen-1"}', True),
    ],
)
def test_whether_an_answer_is_at_its_end(body: bytes, is_ended: bool) -> None:
    """It says so itself: by its mark, its terminal event, an error, its last brace."""
    assert read([body])[1] is is_ended


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_without_an_exception(tail: bytes, cuts: list[int], several: bool) -> None:
    """Whatever comes after a good beginning."""
    for head in (b'data: {"id":"x"}\n\n', b'{"id":', b""):
        read(pieces(head + tail, cuts), several=several)


def large_event(**more: Any) -> bytes:
    """Return a stream whose terminal event is too large to be parsed."""
    inside = {
        **WHO,
        "status": "completed",
        "output": [{"text": "y" * 70_000}],
        "usage": {"input_tokens": 3, "cost": 0.25},
    }
    return sse(
        {"type": "response.created", "response": WHO},
        {"type": "response.completed", "response": inside, **more},
        {"type": "later", "usage": {"output_tokens": 9}},
    )


@pytest.mark.parametrize("more", [{}, {"sequence_number": 2}, {"sequence_number": 2, "extra": {"a": [1]}}])
def test_a_large_event_may_end_with_other_fields(more: dict[str, Any]) -> None:
    """Than its body."""
    usage = whole(large_event(**more))[0].usage
    assert usage is not None
    assert (usage.cost, usage.input_tokens, usage.output_tokens) == (0.25, 3, 9)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_large_event_cut_around_its_end(end: bytes) -> None:
    """Between its two line ends, too."""
    body = large_event().replace(b"\n", end)
    expected = whole(body)
    blank = body.index(end + end, 70_000)
    for cut in range(blank - 2, blank + 6):
        assert read([body[:68_000], body[68_000:cut], body[cut:]]) == expected


@pytest.mark.parametrize("before", [100, 20_000, 200_000])
@pytest.mark.parametrize("after", [100, 35_000, 200_000])
@pytest.mark.parametrize("step", [1000, 60_000, 1 << 30])
def test_usage_in_the_middle_of_a_large_body(before: int, after: int, step: int) -> None:
    """Citations may follow it, instructions stand before it: in memory or in pieces, it is found."""
    body = {**WHO, "choices": ["x" * before], "usage": USAGE, "citations": ["y" * after], "tail": "z" * 40_000}
    text_ = json.dumps(body).encode()
    for reply, _ in (whole(text_), read([text_[at : at + step] for at in range(0, len(text_), step)])):
        assert (reply.id, reply.usage and reply.usage.cost) == ("gen-1", 0.0012)


@pytest.mark.parametrize("order", [("code", "message"), ("message", "code")])
def test_a_large_refusal_is_a_failure(order: tuple[str, ...]) -> None:
    """Its code is told, wherever it stands in it."""
    error = {"code": 502, "message": "m" * 70_000}
    for body in (json.dumps({"error": {name: error[name] for name in order}}).encode(),):
        for reply in (whole(body)[0], read([b"data: " + body + b"\n\n"])[0]):
            assert reply.failure is not None
            assert reply.failure.type == "502"


@pytest.mark.parametrize("large", ["message", "raw"])
def test_a_large_refusal_tells_its_type(large: str) -> None:
    """What quotes the prompt may be before it, or after it, in the object that it stands in."""
    said = {"message": "m", "raw": "r", large: "x" * 90_000}
    metadata = {"error_type": "invalid_request", "raw": said["raw"]}
    body = json.dumps(
        {"error": {"code": 400, "message": said["message"], "metadata": metadata}, "user_id": "u"}
    ).encode()
    for reply in (whole(body)[0], read([b"data: " + body + b"\n\n"])[0]):
        assert reply.failure is not None
        assert (reply.failure.type, reply.failure.code) == ("invalid_request", "400")


def test_comments_push_nothing_out() -> None:
    """Keep-alives between the finish reason and the usage, each a read of its own."""
    parts = [sse(chunk, done=False) for chunk in (text(), text("", "stop"), {**WHO, "choices": [], "usage": USAGE})]
    comment = b": OPENROUTER PROCESSING\n\n"
    reply, _ = read([parts[0], parts[1], comment, comment, comment, parts[2], b"data: [DONE]\n\n", comment, comment])
    assert (reply.finish_reasons, reply.usage and reply.usage.cost) == (("stop",), 0.0012)


def test_a_byte_order_mark_may_be_cut() -> None:
    """Before JSON as before events."""
    body = b"\xef\xbb\xbf" + json.dumps({**WHO, "usage": USAGE}).encode()
    assert all(read([body[:cut], body[cut:]])[0].id == "gen-1" for cut in range(1, 6))


def test_a_large_event_that_never_ends_tells_what_has_come() -> None:
    """The connection may close behind the last byte, without the blank line."""
    body = json.dumps({**WHO, "choices": [{"delta": {"content": "x" * 90_000}}], "usage": USAGE}).encode()
    reader = Reader()
    for start in range(0, len(body), 20_000):
        reader.feed((b"data: " if not start else b"") + body[start : start + 20_000])
    reply = reader.reply()
    assert (reply.id, reply.usage and reply.usage.cost) == ("gen-1", 0.0012)


@pytest.mark.parametrize("place", [0, 1, 400])
def test_usage_is_found_wherever_it_is_in_a_large_read(place: int) -> None:
    """Also in the first event of a read that holds thousands."""
    chunks = [text() for _ in range(1000)]
    chunks[place] = text(usage=USAGE)
    reader = Reader()
    reader.feed(sse(text()))
    reader.feed(sse(*chunks))
    usage = reader.reply().usage
    assert usage is not None
    assert usage.cost == 0.0012
