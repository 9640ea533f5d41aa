"""Facts about parsing JSON: any text, and the ends of one that is too large to be parsed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument._openrouter.fold import fold
from or_instrument._openrouter.json_text import LIMIT, Excerpt, parse_body, parse_ends, parse_json, usage_in

USAGE: Any = {"prompt_tokens": 3, "cost": 0.25, "cost_details": {"upstream_inference_cost": None}}


@pytest.mark.parametrize("text", [b"", b" ", b"{", b"\xff", b"nope", b"[" * 100_000])
def test_what_is_no_json_is_nothing(text: bytes) -> None:
    """Broken, empty, binary and bottomless texts are nothing, and raise nothing."""
    assert parse_json(text) == []


def test_no_text_of_an_answer_is_kept() -> None:
    """A parser with a cache gives the same object twice, and holds it for as long as the process lives."""
    (first,), (second,) = (parse_json(b'"What was said to one customer."') for _ in range(2))
    assert first == second
    assert first is not second


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_json_is_read_to_the_last_digit(value: Any) -> None:
    """Every value is what the standard library reads, with numbers of any size, and surrogates without their half."""
    text = json.dumps(value).encode()
    assert parse_json(text) == [value]
    assert parse_json(b'"\\ud800"') == ["\ud800"]
    assert parse_json(json.dumps("\u20ac").encode("utf-16")) == ["\u20ac"]


ORDERS = ("chat", "embeddings", "images", "routed")


def large(order: str) -> dict[str, Any]:
    """Return a body of more than 64 KiB in the order that a kind of endpoint has."""
    top = {"id": "gen-1", "model": "m", "provider": "Acme"}
    if order == "embeddings":
        return {"object": "list", "data": [{"embedding": [0.5] * 30_000}], "model": "m", "usage": USAGE, **top}
    if order == "images":
        return {"created": 1, "data": [{"b64_json": "x" * 90_000, "model": "not this"}], "usage": USAGE}
    if order == "routed":
        endpoints = [{"provider": f"P{number}", "model": "m", "selected": number == 7} for number in range(20)]
        routing = {"attempt": 1, "endpoints": {"available": endpoints}, "attempts": [{"status": 200}]}
        return {**top, "choices": [{"text": "x" * 90_000}], "openrouter_metadata": routing, "usage": USAGE}
    choice = {"finish_reason": "stop", "message": {"content": 'a "usage": {} \\' + "x" * 90_000}}
    return {**top, "choices": [choice], "service_tier": "flex", "usage": USAGE, "system_fingerprint": None}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("space", ["", " "])
def test_the_ends_of_a_large_body_tell_who_answered_and_the_bill(order: str, space: str) -> None:
    """Fields at the top of the object are found before and behind the large value, and none inside of it."""
    body = large(order)
    text = json.dumps(body, separators=("," + space, ":" + space)).encode()
    said: dict[str, Any] = {}
    for part in parse_body(text):
        said.update(part)  # type: ignore[call-overload]

    assert len(text) > LIMIT
    wanted = {key: value for key, value in body.items() if key not in ("data", "choices", "object", "created")}
    assert wanted.items() <= said.items()
    assert said.get("model") == body.get("model")


@given(
    st.lists(st.integers(1, 70_000), min_size=1, max_size=12),
    st.sampled_from(["chat", "embeddings", "images", "routed"]),
)
def test_an_excerpt_says_what_the_whole_says(cuts: list[int], order: str) -> None:
    """However a large body is cut, the same is read of it, and at most 64 KiB are held."""
    text = json.dumps(large(order)).encode()
    excerpt, start = Excerpt(), 0
    for cut in (*cuts, len(text)):
        excerpt.add(text[start : start + cut])
        start += cut
    assert excerpt.bodies() == parse_body(text)
    assert not excerpt.is_whole


TOKEN = {"token": " a", "logprob": -0.25, "bytes": [32, 97], "top_logprobs": []}
SCHEMA = {"type": "object", "properties": {"usage": {"type": "object", "cost": {"type": "number"}}, "s": ["a", "b"]}}
LARGE: dict[str, Any] = {
    "text": 'He said: "}],\\", \n' * 7_000,
    "numbers": [0.5, -1e-9] * 20_000,
    "logprobs": {"content": [TOKEN] * 1_500, "refusal": None},
    "tools": [{"type": "function", "name": f"t{number}", "parameters": SCHEMA} for number in range(800)],
    "texts": ['", "usage": {"cost": 9}, "'] * 4_000,
}
CHAT: dict[str, Any] = {"id": "gen-1", "model": "m", "provider": "Acme", "service_tier": "flex", "object": "x"}
RESPONSE: dict[str, Any] = {
    "id": "gen-1",
    "model": "m",
    "status": "incomplete",
    "metadata": {},
    "service_tier": "flex",
    "error": None,
    "incomplete_details": {"reason": "max_output_tokens"},
    "tools": [],
    "instructions": None,
    "temperature": 0.5,
}


def shuffled(draw: st.DrawFn, body: dict[str, Any]) -> dict[str, Any]:
    """Return an object with its fields in any order."""
    return {name: body[name] for name in draw(st.permutations(list(body)))}


@st.composite
def large_replies(draw: st.DrawFn) -> dict[str, Any]:
    """Return a chat completion, a response or its last event, fields in any order, with the name of one large value."""
    value = draw(st.sampled_from([f"<{name}>" for name in LARGE]))
    if draw(st.booleans()):
        choice = {"index": 0, "finish_reason": "length", "native_finish_reason": "max_tokens", "logprobs": None}
        message = {
            "role": "assistant",
            "content": None,
            "refusal": None,
            draw(st.sampled_from(["content", "z"])): value,
        }
        return shuffled(draw, {**CHAT, "usage": USAGE, "choices": [shuffled(draw, {**choice, "message": message})]})
    large_field = draw(st.sampled_from(["instructions", "tools", "output"]))
    response = shuffled(draw, {**RESPONSE, "usage": USAGE, large_field: value})
    if draw(st.booleans()):
        return response
    return shuffled(draw, {"type": "response.incomplete", "sequence_number": 7, "response": response})


@settings(deadline=None)
@given(large_replies(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_the_ends_say_what_the_whole_says(reply: dict[str, Any], separators: tuple[str, str]) -> None:
    """Whatever the one large value is, wherever it stands, and whatever it looks like inside."""
    text = json.dumps(reply, separators=separators)
    for name, value in LARGE.items():
        text = text.replace(f'"<{name}>"', json.dumps(value, separators=separators))
    assert len(text) > LIMIT
    assert fold(parse_body(text.encode())) == fold([reply])


@pytest.mark.parametrize("tail", ["x" * 30_000, "x" * 30_000 + '","a":1,"b":nope}'], ids=["no end", "no value"])
def test_a_large_body_that_is_broken_off_says_what_came_before(tail: str) -> None:
    """Its tail says nothing."""
    (said,) = parse_body(('{"id":"gen-1","model":"m","z":"' + "x" * 70_000 + tail).encode())
    assert said == {"id": "gen-1", "model": "m"}


NESTED: dict[str, Any] = {"usage": {"input_tokens": 900, "cost": 9, "cost_details": {"upstream_inference_cost": 7}}}
FREE: dict[str, Any] = {"input_tokens": 3, "output_tokens": 5, "cost": 0}
BASE64: dict[str, Any] = {"output": [{"result": "QUJD" * 30_000}]}


@pytest.mark.parametrize(
    "body",
    [
        {"id": "g", **BASE64, "usage": FREE, "steps": [NESTED]},
        {"id": "g", "usage": FREE, **BASE64, "steps": [NESTED]},
        {"id": "g", **BASE64, "usage": {**FREE, "iterations": [NESTED]}},
        {**BASE64, "service_tier": "flex", "provider": "A", "tools": [{"description": 'Say "hi"'}], "usage": FREE},
        {"id": "g", "choices": [{"text": "x" * 90_000}], "system_fingerprint": 'a"b', "usage": FREE, "model": "m"},
        {
            "type": "x",
            "response": {"id": "g", "model": "m", **BASE64, "usage": FREE},
            "extra": {"a": "b", "model": "z"},
        },
        {"error": {"code": 1, "metadata": {"raw": [{"a": "x", "n": 1}] * 6_000, "error_type": "rate_limited"}}},
        {"error": {"message": "m" * 90_000, "metadata": {"provider_name": "A", "error_type": "x"}, "code": 502}},
    ],
    ids=[
        "nested later",
        "after the head's",
        "inside",
        "escaped quotes",
        "escaped quote",
        "beside",
        "cut metadata",
        "code last",
    ],
)
def test_the_ends_of_a_body_of_its_own_kind_say_what_the_whole_says(body: dict[str, Any]) -> None:
    """A usage inside of something is not the body's, and a quote in a text ends none."""
    said, wanted = fold(parse_body(json.dumps(body).encode())), fold([body])
    if wanted.failure is not None and said.failure is not None:
        assert (said.failure.type, said.failure.error_type) == (wanted.failure.type, wanted.failure.error_type)
    else:
        assert said == wanted


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_ends_are_read_without_an_exception(head: bytes, tail: bytes) -> None:
    """Whatever the bytes are."""
    assert all(isinstance(part, dict) for part in parse_ends(b'{"id":"x","data":[' + head, tail + b'],"usage":{}}'))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"usage": {"cost": 1}, "x": {"usage": null}}', b'"usage": {"cost": 1}'),
        (b'{"usage": null}', b""),
        (b'{"usage": {"cost": 1}, "tools": [{"usage": {"type": "object"}}]}', b'"usage": {"cost": 1}'),
        (b'{"usage": {"cost": 1', b""),
        (b"{}", b""),
    ],
)
def test_a_usage_that_tells_nothing_is_passed_over(text: bytes, found: bytes) -> None:
    """The last one that tells of a bill counts: a null, or a parameter of that name, does not."""
    assert usage_in(text).startswith(found)
    assert bool(usage_in(text)) == bool(found)


def test_routing_behind_the_usage_of_a_large_body_is_read() -> None:
    """At the end of the tail it is read with all that stands there."""
    routing = {"attempt": 1, "strategy": "direct"}
    body = {"id": "gen-1", "choices": [{"text": "x" * 90_000}], "usage": USAGE, "openrouter_metadata": routing}
    said = [
        part["openrouter_metadata"] for part in parse_body(json.dumps(body).encode()) if "openrouter_metadata" in part
    ]  # type: ignore[operator, index]
    assert said == [routing]
