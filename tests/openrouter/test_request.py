"""Facts about what is read of a request: its operation and parameters, never its content."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import Request
from or_instrument._openrouter.hosts import Endpoint
from or_instrument._openrouter.paths import operation_of
from or_instrument._openrouter.request import _READERS, describe, with_usage_option

ENDPOINT = Endpoint("openrouter.ai", 443, "openrouter", is_named=True)


def parameters(**body: object) -> Mapping[str, object]:
    """Return the parameters read from a body."""
    return describe(ENDPOINT, "chat", body, stream=False, attributes={}).parameters


@pytest.mark.parametrize(
    ("url", "operation"),
    [
        ("/chat/completions", "chat"),
        ("chat/completions/", "chat"),
        ("/chat/completions?debug=1", "chat"),
        ("/responses", "chat"),
        ("/completions", "text_completion"),
        ("/embeddings", "embeddings"),
        ("/rerank", "rerank"),
        ("/messages", "chat"),
        ("/systemone", "decisions"),
        ("/decisions", "decisions"),
        ("https://openrouter.ai/api/alpha/decisions", "decisions"),
        ("https://openrouter.ai/api/v1/messages", "chat"),
        ("https://proxy.example/openrouter/chat/completions", "chat"),
        ("https://proxy.example/openrouter/messages", "chat"),
        ("/audio/speech", "speech"),
        ("/audio/transcriptions", "transcriptions"),
        ("/images/generations", "images"),
        ("/images", "images"),
        ("https://openrouter.ai/api/v1/chat/completions", "chat"),
        ("https://openrouter.ai/api/v1/audio/speech", "speech"),
        ("https://proxy.example/embeddings?a=b", "embeddings"),
    ],
)
def test_an_operation_is_told_by_the_path(url: str, operation: str) -> None:
    """Relative or absolute, with or without a query."""
    assert operation_of(url) == operation


@pytest.mark.parametrize(
    "url",
    [
        *("/models", "/audio", "/audio/", "/responses/resp_1/cancel", "/chat", "/moderations", "", "/files"),
        *("https://openrouter.ai/api/v1/models", "https://openrouter.ai/api/v1", "/batches", "/imagesque"),
        *("/messages/count_tokens", "/threads/th_1/messages", "https://proxy.example/v1/threads/th_1/messages"),
        *("https://openrouter.ai/api/v1/messages/batches", "https://openrouter.ai/api/v1/presets/mine/messages"),
    ],
)
def test_other_paths_are_not_recorded(url: str) -> None:
    """What bills nothing through this door falls through."""
    assert operation_of(url) is None


def test_a_request_says_what_was_asked_and_where() -> None:
    """Model, endpoint, stream and the scope's attributes are taken as they are."""
    request = describe(ENDPOINT, "chat", {"model": "acme/large:nitro"}, stream=True, attributes={"team": "search"})
    assert request == Request(
        "chat", "openrouter", "acme/large:nitro", "openrouter.ai", 443, stream=True, attributes={"team": "search"}
    )


@pytest.mark.parametrize("model", [None, "", 7, ["acme/large"]], ids=repr)
def test_a_model_that_is_no_name_is_none(model: object) -> None:
    """The SDK passes on what it is given."""
    assert describe(ENDPOINT, "chat", {"model": model}, stream=False, attributes={}).model is None


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("temperature", 0, "gen_ai.request.temperature", 0.0),
        ("top_p", 0.9, "gen_ai.request.top_p", 0.9),
        ("top_k", 40, "gen_ai.request.top_k", 40),
        ("max_tokens", 100, "gen_ai.request.max_tokens", 100),
        ("max_completion_tokens", 100, "gen_ai.request.max_tokens", 100),
        ("max_output_tokens", 100, "gen_ai.request.max_tokens", 100),
        ("frequency_penalty", -0.5, "gen_ai.request.frequency_penalty", -0.5),
        ("presence_penalty", 2, "gen_ai.request.presence_penalty", 2.0),
        ("seed", -7, "gen_ai.request.seed", -7),
        ("stop", "END", "gen_ai.request.stop_sequences", ("END",)),
        ("stop", ["a", "b"], "gen_ai.request.stop_sequences", ("a", "b")),
        ("stop_sequences", ["a", "b"], "gen_ai.request.stop_sequences", ("a", "b")),
        ("output_config", {"effort": "high"}, "gen_ai.request.reasoning.level", "high"),
        ("output_config", {"format": {"type": "json_schema"}}, "gen_ai.output.type", "json"),
        ("n", 3, "gen_ai.request.choice.count", 3),
        ("reasoning", {"effort": "high"}, "gen_ai.request.reasoning.level", "high"),
        ("reasoning_effort", "low", "gen_ai.request.reasoning.level", "low"),
        ("encoding_format", "float", "gen_ai.request.encoding_formats", ("float",)),
        ("dimensions", 256, "gen_ai.embeddings.dimension.count", 256),
        ("response_format", {"type": "json_object"}, "gen_ai.output.type", "json"),
        ("response_format", {"type": "json_schema"}, "gen_ai.output.type", "json"),
        ("response_format", {"type": "text"}, "gen_ai.output.type", "text"),
        ("text", {"format": {"type": "json_schema"}}, "gen_ai.output.type", "json"),
        ("modalities", ["text", "image"], "gen_ai.output.type", "image"),
        ("modalities", ["text", "audio"], "gen_ai.output.type", "speech"),
        ("session_id", "s-1", "gen_ai.conversation.id", "s-1"),
        ("models", ["acme/a", "acme/b"], "openrouter.request.models", ("acme/a", "acme/b")),
        ("provider", {"order": ["X", "Y"]}, "openrouter.request.provider.order", ("X", "Y")),
        ("provider", {"only": ["X"]}, "openrouter.request.provider.only", ("X",)),
        ("provider", {"sort": "price"}, "openrouter.request.provider.sort", "price"),
        ("plugins", [{"id": "web", "engine": "x"}, {"id": "file-parser"}], "openrouter.request.plugins",
         ("web", "file-parser")),
        ("service_tier", "flex", "openrouter.request.service_tier", "flex"),
    ],
)  # fmt: skip
def test_a_parameter_has_its_attribute(field: str, value: object, attribute: str, expected: object) -> None:
    """Each field of the body lands under the conventions' name, in the conventions' type."""
    read = parameters(**{field: value})
    assert read == {attribute: expected}
    assert type(read[attribute]) is type(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("temperature", value) for value in (True, "1", None, float("nan"), float("inf"), 10**400)),
        *(("max_tokens", value) for value in (True, 1.5, "1", None, 2**63, -(2**63))),
        ("n", 1),
        *(("stop", value) for value in ([], [1, None], 3, "", {"a": 1})),
        *(("reasoning", value) for value in (None, "high", {"effort": 3}, {"max_tokens": 5})),
        *(("provider", value) for value in (None, [], {"ignore": ["X"]}, {"sort": {"by": "price"}})),
        *(("plugins", value) for value in (None, [{}], ["web"], {"id": "web"})),
        *(("response_format", value) for value in (None, {"type": "grammar"}, {"type": ["text"]}, "text")),
        *(("text", value) for value in (None, {"verbosity": "low"})),
        *(("modalities", value) for value in (["text"], "image", None)),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_parameter_of_another_type_is_left_out(field: str, value: object) -> None:
    """Nothing is coerced, and the default of one choice says nothing."""
    assert parameters(**{field: value}) == {}


def test_content_is_never_read() -> None:
    """Prompts, tools, files and user names stay out, whatever field of the body they are in."""
    secret = "SECRET"  # noqa: S105 - stands for a prompt
    body = {
        "messages": [{"role": "user", "content": secret}],
        "input": secret,
        "prompt": [secret],
        "instructions": secret,
        "user": secret,
        "tools": [{"function": {"name": secret}}],
        "metadata": {"a": secret},
        "provider": {"order": ["X"], "data_collection": secret},
        "response_format": {"type": "json_schema", "json_schema": {"name": secret}},
    }
    assert secret not in repr(describe(ENDPOINT, "chat", body, stream=False, attributes={}))


def test_a_long_list_is_cut() -> None:
    """A thousand stop words are no attribute."""
    assert len(parameters(stop=["x"] * 1000)["gen_ai.request.stop_sequences"]) == 32  # type: ignore[arg-type]


def test_of_two_fields_for_one_attribute_the_later_in_the_body_wins() -> None:
    """The same body gives the same attributes in every process."""
    assert parameters(max_tokens=1, max_completion_tokens=2) == {"gen_ai.request.max_tokens": 2}
    assert parameters(max_completion_tokens=2, max_tokens=1) == {"gen_ai.request.max_tokens": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from([10**400, -(10**400), 2**63, "json_object", "image"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["type", "format", "effort", "order", "only", "sort", "id"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(_READERS)), JSON, max_size=8), JSON)
@settings(max_examples=100, deadline=None)
def test_any_body_gives_attributes_that_opentelemetry_takes(body: dict[str, Any], model: object) -> None:
    """No JSON makes it raise, and every value is a string, a 64-bit int, a finite float or a tuple of strings."""
    request = describe(ENDPOINT, "chat", {"model": model, **body}, stream=False, attributes={})
    assert request.model is None or isinstance(request.model, str)
    for name, value in request.parameters.items():
        assert name.startswith(("gen_ai.", "openrouter.request."))
        if type(value) is tuple:
            assert value
            assert {type(item) for item in value} == {str}
        elif type(value) is float:
            assert abs(value) <= sys.float_info.max
        else:
            assert (type(value) is int and abs(value) < 2**63) or (type(value) is str and value)


@pytest.mark.parametrize("operation", ["chat", "text_completion", "embeddings"])
def test_usage_is_asked_for_in_the_extra_body(operation: str) -> None:
    """It is what `extra_body={"usage": {"include": True}}` does."""
    assert with_usage_option(operation, {"model": "m"}, None) == {"usage": {"include": True}}


def test_the_extra_body_of_the_caller_is_kept_and_not_changed() -> None:
    """The caller's own dict may be shared by many calls."""
    extra = {"provider": {"sort": "price"}}
    assert with_usage_option("chat", {}, extra) == {"provider": {"sort": "price"}, "usage": {"include": True}}
    assert extra == {"provider": {"sort": "price"}}


@pytest.mark.parametrize(
    ("operation", "body", "extra"),
    [
        ("chat", {"usage": {"include": False}}, None),
        ("chat", {}, {"usage": None}),
        ("rerank", {}, None),
        ("speech", {}, None),
        ("chat", None, None),
        ("chat", [1], None),
        ("chat", {}, [1]),
    ],
)
def test_usage_is_not_asked_for_where_the_caller_did_or_the_body_cannot_take_it(
    operation: str, body: object, extra: object
) -> None:
    """The caller's word wins, and other operations have no such option."""
    assert with_usage_option(operation, body, extra) is None


@pytest.mark.parametrize("path", ["/chat/completions", "chat/completions", "/chat/completions/", "//chat/completions"])
def test_slashes_around_a_path_change_no_operation(path: str) -> None:
    """However a `client.post(...)` writes it."""
    assert operation_of(path) == "chat"
