"""Captured texts: made plain, redacted, cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument._content.text import dumps, fit, plain, redacted

Messages = list[dict[str, object]]


def message(text: str, role: str = "user") -> dict[str, object]:
    """Return a message of one text."""
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def note(text: str) -> dict[str, object]:
    """Return what stands for items that are left out."""
    return message(text, "omitted")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, hex(2**63)),
        (-(2**63), -(2**63)),
        pytest.param(10**5000, hex(10**5000), id="huge"),
        ("\ud800x", "?x"),
        (b"bytes", "[bytes]"),
        ({1: 2, "a": (True, None)}, {"a": [True, None]}),
    ],
)
def test_plain(value: object, shown: object) -> None:
    """What JSON or OTLP cannot carry is told in words, everything else stays as it is."""
    assert plain(value) == shown


def test_plain_ends_in_the_depth() -> None:
    """A structure that holds itself is copied down to a depth, not for ever."""
    loop: list[object] = []
    loop.append(loop)

    assert "[list]" in dumps(plain(loop))


def test_redact_sees_every_text() -> None:
    """Each text passes through `redact`; arguments pass as JSON text, with their keys and numbers."""
    seen: list[str] = []
    part = {"type": "tool_call", "id": "c", "name": "w", "arguments": {"card": 4111, "who": "Zoë"}}

    def look(text: str) -> str:
        seen.append(text)
        return text

    item = {"role": "user", "name": "ann", "parts": [{"type": "text", "content": "a"}, part]}

    assert redacted(item, look) == item
    assert seen == ["ann", "a", "w", '{"card":4111,"who":"Zoë"}']


def test_redacted_arguments_stay_structured_where_they_can() -> None:
    """Redacted arguments are an object while they are JSON, else the redacted text."""
    part = {"type": "tool_call", "name": "w", "arguments": {"card": "4111"}}

    def masked(mask: str) -> Any:
        return (redacted(part, lambda text: text.replace('"4111"', mask)) or {})["arguments"]

    assert masked('"X"') == {"card": "X"}
    assert masked("X") == '{"card":X}'


def test_dropped_text_takes_its_part_along() -> None:
    """A part without its text goes; a message without its parts, or its name, stays."""

    def drop(text: str) -> str | None:
        return None if text in ("secret", "ann") else text

    item = {"role": "user", "name": "ann", "parts": [{"type": "text", "content": t} for t in ("secret", "hi")]}

    assert redacted(item, drop) == {"role": "user", "parts": [{"type": "text", "content": "hi"}]}
    assert redacted({"type": "text", "content": "secret"}, drop) is None


def test_redact_must_return_a_text() -> None:
    """A `redact` that returns something else has failed."""
    with pytest.raises(TypeError):
        redacted(message("hi"), lambda _: 5)  # type: ignore[arg-type, return-value]


def test_what_fits_is_left_alone() -> None:
    """Content within the limit, to the character, stays as it is."""
    items: Messages = [message("x" * 100)]

    assert fit(items, len(dumps(items)), note) == tuple(items)
    assert fit(items, len(dumps(items)) - 1, note) != tuple(items)


def test_longest_text_is_cut_first_and_visibly() -> None:
    """Of a short and a long text only the long one is cut, with the number of characters left out."""
    short, long = fit([message("be brief", "system"), message("x" * 5000)], 1000, note)
    (part,) = long["parts"]  # type: ignore[misc]
    cut = part["content"]

    assert short == message("be brief", "system")
    kept = cut.count("x")
    assert cut == "x" * kept + f"…[{5000 - kept} more characters]"
    assert kept > 500


def test_oldest_items_are_left_out_where_cutting_does_not_do() -> None:
    """Of far too many messages the newest stay, after a note that counts the others."""
    items: Messages = [message(str(number)) for number in range(1000)]
    first, *rest = fit(items, 1000, note)

    assert rest == items[-len(rest) :]
    assert first == note(f"[{1000 - len(rest)} left out]")
    assert len(rest) > 5


texts = st.text(max_size=400) | st.builds(lambda char, n: char * n, st.sampled_from('x"\n\0é…😀'), st.integers(0, 3000))


@settings(max_examples=60)
@given(st.lists(texts, max_size=12), st.integers(256, 3000))
def test_cut_content_is_json_within_the_limit(said: list[str], limit: int) -> None:
    """Whatever the texts, what is left is valid JSON of at most `limit` characters, and never empty."""
    items: Messages = [message(text) for text in said]
    fitted = fit(items, limit, note)

    assert len(dumps(fitted)) <= limit
    assert json.loads(dumps(fitted)) == list(fitted)
    assert bool(fitted) == bool(items)


@settings(max_examples=60)
@given(st.recursive(texts, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3)))
def test_tool_definitions_are_cut_too(parameters: object) -> None:
    """Deep structures are cut like texts."""
    tool: dict[str, object] = {"type": "function", "name": "w", "parameters": parameters}
    cut: Callable[[str], dict[str, object]] = lambda text: {"type": "omitted", "name": text}  # noqa: E731

    assert len(dumps(fit([tool], 300, cut))) <= 300
