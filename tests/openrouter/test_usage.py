"""Facts about the usage object, of every endpoint and age."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CompletionUsage

from or_instrument import Usage
from or_instrument._openrouter.fold import fold

INT64_MAX = 2**63 - 1
CHAT = {
    "prompt_tokens": 1200,
    "completion_tokens": 340,
    "total_tokens": 1540,
    "cost": 0.0021,
    "is_byok": True,
    "cost_details": {
        "upstream_inference_cost": 0.042,
        "upstream_inference_prompt_cost": 0.012,
        "upstream_inference_completions_cost": 0.03,
        "server_tool_cost": 0,
    },
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 0, "audio_tokens": 5, "video_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 256, "image_tokens": 7, "audio_tokens": 0},
    "server_tool_use_details": {"web_search_requests": 2, "tool_calls_requested": 3, "tool_calls_executed": 1},
}
RESPONSES = {
    "input_tokens": 1200,
    "output_tokens": 340,
    "total_tokens": 1540,
    "cost": 0.0021,
    "is_byok": True,
    "cost_details": {
        "upstream_inference_cost": 0.042,
        "upstream_inference_input_cost": 0.012,
        "upstream_inference_output_cost": 0.03,
        "server_tool_cost": 0,
    },
    "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 0, "audio_tokens": 5, "video_tokens": 6},
    "output_tokens_details": {"reasoning_tokens": 256, "image_tokens": 7, "audio_tokens": 0},
    "server_tool_use": {"web_search_requests": 2, "tool_calls_requested": 3, "tool_calls_executed": 1},
}
PARSED = Usage(
    input_tokens=1200,
    output_tokens=340,
    cache_read_tokens=1000,
    cache_creation_tokens=0,
    reasoning_tokens=256,
    cost=0.0021,
    is_byok=True,
    upstream_cost=0.042,
    upstream_input_cost=0.012,
    upstream_output_cost=0.03,
    server_tool_cost=0.0,
    details={
        "openrouter.usage.audio_input_tokens": 5,
        "openrouter.usage.video_input_tokens": 6,
        "openrouter.usage.image_output_tokens": 7,
        "openrouter.usage.server_tool_use.web_search_requests": 2,
        "openrouter.usage.server_tool_use.tool_calls_requested": 3,
        "openrouter.usage.server_tool_use.tool_calls_executed": 1,
    },
)


@pytest.mark.parametrize("usage", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_both_spellings_come_to_the_same(usage: dict[str, object]) -> None:
    """Chat says prompt and completions where Responses says input and output."""
    assert parse_usage(usage) == PARSED


def parse_usage(usage: object) -> Usage | None:
    """Return the usage of an answer that has this object."""
    return fold([{"usage": usage}]).usage


MESSAGES = {
    "input_tokens": 100,
    "output_tokens": 340,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
    "output_tokens_details": {"thinking_tokens": 256},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
    "service_tier": "standard",
    "cost": 0.0021,
}


def test_the_input_of_a_message_is_told_with_its_cache() -> None:
    """Anthropic's input leaves out what was read from the cache and written to it; ours is the whole."""
    read = parse_usage(MESSAGES)
    assert read is not None
    assert (read.input_tokens, read.cache_read_tokens, read.cache_creation_tokens) == (1200, 1000, 100)
    assert (read.output_tokens, read.reasoning_tokens, read.cost) == (340, 256, 0.0021)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"prompt_tokens": 1200, "cache_read_input_tokens": 1000}, 1200),
        ({"prompt_tokens": 1200, "input_tokens": 1200, "cache_read_input_tokens": 1000}, 1200),
        ({"prompt_tokens": 0, "input_tokens": 200, "cache_read_input_tokens": 1000}, 1200),
        ({"input_tokens": 1200, "input_tokens_details": {"cached_tokens": 1000}}, 1200),
        (
            {
                "input_tokens": 1200,
                "cache_read_input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 1000},
            },
            1200,
        ),
        ({"input_tokens": 1200, "cache_read_input_tokens": None, "cache_creation_input_tokens": 0}, 1200),
        ({"input_tokens": 1200, "cache_read_input_tokens": "many"}, 1200),
        ({"cache_read_input_tokens": 1000}, None),
    ],
)
def test_the_cache_is_added_only_where_it_stands_beside_the_input(others: dict[str, object], expected: object) -> None:
    """Wherever the input counts the cache already, nothing is added; an unknown input stays unknown."""
    read = parse_usage({**others, "cost": 0})
    assert read is not None
    assert read.input_tokens == expected


def test_an_input_too_large_to_be_carried_is_none() -> None:
    """Counters that add up to more than 64 bits are no count."""
    read = parse_usage({"input_tokens": INT64_MAX, "cache_read_input_tokens": 1, "cost": 0})
    assert read is not None
    assert read.input_tokens is None


def test_the_model_of_the_sdk_reads_like_the_json_it_came_from() -> None:
    """The SDK parses part of the object and keeps OpenRouter's part as extras."""
    assert parse_usage(CompletionUsage.construct(**CHAT)) == PARSED  # type: ignore[arg-type]


@pytest.mark.parametrize("usage", [None, "free", b"", 3, 0.5, True, [CHAT], (CHAT,), {}, {"unknown": 1}], ids=repr)
def test_what_is_no_usage_object_is_no_usage(usage: object) -> None:
    """A list, a string, or an object that says nothing of ours."""
    assert parse_usage(usage) is None


def test_the_old_shape_without_cost_keeps_its_tokens() -> None:
    """Before usage accounting only tokens were sent: the cost is unknown, not 0."""
    assert parse_usage({"prompt_tokens": 9, "completion_tokens": 1}) == Usage(input_tokens=9, output_tokens=1)


def test_an_embedding_has_no_output_tokens() -> None:
    """An absent count is not reported; it is not 0."""
    assert parse_usage({"prompt_tokens": 8, "total_tokens": 8, "cost": 1.2e-7}) == Usage(input_tokens=8, cost=1.2e-7)


def test_a_reported_zero_is_zero() -> None:
    """0 tokens, a cost of 0 and `is_byok: false` were all said."""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "cost": 0, "is_byok": False}
    assert parse_usage(zeros) == Usage(input_tokens=0, output_tokens=0, cost=0.0, is_byok=False)


def test_usage_may_consist_of_money_alone() -> None:
    """Rerank and video report a cost without tokens."""
    assert parse_usage({"cost": "0.002"}) == Usage(cost=0.002)


@pytest.mark.parametrize(
    ("said", "details"),
    [
        (
            {"cache_creation": {"ephemeral_5m_input_tokens": 1800, "ephemeral_1h_input_tokens": 900}},
            {
                "openrouter.usage.cache_creation.ephemeral_5m_input_tokens": 1800,
                "openrouter.usage.cache_creation.ephemeral_1h_input_tokens": 900,
            },
        ),
        (
            {"server_tool_use": {"web_fetch_requests": 3}},
            {"openrouter.usage.server_tool_use.web_fetch_requests": 3},
        ),
        ({"search_units": 2}, {"openrouter.usage.search_units": 2}),
        ({"iterations": [{"type": "message", "input_tokens": 9}, {}]}, {"openrouter.usage.iterations": 2}),
        ({"seconds": 9.2}, {"openrouter.usage.audio_seconds": 9.2}),
        ({"seconds": 9}, {"openrouter.usage.audio_seconds": 9.0}),
        (
            {"prompt_tokens_details": {"text_tokens": 4, "file_tokens": 5}},
            {"openrouter.usage.text_input_tokens": 4, "openrouter.usage.file_input_tokens": 5},
        ),
        ({"completion_tokens_details": {"text_tokens": 4}}, {"openrouter.usage.text_output_tokens": 4}),
        (
            {"completion_tokens_details": {"accepted_prediction_tokens": 6, "rejected_prediction_tokens": 7}},
            {"openrouter.usage.accepted_prediction_tokens": 6, "openrouter.usage.rejected_prediction_tokens": 7},
        ),
        (
            {"service_tier": "priority", "speed": "fast"},
            {"openrouter.usage.service_tier": "priority", "openrouter.usage.speed": "fast"},
        ),
    ],
)
def test_all_that_is_billed_is_read(said: dict[str, Any], details: dict[str, Any]) -> None:
    """Under names of our own: a number below gen_ai.usage would be added up as tokens."""
    assert parse_usage({**said, "cost": 1}) == Usage(cost=1.0, details=details)


@pytest.mark.parametrize(
    "said",
    [
        {"cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": None}},
        {"cache_creation": 7, "server_tool_use": None},
        {"search_units": "many", "seconds": "long", "service_tier": 3, "speed": ""},
        {"seconds": math.nan},
        {"seconds": -1.0},
        {"seconds": True},
        {"seconds": 0},
        {"iterations": []},
        {"iterations": {"type": "message"}},
        {"iterations": 4},
    ],
)
def test_what_is_nothing_or_no_number_is_no_detail(said: dict[str, Any]) -> None:
    """A count of 0 is left out, and what cannot be read spoils nothing."""
    assert parse_usage({**said, "cost": 1}) == Usage(cost=1.0)


@pytest.mark.parametrize(
    "cost", [None, True, False, math.nan, math.inf, -math.inf, -0.01, "-1", "free", "sNaN", 10**400, [], {}],
    ids=lambda cost: repr(cost)[:12],
)  # fmt: skip
def test_a_cost_that_is_no_money_is_dropped_and_the_rest_kept(cost: object) -> None:
    """One broken field says nothing about the others."""
    assert parse_usage({**CHAT, "cost": cost}) == PARSED._replace(cost=None)


def test_a_cost_that_is_a_text_keeps_all_its_digits() -> None:
    """Also those that a float has no room for, with the provider's part and in a copy from another process."""
    told = {"cost": "0.12345678901234567890", "is_byok": True, "cost_details": {"upstream_inference_cost": "1.5"}}
    usage = parse_usage(told)
    assert usage is not None
    assert usage.spend == 1.6234567890123457
    assert usage.spend_exact == Decimal("1.62345678901234567890")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copied = pickle.loads(pickle.dumps(usage, protocol))  # noqa: S301 - our own
        assert copied.spend_exact == usage.spend_exact
    assert str(parse_usage({"cost": "12345678901234567891"}).cost) == "12345678901234567891"  # type: ignore[union-attr]
    assert type(parse_usage({"cost": "0.25"}).cost) is float  # type: ignore[union-attr]


@pytest.mark.parametrize("cost", [0.0021, "0.0021", "2.1e-3"], ids=repr)
def test_a_cost_may_be_a_numeric_string(cost: object) -> None:
    """The same amount in another notation."""
    assert parse_usage({**CHAT, "cost": cost}) == PARSED


@pytest.mark.parametrize("tokens", [None, True, -1, 1.5, "12", INT64_MAX + 1, [], {}], ids=lambda v: repr(v)[:12])
def test_a_token_count_that_is_none_is_dropped_and_the_rest_kept(tokens: object) -> None:
    """No count is guessed."""
    assert parse_usage({**CHAT, "prompt_tokens": tokens}) == PARSED._replace(input_tokens=None)
    assert parse_usage({**RESPONSES, "output_tokens": tokens}) == PARSED._replace(output_tokens=None)


def test_a_token_count_may_be_a_whole_float() -> None:
    """1200.0 tokens are 1200."""
    parsed = parse_usage({**CHAT, "prompt_tokens": 1200.0})
    assert parsed == PARSED
    assert type(parsed.input_tokens) is int


@pytest.mark.parametrize("flag", [None, 0, 1, "true", {}], ids=repr)
def test_byok_is_known_only_where_it_was_said(flag: object) -> None:
    """Anything but a bool is as good as absent."""
    assert parse_usage({**CHAT, "is_byok": flag}) == PARSED._replace(is_byok=None)


@pytest.mark.parametrize("details", [None, "x", 3, [], {}], ids=repr)
def test_half_a_usage_object_keeps_its_half(details: object) -> None:
    """Details that are null, empty or of another type cost nothing else."""
    broken = {**CHAT, "cost_details": details, "prompt_tokens_details": details, "completion_tokens_details": details}
    assert parse_usage({**broken, "server_tool_use_details": details}) == Usage(
        input_tokens=1200, output_tokens=340, cost=0.0021, is_byok=True
    )


def test_details_are_kept_where_they_are_not_zero() -> None:
    """Most calls have no audio, image or video, so a 0 of these earns no attribute."""
    usage = {"prompt_tokens": 1, "prompt_tokens_details": {"audio_tokens": 0, "image_tokens": 4, "video_tokens": None}}
    assert parse_usage(usage) == Usage(input_tokens=1, details={"openrouter.usage.image_input_tokens": 4})


def test_both_names_of_the_server_tool_object_are_read() -> None:
    """The older name held web searches only; the newer one wins."""
    old = {"cost": 1, "server_tool_use": {"web_search_requests": 1}}
    name = "openrouter.usage.server_tool_use.web_search_requests"
    assert parse_usage(old) == Usage(cost=1.0, details={name: 1})
    assert parse_usage({**old, "server_tool_use_details": {"web_search_requests": 2}}) == Usage(
        cost=1.0, details={name: 2}
    )


@pytest.mark.parametrize("is_model", [False, True], ids=["dict", "model"])
@pytest.mark.parametrize("is_theirs_first", [False, True])
def test_a_name_filled_in_with_zero_replaces_nothing(is_model: bool, is_theirs_first: bool) -> None:
    """Some gateways send both families of names, one of them all 0."""
    ours = {"prompt_tokens": 3, "completion_tokens": 793, "total_tokens": 796, "prompt_tokens_details": None}
    theirs = {"input_tokens": 0, "output_tokens": 0, "input_tokens_details": None}
    usage = {**theirs, **ours} if is_theirs_first else {**ours, **theirs}

    parsed = parse_usage(CompletionUsage.construct(**usage) if is_model else usage)

    assert parsed == Usage(input_tokens=3, output_tokens=793)


def test_a_server_tool_that_cost_nothing_is_told_from_none_that_ran() -> None:
    """`server_tool_cost` is 0 for a tool that settled at 0, and absent where none ran."""
    assert parse_usage({"cost": 1, "cost_details": {"server_tool_cost": 0}}) == Usage(cost=1.0, server_tool_cost=0.0)
    assert parse_usage({"cost": 1, "cost_details": {}}) == Usage(cost=1.0)


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["0.1", "sNaN", "-sNaN1", "1e999", "-1", 2**63, 10**400, -0.0])
)  # fmt: skip
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
OTHERS = {
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 6},
    "search_units": 1,
    "iterations": [],
    "seconds": 9.2,
    "service_tier": "priority",
    "speed": "fast",
}
NAMES = {name for usage in (CHAT, RESPONSES, OTHERS) for name in usage}
INNER_NAMES = sorted(
    {key for usage in (CHAT, RESPONSES, OTHERS) for v in usage.values() if isinstance(v, dict) for key in v}
)
OBJECTS = st.dictionaries(st.sampled_from(INNER_NAMES), JSON, max_size=6)
USAGES = st.dictionaries(st.sampled_from(sorted(NAMES)), JSON | OBJECTS, max_size=10)
TYPES = {
    "is_byok": bool,
    "lower_bound": bool,
    "source": str,
    "details": dict,
    **{name: int for name in Usage._fields if "tokens" in name},
}


@given(JSON | USAGES)
@settings(max_examples=100, deadline=None)
def test_any_json_parses_to_numbers_of_the_right_type_and_sign(usage: Any) -> None:
    """Nothing in a usage object raises, and nothing negative, not finite or of a wrong type comes out."""
    parsed = parse_usage(usage)
    for name, value in ({} if parsed is None else parsed._asdict()).items():
        assert value is None or type(value) is TYPES.get(name, float)
        if type(value) in (int, float):
            assert 0 <= value < math.inf
    for value in () if parsed is None else parsed.details.values():
        assert value
        assert isinstance(value, str) or (type(value) is int and value <= INT64_MAX) or type(value) is float
        assert isinstance(value, str) or 0 < value < math.inf
    assert parsed is None or parsed.spend is None or parsed.spend >= 0
