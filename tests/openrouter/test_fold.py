"""Facts about folding a reply: a whole body, the chunks of a chat stream, the events of Responses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import BaseModel
from openai.types.chat import ChatCompletionChunk

from or_instrument import Failure, Reply, Usage
from or_instrument._openrouter.fold import Fold, fold
from or_instrument._openrouter.headers import Headers

HEAD = {"id": "gen-1", "model": "acme/large", "provider": "Acme AI"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5}
PARSED = Usage(input_tokens=3, output_tokens=4, cost=0.5)


def chunk(*choices: dict[str, object], **fields: object) -> dict[str, Any]:
    """Return a chat chunk."""
    return {**HEAD, "object": "chat.completion.chunk", "choices": list(choices), **fields}


def choice(index: int = 0, reason: object = None, native: object = None, **fields: object) -> dict[str, object]:
    """Return a choice of a chunk."""
    return {
        "index": index,
        "delta": {"content": "x"},
        "finish_reason": reason,
        "native_finish_reason": native,
        **fields,
    }


def response(status: object = "completed", **fields: object) -> dict[str, object]:
    """Return a Responses body."""
    return {"id": "gen-2", "model": "acme/large", "object": "response", "status": status, **fields}


def test_a_whole_body_is_a_stream_of_one_chunk() -> None:
    """Id, model, provider, tier, reasons and usage of a chat completion."""
    body = chunk(choice(reason="stop", native="STOP"), usage=USAGE, service_tier="flex")
    assert fold([body]) == Reply("gen-1", "acme/large", "Acme AI", ("stop",), ("STOP",), "flex", PARSED)


def test_nothing_folds_to_an_empty_reply() -> None:
    """A stream that was closed before its first chunk says nothing."""
    assert fold([]) == Reply()


def test_the_models_of_the_sdk_fold_like_the_json_they_came_from() -> None:
    """Chat chunks and Responses alike."""
    body = chunk(choice(reason="stop", native="STOP"), usage=USAGE, service_tier="flex")
    assert fold([ChatCompletionChunk.construct(**body)]) == fold([body])
    answer = response("incomplete", incomplete_details={"reason": "max_output_tokens"}, usage={"input_tokens": 3})
    assert fold([BaseModel.construct(**answer)]) == fold([answer])


def test_the_usage_chunk_repeats_the_finish_reason_and_is_counted_once() -> None:
    """OpenRouter's usage chunk has a choice of its own."""
    chunks = [chunk(choice()), chunk(choice(reason="stop", native="STOP"))]
    usage = chunk(choice(reason="stop", native="STOP"), usage=USAGE)
    reply = fold([*chunks, usage])
    assert (reply.finish_reasons, reply.native_finish_reasons, reply.usage) == (("stop",), ("STOP",), PARSED)


def test_the_usage_chunk_may_have_no_choices() -> None:
    """OpenAI's own shape."""
    reply = fold([chunk(choice(reason="stop")), chunk(usage=USAGE)])
    assert (reply.finish_reasons, reply.usage) == (("stop",), PARSED)


def test_a_later_chunk_without_usage_does_not_take_it_away() -> None:
    """`usage: null` stands in every chunk but the last."""
    assert fold([chunk(usage=USAGE), chunk(usage=None)]).usage == PARSED


@pytest.mark.parametrize("held", ["a text", 1, [], {}], ids=repr)
def test_a_response_field_that_is_no_body_hides_nothing(held: object) -> None:
    """Only Responses events hold the body in a field of that name."""
    assert fold([{**HEAD, "response": held, "usage": USAGE}]).usage == PARSED


@pytest.mark.parametrize(
    ("later", "is_byok"), [({"cost": 0}, True), ({"cost": 0.5}, False), ({"prompt_tokens": 0}, True)]
)
def test_a_false_beside_zeros_replaces_no_true(later: dict[str, Any], is_byok: bool) -> None:
    """A gateway fills in every field of a usage object of its own; one that tells a cost says who is billed."""
    byok = {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}
    usage = fold([chunk(usage=byok), chunk(usage={**later, "is_byok": False})]).usage
    assert usage is not None
    assert usage.is_byok is is_byok
    assert usage.upstream_cost == 0.5


def test_a_false_beside_zeros_is_told_where_nothing_else_was() -> None:
    """Such as of a free model."""
    usage = fold([chunk(usage={"prompt_tokens": 5}), chunk(usage={"cost": 0, "is_byok": False})]).usage
    assert usage is not None
    assert usage.is_byok is False


def test_the_last_usage_wins() -> None:
    """It is the bill; what came before was a running total."""
    assert fold([chunk(usage={"cost": 0.1}), chunk(usage=USAGE)]).usage == PARSED


@pytest.mark.parametrize("field", ["id", "model", "provider", "service_tier"])
@pytest.mark.parametrize("blank", [None, "", 7])
def test_a_later_chunk_without_a_field_does_not_take_it_away(field: str, blank: object) -> None:
    """An error chunk may come without id, model and provider."""
    reply = fold([chunk(service_tier="flex"), {**chunk(service_tier="flex"), field: blank}])
    assert (reply.id, reply.model, reply.provider, reply.service_tier) == ("gen-1", "acme/large", "Acme AI", "flex")


def test_the_last_word_on_a_field_wins() -> None:
    """A router may name the model that answered late."""
    reply = fold([chunk(), chunk(model="acme/small", provider="Other", id="gen-9", service_tier="priority")])
    assert reply[:3] == ("gen-9", "acme/small", "Other")
    assert reply.service_tier == "priority"


def test_finish_reasons_of_several_choices_come_in_the_order_of_the_choices() -> None:
    """Choices end in any order, and each has one reason."""
    reply = fold(
        [chunk(choice(2, "length", "MAX")), chunk(choice(0, "stop", "END")), chunk(choice(1, "tool_calls", "T"))]
    )
    assert reply.finish_reasons == ("stop", "tool_calls", "length")
    assert reply.native_finish_reasons == ("END", "T", "MAX")


def test_choices_without_an_index_are_told_by_their_place() -> None:
    """Some proxies leave it out."""
    choices = [{"finish_reason": "stop"}, {"finish_reason": "length"}, {"index": "2", "finish_reason": "stop"}]
    assert fold([chunk(*choices)]).finish_reasons == ("stop", "length", "stop")


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        ("completed", None, "stop"),
        ("cancelled", None, "cancelled"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "content_filter"),
        ("incomplete", None, "incomplete"),
        ("incomplete", {"reason": 7}, "incomplete"),
    ],
)
def test_the_status_of_a_response_is_its_finish_reason(status: str, details: object, reason: str) -> None:
    """Responses have no choices."""
    reply = fold([response(status, incomplete_details=details)])
    assert reply.finish_reasons == (reason,)
    assert reply.failure is None


@pytest.mark.parametrize("status", ["in_progress", "queued", None, "", 7, ["completed"]], ids=repr)
def test_a_response_that_is_not_over_has_no_finish_reason(status: object) -> None:
    """Only the terminal statuses are reasons."""
    assert fold([response(status)]).finish_reasons == ()


def test_the_terminal_event_of_responses_carries_the_whole_response() -> None:
    """What the earlier events said is overwritten by it."""
    events = [
        {"type": "response.created", "response": response("in_progress", usage=None)},
        {"type": "response.output_text.delta", "delta": "x", "item_id": "msg-1"},
        {"type": "response.completed", "response": response(usage={"input_tokens": 3}, service_tier="default")},
    ]
    assert fold(events) == Reply(
        "gen-2", "acme/large", None, ("stop",), (), "default", Usage(input_tokens=3), None
    )  # fmt: skip


def test_a_failed_response_is_a_failure() -> None:
    """`response.failed` carries error, error type and usage."""
    failed = response("failed", error={"code": "server_error"}, error_type="provider_overloaded", usage=USAGE)
    reply = fold([{"type": "response.failed", "response": failed}])
    assert reply.failure == Failure("provider_overloaded", "server_error", "provider_overloaded")
    assert (reply.finish_reasons, reply.usage) == (("error",), PARSED)


def test_a_failed_response_without_an_error_is_a_failure_of_no_known_type() -> None:
    """No `error_type` is made up where none was sent."""
    assert fold([response("failed")]).failure == Failure("error")


def test_a_flat_error_event_is_a_failure() -> None:
    """The spec's form has code and message at the top."""
    reply = fold([{"type": "error", "code": "rate_limit_exceeded", "message": "SECRET", "sequence_number": 2}])
    assert reply.failure == Failure("rate_limit_exceeded", "rate_limit_exceeded")


def test_a_nested_error_event_is_a_failure() -> None:
    """The docs' form has them in an object, beside the error type."""
    event = {"type": "error", "error": {"code": 502}, "error_type": "provider_unavailable"}
    assert fold([event]).failure == Failure("provider_unavailable", "502", "provider_unavailable")


def test_an_error_event_of_another_type_is_a_failure() -> None:
    """`response.error` is an event with an error object."""
    assert fold([{"type": "response.error", "error": {"code": "server_error"}}]).failure == Failure(
        "server_error", "server_error"
    )


def test_a_body_with_an_error_and_no_choices_is_a_failure() -> None:
    """Status 200 was sent before the provider gave up."""
    body = {"id": "gen-3", "error": {"code": 502, "message": "SECRET", "metadata": {"error_type": "server"}}}
    assert fold([body]) == Reply(id="gen-3", failure=Failure("server", "502", "server"))


def test_an_error_in_a_choice_is_a_failure() -> None:
    """Beside what was generated until then."""
    reply = fold([chunk(choice(reason="error", error={"code": 500}), usage=USAGE)])
    assert (reply.failure, reply.finish_reasons, reply.usage) == (Failure("500", "500"), ("error",), PARSED)


def test_a_finish_reason_of_error_is_a_failure_without_any_error_object() -> None:
    """Seen live: only the reason says so."""
    reply = fold([chunk(choice(reason="error", native="MALFORMED_FUNCTION_CALL")), chunk(choice(reason=None))])
    assert reply.failure == Failure("error")
    assert reply.native_finish_reasons == ("MALFORMED_FUNCTION_CALL",)


def test_one_failed_choice_among_good_ones_is_a_failure() -> None:
    """Whichever came first."""
    assert fold([chunk(choice(0, "error")), chunk(choice(1, "stop"))]).failure == Failure("error")


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_other_finish_reasons_are_no_failure(reason: str) -> None:
    """A refusal is an answer."""
    assert fold([chunk(choice(reason=reason), error=None)]).failure is None


NAMES = "id model provider service_tier usage error error_type choices status response type incomplete_details"
INNER = "index finish_reason native_finish_reason error code metadata cost reason prompt_tokens message"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["error", "failed", "incomplete", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((NAMES + " " + INNER).split()), inner, max_size=6)
    ),
    max_leaves=12,
)
TEXT = st.text(max_size=5)
CHOICES = st.lists(
    st.builds(
        choice,
        st.integers(0, 3),
        st.sampled_from([None, "stop", "length", "error"]),
        st.none() | TEXT,
    ),
    max_size=4,
    unique_by=lambda made: made["index"],
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXT, "model": TEXT, "provider": TEXT, "service_tier": TEXT | st.none(), "choices": CHOICES,
        "usage": st.fixed_dictionaries({"cost": st.floats(0, 9)}), "error": st.fixed_dictionaries({"code": TEXT}),
    },
)  # fmt: skip


def is_of_its_types(reply: Reply) -> bool:
    """Return whether every field of a reply has the type that the record says."""
    texts = (reply.id, reply.model, reply.provider, reply.service_tier)
    reasons = (*reply.finish_reasons, *reply.native_finish_reasons)
    return (
        all(text is None or (isinstance(text, str) and text) for text in texts)
        and all(isinstance(reason, str) and reason for reason in reasons)
        and isinstance(reply.usage, Usage | None)
        and isinstance(reply.failure, Failure | None)
    )


@given(st.lists(JSON, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_json_folds_to_a_reply_of_the_right_types(chunks: list[object]) -> None:
    """Nothing that a service may send raises."""
    assert is_of_its_types(fold(chunks))


@given(st.lists(BODIES, max_size=6), st.data())
@settings(max_examples=80, deadline=None)
def test_a_body_split_over_chunks_folds_like_the_whole(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    """Fields, and choices one by one, may come in a chunk each, cut at any points."""
    pieces: list[object] = []
    for body in bodies:
        keys = data.draw(st.permutations(sorted(body)))
        for key in keys:
            pieces += [{key: [one]} for one in body[key]] if key == "choices" else [{key: body[key]}]
    assert fold(pieces) == fold(bodies)


@given(st.lists(JSON, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_known_besides_the_chunks_has_the_last_word(chunks: list[object]) -> None:
    """A failure that an exception told of, and what the headers said, stand whatever the chunks say."""
    known = Failure("429", status_code=429)
    told = Fold()
    for chunk_ in chunks:
        told.see(chunk_)
    headers = Headers("gen-1", "HIT", 429)
    assert told.reply(known, headers) == fold(chunks)._replace(failure=known, **headers._asdict())


def test_the_tier_inside_the_usage_counts_where_the_body_names_none() -> None:
    """Anthropic's messages name it there alone; chat names the tier that served the call at the top."""
    usage = {"service_tier": "standard", "cost": 1}
    assert fold([{"usage": usage}]).service_tier == "standard"
    assert fold([{"usage": usage, "service_tier": "flex"}]).service_tier == "flex"


MESSAGE_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "gen-1",
            "type": "message",
            "model": "acme/large",
            "provider": "Acme",
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 1},
        },
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 7, "cost": 0.25},
    },
    {"type": "message_stop"},
]


def test_a_message_stream_has_its_bill_in_message_delta() -> None:
    """Who answers comes first, the whole usage and the stop reason next to last."""
    reply = fold(MESSAGE_EVENTS)
    assert (reply.id, reply.model, reply.provider) == ("gen-1", "acme/large", "Acme")
    assert (reply.finish_reasons, reply.native_finish_reasons) == (("length",), ("max_tokens",))
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cost) == (25, 7, 0.25)


def test_a_message_stream_that_is_cut_knows_its_input_only() -> None:
    """The output that the first event counts is a placeholder."""
    usage = fold(MESSAGE_EVENTS[:2]).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cost) == (25, None, None)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_the_stop_reason_of_a_message_is_told_in_the_words_of_the_convention(stop: str, reason: str) -> None:
    """As it was sent it stands among the native ones."""
    reply = fold([{"type": "message", "id": "gen-1", "stop_reason": stop}])
    assert (reply.finish_reasons, reply.native_finish_reasons) == ((reason,), (stop,))


def test_an_error_event_of_a_message_stream_is_a_failure() -> None:
    """With OpenRouter's own type where it was sent, else Anthropic's."""
    error = {"type": "overloaded_error", "message": "secret"}
    failure = fold([*MESSAGE_EVENTS[:2], {"type": "error", "error": error}]).failure
    assert failure is not None
    assert failure.type == "overloaded_error"
    failure = fold([{"type": "error", "error": {**error, "error_type": "provider_overloaded"}}]).failure
    assert failure is not None
    assert failure.type == "provider_overloaded"


def test_an_empty_stop_reason_hides_none_beside_it() -> None:
    """Gateways fill in the fields that are not theirs."""
    told = {"type": "message_delta", "stop_reason": "", "delta": {"stop_reason": "end_turn"}}
    assert fold([told]).finish_reasons == ("stop",)


def test_a_stop_reason_that_is_no_text_is_none() -> None:
    """Nothing is guessed of it."""
    assert fold([{**HEAD, "stop_reason": 5}]).finish_reasons == ()


TOLD: dict[str, Any] = {
    "input_tokens": 5,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 300,
    "output_tokens": 7,
    "cost": 0.25,
}


@given(parts=st.lists(st.fixed_dictionaries({name: st.booleans() for name in TOLD}), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_cache_is_added_to_the_input_once_all_is_merged(parts: list[dict[str, bool]]) -> None:
    """Whichever events of a message's stream tell the input and the counters of the cache: once, or time and again."""
    events = [{"type": "message_delta", "usage": {name: TOLD[name] for name in TOLD if part[name]}} for part in parts]
    told = {name for part in parts for name in TOLD if part[name]}
    usage = fold([*events, {"type": "message_delta", "usage": {}}]).usage or Usage()
    cached = sum(TOLD[name] for name in told if name.startswith("cache"))
    assert usage.input_tokens == (TOLD["input_tokens"] + cached if "input_tokens" in told else None)
    assert usage.cache_read_tokens == (20 if "cache_read_input_tokens" in told else None)
    assert usage.cost == (0.25 if "cost" in told else None)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([{"input_tokens": 5, "cache_read_input_tokens": 20}, {"input_tokens": 5, "output_tokens": 7}], 25),
        ([{"input_tokens": 0, "cache_read_input_tokens": 20}, {"input_tokens": 0}], 20),
        ([{"input_tokens": 5, "cache_read_input_tokens": 20}, {"input_tokens": 0, "cache_read_input_tokens": 0}], 25),
        ([{"input_tokens": 5, "cache_read_input_tokens": 20}, {"prompt_tokens": 25}], 25),
        ([{"prompt_tokens": 0, "cache_read_input_tokens": 20}, {"input_tokens": 5}], 25),
        ([{"input_tokens": 5}, {"cache_read_input_tokens": 20}], 25),
        ([{"input_tokens": 25, "input_tokens_details": {"cached_tokens": 20}}, {"cache_read_input_tokens": 20}], 25),
    ],
)
def test_the_input_that_counts_says_whether_the_cache_is_in_it(events: list[Any], expected: int) -> None:
    """Another spelling that comes later counts the cache already; a 0 that comes later says nothing."""
    usage = fold([{"usage": usage} for usage in events]).usage
    assert usage is not None
    assert usage.input_tokens == expected
