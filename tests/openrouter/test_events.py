"""Facts about taking events apart, and finding those that tell."""

from __future__ import annotations

import json

import pytest

from or_instrument._openrouter.events import events, telling, tells, with_line_feeds


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_event_may_have_several_lines_and_comments(end: str) -> None:
    """Its data lines are one text; comments and other fields are none of it."""
    text = end.join([": hi", "event: x", 'data: {"a":', "data:1}", "", ": alone", "", "data: [DONE]", "", ""])

    assert list(events(with_line_feeds(text.encode()))) == [b'{"a":\n1}', b"[DONE]"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"usage":{}}', True),
        (b'{"usage" : {}}', True),
        (b'{"error":{"code":1}}', True),
        (b'{"finish_reason":"error"}', True),
        (b'{"usage":null,"error": null}', False),
        (b'{"usage":null,"error":1}', True),
        (b'{"content":"say \\"usage\\": 1"}', False),
    ],
)
def test_a_block_tells_where_usage_or_error_has_a_value(text: bytes, told: bool) -> None:
    """A null is none, nor are the words inside a text, where their quotes are escaped."""
    assert tells(text) is told


def test_of_a_long_block_what_tells_and_the_last_few_are_read() -> None:
    """Text between them is not."""
    told = [
        {"n": 1, "usage": {"cost": 0.25}},
        {"n": 2, "choices": [{"finish_reason": "stop"}]},
        {"n": 3, "error": {"code": 1}},
    ]
    text = [{"content": "x" * 100}] * 9
    block = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in (*text, told[0], *text, *told[1:], *text))

    read = [json.loads(data) for data in events(telling(block, 2))]

    assert [one["n"] for one in read if "n" in one] == [1, 2, 3]
    assert len(read) == 5


def test_two_that_tell_in_one_event_are_read_once() -> None:
    """An event with an error and a usage is one event."""
    both = b'data: {"error": {"code": 1}, "usage": {"cost": 1}}\n\n'
    mere = b'data: {"choices": []}\n\n'
    assert telling(both + mere * 4, 2) == both + mere * 2
