"""Facts about reading single values out of JSON and SDK models."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import BaseModel

from or_instrument._openrouter.values import amount, code, count, fields, flag, get, items, label

INT64_MAX = 2**63 - 1
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["sNaN", "NaN", "-1", "1e999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


class Model(BaseModel):
    """A model of the SDK, which keeps unknown fields as extras."""

    declared: int = 1


@pytest.mark.parametrize(
    "source",
    [{"declared": 7}, OrderedDict(declared=7), MappingProxyType({"declared": 7}), Model.construct(declared=7)],
    ids=lambda source: type(source).__name__,
)
def test_get_reads_dicts_mappings_and_models_alike(source: object) -> None:
    """A field is a key or an attribute."""
    assert get(source, "declared") == 7
    assert get(source, "absent") is None


def test_get_reads_the_extra_fields_of_a_model() -> None:
    """OpenRouter's own fields are extras to the SDK."""
    model = Model.construct(declared=7, cost=0.5)
    assert get(model, "cost") == 0.5
    assert get(model, "absent") is None


def test_get_sees_no_methods_of_a_model() -> None:
    """A method that has a field's name is no field."""
    assert get(Model.construct(), "model_dump") is None


@pytest.mark.parametrize("source", [None, 1, 1.5, True, "cost", ["cost"]], ids=repr)
def test_get_finds_nothing_in_what_has_no_fields(source: object) -> None:
    """A number or a string where an object was due has no fields, and is no error."""
    assert get(source, "cost") is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (Model.construct(cost=0.5), {"declared": 1, "cost": 0.5}),
        (Model.construct(), {"declared": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (None, {}),
        ("text", {}),
        ([1], {}),
    ],
    ids=["dict", "model with extras", "model", "mapping", "none", "string", "list"],
)
def test_fields_are_all_of_them_at_once(source: object, expected: object) -> None:
    """Of dicts, mappings and models; what has no fields has none."""
    assert fields(source) == expected


def test_items_are_those_of_a_list() -> None:
    """Anything but a list is an empty one; a string is not a list of letters."""
    assert items([1, 2]) == [1, 2]
    assert items((1, 2)) == (1, 2)
    assert [items(value) for value in ("ab", {"a": 1}, None, 3)] == [(), (), (), ()]


def test_label_is_a_string_that_is_not_empty() -> None:
    """No number becomes a string, and an empty string says nothing."""
    assert label("Google") == "Google"
    assert [label(value) for value in ("", None, 1, True, ["a"])] == [None] * 5


def test_label_is_cut_at_256_characters() -> None:
    """A name sent by the service cannot blow up an attribute."""
    assert label("x" * 256) == "x" * 256
    assert label("x" * 257) == "x" * 256


def test_label_can_always_be_written_as_utf8() -> None:
    r"""JSON may hold a lone surrogate (`"\ud800"`); exporters would lose the whole batch over it."""
    assert label("a\ud800b") == "a?b"
    assert label("Zürich 😀") == "Zürich 😀"


@pytest.mark.parametrize("value", ["rate_limit_exceeded", "A.b:c-1", "x" * 64, "429"], ids=len)
def test_code_is_an_identifier(value: str) -> None:
    """Letters, digits and four marks, at most 64."""
    assert code(value) == value


@pytest.mark.parametrize(
    "value", ["", "two words", "x" * 65, "line\n", "naïve", "a/b", True, 1.5, None, 2**64, -(2**64), ["a"]], ids=repr
)
def test_code_is_never_free_text(value: object) -> None:
    """A sentence may quote a prompt: it is no code."""
    assert code(value) is None


def test_code_of_a_number_is_its_digits() -> None:
    """Error codes come as numbers too."""
    assert [code(429), code(0), code(-32600)] == ["429", "0", "-32600"]


def test_flag_is_a_bool_and_nothing_else() -> None:
    """0, 1 and "true" are not bools."""
    assert [flag(True), flag(False)] == [True, False]
    assert [flag(value) for value in (0, 1, "true", None, [])] == [None] * 5


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (7, 7), (7.0, 7), (-0.0, 0), (INT64_MAX, INT64_MAX), (2.0**62, 2**62)], ids=repr
)
def test_count_is_a_whole_number(value: object, expected: int) -> None:
    """A float without a fraction is one too, and comes out as an int."""
    counted = count(value)
    assert counted == expected
    assert type(counted) is int


@pytest.mark.parametrize(
    "value", [None, True, False, -1, -1.0, 1.5, "7", math.nan, math.inf, INT64_MAX + 1, 2.0**63, [7], {}], ids=repr
)
def test_count_refuses_what_is_no_number_of_tokens(value: object) -> None:
    """Bools, fractions, negatives, strings and what 64 bits cannot hold."""
    assert count(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (3, 3.0),
        (0.1, 0.1),
        (1.2e-7, 1.2e-7),
        ("0.00014", 0.00014),
        ("1e-7", 1e-7),
        ("0", 0.0),
        (5e-324, 5e-324),
        (1.7976931348623157e308, 1.7976931348623157e308),
    ],
    ids=repr,
)
def test_amount_is_a_number_or_a_numeric_string(value: object, expected: float) -> None:
    """USD come out as the double nearest to what was written."""
    usd = amount(value)
    assert usd == expected
    assert type(usd) is float


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, -1, -0.5, "-0.5", math.nan, math.inf, -math.inf, 10**400, [1], {}),
        *("NaN", "sNaN", "Infinity", "1e400", "free", "", "0x1", "1_000", "\u0661"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_amount_refuses_what_is_no_money(value: object) -> None:
    """Bools, negatives, infinities, NaN in every spelling, and words."""
    assert amount(value) is None


class Money(float):
    """A float of an application's own kind."""


def test_amount_takes_a_subclass_of_float_as_a_plain_float() -> None:
    """What a sink gets is no type of somebody else's."""
    assert type(amount(Money(0.5))) is float
    assert amount(Money(0.5)) == 0.5


def test_a_dropped_value_is_logged_by_its_type_only(caplog: pytest.LogCaptureFixture) -> None:
    """The value itself may be anything, so no log quotes it."""
    with caplog.at_level(logging.DEBUG, "or_instrument"):
        assert count("secret") is None
        assert amount("secret") is None
    assert [record.getMessage() for record in caplog.records] == [
        "a token count is dropped: a value of type str cannot be one",
        "an amount is dropped: a value of type str cannot be one",
    ]


def test_an_absent_value_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Most fields are absent from most bodies."""
    with caplog.at_level(logging.DEBUG, "or_instrument"):
        assert (count(None), amount(None)) == (None, None)
    assert caplog.records == []


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_every_reader_yields_its_own_type_or_nothing(value: Any) -> None:
    """Whatever JSON stands in a field, none raises, and no number is negative or not finite."""
    assert type(count(value)) in (int, type(None))
    assert count(value) is None or 0 <= count(value) <= INT64_MAX
    assert type(amount(value)) in (float, type(None))
    assert amount(value) is None or 0 <= amount(value) < math.inf
    assert type(flag(value)) in (bool, type(None))
    for text in (label(value), code(value)):
        assert text is None or (isinstance(text, str) and text and len(text.encode()) <= 1024)
    assert isinstance(items(value), (list, tuple))
    assert get(value, "a") == (value.get("a") if isinstance(value, Mapping) else None)


@given(st.floats(0, allow_nan=False, allow_infinity=False))
@settings(max_examples=80, deadline=None)
def test_an_amount_keeps_every_digit(usd: float) -> None:
    """Written as a number or as a string, the same double comes back."""
    assert amount(usd) == usd
    assert amount(repr(usd)) == usd
