"""What is asked and answered, mapped into the messages of the GenAI conventions."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from or_instrument._calls.reader import Reader
from or_instrument._content.answered import Answer
from or_instrument._content.asked import asked
from or_instrument._content.text import dumps
from or_instrument._records import Content

BYTES = base64.b64encode(b"never to be seen" * 4).decode()
DATA_URL = f"data:image/png;base64,{BYTES}"
REQUIRED = {
    "text": {"content"},
    "reasoning": {"content"},
    "refusal": {"content"},
    "tool_call": {"name"},
    "tool_call_response": {"response"},
    "server_tool_call": {"name", "server_tool_call"},
    "uri": {"modality", "uri"},
    "file": {"modality", "file_id"},
    "blob": {"modality"},
}
"""By the conventions, but for `blob`, whose content is left out on purpose."""


def check_parts(parts: Any) -> None:
    """Check a list of parts against the schema."""
    for part in parts:
        assert isinstance(part["type"], str)
        assert REQUIRED.get(part["type"], set()) <= part.keys()
        assert part.get("modality", "image") in ("image", "video", "audio", "document")
        assert isinstance(part.get("content", ""), str)


def check(content: Content) -> None:
    """Check a content against the schemas, and that it survives JSON."""
    json.loads(dumps(content).encode())
    for message in (*content.input_messages, *content.output_messages):
        assert isinstance(message["role"], str)
        check_parts(message["parts"])
    check_parts(content.system_instructions)
    for tool in content.tool_definitions:
        assert isinstance(tool["type"], str)
        assert isinstance(tool["name"], str)


def said(*messages: object) -> list[Any]:
    """Return how the messages of a chat are shown."""
    content = asked({"messages": list(messages)})
    check(content)
    return list(content.input_messages)


def parts_of(*content: object) -> Any:
    """Return how the content parts of a user message are shown."""
    return said({"role": "user", "content": list(content)})[0]["parts"]


def answered(*chunks: object, reasons: Sequence[str] = (), failed: bool = False) -> list[Any]:
    """Return the output messages that these chunks add up to."""
    answer = Answer()
    for chunk in chunks:
        answer.see(chunk)
    messages = answer.messages(reasons, failed=failed)
    check(Content(output_messages=messages))
    return list(messages)


def delta(index: int = 0, **fields: object) -> dict[str, object]:
    """Return a chat chunk with one delta."""
    return {"choices": [{"index": index, "delta": fields}]}


def choice(**message: object) -> dict[str, object]:
    """Return a whole chat reply with one choice."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}


def text(content: str) -> dict[str, str]:
    """Return a text part."""
    return {"type": "text", "content": content}


def test_system_messages_of_a_chat_stay_in_its_history() -> None:
    """A system or developer message of a chat is an input message, no system instruction."""
    content = asked({"messages": [{"role": r, "content": "x"} for r in ("system", "developer", "user")]})

    assert [m["role"] for m in content.input_messages] == ["system", "developer", "user"]
    assert content.system_instructions == ()


def test_instructions_are_system_instructions() -> None:
    """The `instructions` of the Responses API are the system instructions."""
    assert asked({"input": "hi", "instructions": "be kind"}) == Content(
        ({"role": "user", "parts": [text("hi")]},), (), (text("be kind"),)
    )


def test_name_of_a_participant_is_kept() -> None:
    """A message's `name` stays."""
    assert said({"role": "user", "name": "ann", "content": "x"}) == [
        {"role": "user", "name": "ann", "parts": [text("x")]}
    ]


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"type": "text", "text": "a"}, text("a")),
        (
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            {"type": "uri", "modality": "image", "uri": "https://x.test/a.png"},
        ),
        (
            {"type": "image_url", "image_url": {"url": DATA_URL}},
            {"type": "blob", "mime_type": "image/png", "modality": "image", "size": 64},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": BYTES, "format": "mp3"}},
            {"type": "blob", "mime_type": "audio/mp3", "modality": "audio", "size": 64},
        ),
        (
            {"type": "video_url", "video_url": {"url": "gs://b/v.mp4"}},
            {"type": "uri", "modality": "video", "uri": "gs://b/v.mp4"},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{BYTES}"}},
            {"type": "blob", "mime_type": "application/pdf", "modality": "document", "size": 64, "filename": "a.pdf"},
        ),
        ({"type": "file", "file": {"file_id": "f_1"}}, {"type": "file", "modality": "document", "file_id": "f_1"}),
        ({"type": "input_image", "file_id": "f_1"}, {"type": "file", "modality": "image", "file_id": "f_1"}),
        ({"type": "input_image", "image_url": DATA_URL}, {"type": "blob", "mime_type": "image/png"}),
        (
            {"type": "input_file", "file_url": "https://x.test/a.pdf"},
            {"type": "uri", "modality": "document", "uri": "https://x.test/a.pdf"},
        ),
        ({"type": "refusal", "refusal": "no"}, {"type": "refusal", "content": "no"}),
        ({"type": "hologram", "data": BYTES}, {"type": "hologram"}),
        ({"type": "uri", "data": BYTES}, {"type": "unknown"}),
    ],
)
def test_part(part: dict[str, object], shown: dict[str, object]) -> None:
    """Each content part of either API has its part in the conventions, media by reference only."""
    (found,) = parts_of(part)

    assert shown.items() <= found.items()
    assert BYTES not in dumps(found)


def test_size_of_base64_is_that_of_the_bytes() -> None:
    """A blob's size counts the bytes that the base64 text stands for, padding or not."""
    for size in (1, 2, 3, 100):
        data = base64.b64encode(b"x" * size).decode()
        (part,) = parts_of({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})

        assert part["size"] == size


def test_data_url_in_a_text_loses_its_bytes() -> None:
    """A data URL in the middle of a text, JSON-escaped or not, is cut down to its type and size."""
    escaped = DATA_URL.replace("/", "\\/")

    assert parts_of({"type": "text", "text": f"see ![x]({DATA_URL}) and {escaped}!"}) == [
        text("see ![x](data:image/png;base64,[64 bytes]) and data:image\\/png;base64,[64 bytes]!")
    ]


def test_assistant_history() -> None:
    """An assistant's earlier turn shows its reasoning, text, refusal and tool calls."""
    call = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": '{"city":"Bonn"}'}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    turn = {"role": "assistant", "content": "hm", "reasoning": "why", "refusal": "no", "tool_calls": [call, custom]}

    assert said(turn)[0]["parts"] == [
        {"type": "reasoning", "content": "why"},
        text("hm"),
        {"type": "refusal", "content": "no"},
        {"type": "tool_call", "id": "c1", "name": "w", "arguments": {"city": "Bonn"}},
        {"type": "tool_call", "id": "c2", "name": "sql", "arguments": "select 1"},
    ]


def test_tool_message() -> None:
    """What a tool answered is a tool call response, as text or as parts."""
    assert said({"role": "tool", "tool_call_id": "c1", "content": "sun"}) == [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "sun"}]}
    ]
    (message,) = said({"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sun"}]})
    assert message["parts"][0]["response"] == [text("sun")]


def test_responses_input_items() -> None:
    """Every item of a Responses input becomes a message."""
    content = asked(
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "so"}]},
                {"type": "function_call", "call_id": "c", "name": "w", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "sun"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]},
                {"type": "web_search_call", "id": "ws", "status": "completed"},
                {"type": "image_generation_call", "id": "ig", "result": BYTES},
                {"type": "item_reference", "id": "m"},
            ]
        }
    )

    check(content)
    assert [(m["role"], m["parts"]) for m in content.input_messages] == [
        ("user", [text("hi")]),
        ("assistant", [{"type": "reasoning", "content": "so"}]),
        ("assistant", [{"type": "tool_call", "id": "c", "name": "w", "arguments": {}}]),
        ("tool", [{"type": "tool_call_response", "id": "c", "response": "sun"}]),
        ("assistant", [text("yes")]),
        (
            "assistant",
            [
                {
                    "type": "server_tool_call",
                    "id": "ws",
                    "name": "web_search",
                    "server_tool_call": {"type": "web_search_call"},
                }
            ],
        ),
        ("assistant", [{"type": "blob", "modality": "image", "size": 64}]),
        ("assistant", [{"type": "item_reference"}]),
    ]


@pytest.mark.parametrize("field", ["prompt", "input"])
def test_prompts_and_embedding_inputs(field: str) -> None:
    """A legacy prompt or an embeddings input is one user message a text; token ids are only counted."""
    assert [m["parts"] for m in asked({field: ["a", "b"]}).input_messages] == [[text("a")], [text("b")]]
    assert [m["parts"] for m in asked({field: [1, 2, 3]}).input_messages] == [[{"type": "tokens", "count": 3}]]
    assert len(asked({field: [[1], [2, 3]]}).input_messages) == 2


def test_tools_of_both_apis() -> None:
    """Function tools of both APIs look alike; tools of the service keep type and name."""
    function = {"name": "w", "description": "weather", "parameters": {"type": "object"}}
    shown = {"type": "function", **function}

    assert asked({"tools": [{"type": "function", "function": function}]}).tool_definitions == (shown,)
    assert asked({"tools": [shown]}).tool_definitions == (shown,)
    assert asked({"functions": [function]}).tool_definitions == (shown,)
    assert asked({"tools": [{"type": "mcp", "name": "m", "headers": {"Authorization": "s"}}]}).tool_definitions == (
        {"type": "mcp", "name": "m"},
    )


def test_asked_shares_nothing_with_the_body() -> None:
    """What the caller does to the body afterwards does not change what was asked."""
    schema: dict[str, object] = {"type": "object"}
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "w", "parameters": schema}}],
    }
    content = asked(body)
    schema["type"], body["messages"][0]["content"] = "changed", "changed"

    assert "changed" not in dumps(content)


def test_chat_choice() -> None:
    """A choice shows reasoning, text, refusal, images as references, and tool calls."""
    message = {
        "content": "hi",
        "reasoning": "so",
        "reasoning_details": [{"type": "reasoning.text", "text": "so"}],
        "refusal": "no",
        "images": [{"type": "image_url", "image_url": {"url": DATA_URL}}],
        "tool_calls": [{"id": "c", "function": {"name": "w", "arguments": "not json"}}],
    }

    assert answered(choice(**message), reasons=["tool_calls"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "so"},
                text("hi"),
                {"type": "refusal", "content": "no"},
                {"type": "blob", "mime_type": "image/png", "modality": "image", "size": 64},
                {"type": "tool_call", "id": "c", "name": "w", "arguments": "not json"},
            ],
            "finish_reason": "tool_call",
        }
    ]


def test_reasoning_details_alone() -> None:
    """`reasoning_details` alone are the reasoning by their texts and summaries; what is encrypted is not."""
    details = [{"text": "a"}, {"summary": "b"}, {"type": "reasoning.encrypted", "data": BYTES}]

    assert answered(choice(reasoning_details=details))[0]["parts"] == [{"type": "reasoning", "content": "ab"}]


def test_audio_answer() -> None:
    """Spoken output is a blob without bytes, with its transcript."""
    assert answered(choice(content=None, audio={"id": "a", "data": BYTES, "transcript": "hi"}))[0]["parts"] == [
        {"type": "blob", "modality": "audio", "size": 64, "transcript": "hi"}
    ]


def test_deltas_are_put_together_per_choice() -> None:
    """Deltas of interleaved choices add up to one message each, tool calls by their index."""
    messages = answered(
        delta(0, role="assistant", content=""),
        delta(1, reasoning="so "),
        delta(0, content="a"),
        delta(1, reasoning="what"),
        delta(0, content="b"),
        delta(1, tool_calls=[{"index": 0, "id": "c0", "function": {"name": "w", "arguments": '{"x"'}}]),
        delta(1, tool_calls=[{"index": 1, "id": "c1", "function": {"name": "v", "arguments": ""}}]),
        delta(1, tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        reasons=["stop", "tool_calls"],
    )

    assert messages == [
        {"role": "assistant", "parts": [text("ab")], "finish_reason": "stop"},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "so what"},
                {"type": "tool_call", "id": "c0", "name": "w", "arguments": {"x": 1}},
                {"type": "tool_call", "id": "c1", "name": "v"},
            ],
            "finish_reason": "tool_call",
        },
    ]


def test_legacy_texts() -> None:
    """Legacy completions stream or send plain texts per choice."""
    assert answered({"choices": [{"index": 0, "text": "a"}]}, {"choices": [{"index": 0, "text": "b"}]}) == [
        {"role": "assistant", "parts": [text("ab")]}
    ]


def test_sdk_models_and_dicts_read_alike() -> None:
    """A parsed SDK model shows the same as the dict it was made from, extra fields included."""
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", **choice(content="a", reasoning="b")}
    whole["choices"][0]["finish_reason"] = "stop"  # type: ignore[index]
    chunk = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        **delta(content="a", reasoning="b"),
    }

    assert answered(ChatCompletion.model_validate(whole)) == answered(whole)
    assert answered(ChatCompletionChunk.model_validate(chunk)) == answered(chunk) == answered(whole)


OUTPUT = [
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "so"}], "summary": []},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]},
    {"type": "function_call", "call_id": "c", "name": "w", "arguments": '{"x":1}'},
]
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}},
    {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "s"},
    {"type": "response.output_item.done", "output_index": 0, "item": OUTPUT[0]},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "hel"},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "lo"},
    {"type": "response.output_item.added", "output_index": 2, "item": {**OUTPUT[2], "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"x":1}'},
]


def test_responses_stream_broken_off_shows_what_came() -> None:
    """The deltas of a Responses stream without its last event add up to what its whole output shows."""
    assert answered(*EVENTS) == answered({"output": OUTPUT})
    assert answered(*EVENTS[:5])[0]["parts"] == [{"type": "reasoning", "content": "so"}, text("hel")]


def test_responses_terminal_event_has_the_whole() -> None:
    """The output of the terminal event wins over the deltas, and nothing is shown twice."""
    done = {"type": "response.completed", "response": {"output": OUTPUT}}

    assert answered(*EVENTS, done, reasons=["stop"]) == answered({"output": OUTPUT}, reasons=["stop"])


MESSAGE_BLOCKS = [
    {"type": "thinking", "thinking": "Hm, let me see.", "signature": BYTES},
    {"type": "text", "text": "Looking it up."},
    {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "cost"}},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "secret"}},
    {"type": "redacted_thinking", "data": BYTES},
]
MESSAGE_PARTS = [
    {"type": "reasoning", "content": "Hm, let me see."},
    {"type": "text", "content": "Looking it up."},
    {"type": "tool_call", "id": "toolu_1", "name": "look_up", "arguments": {"word": "cost"}},
    {
        "type": "server_tool_call",
        "id": "srvtoolu_1",
        "name": "web_search",
        "server_tool_call": {"type": "web_search"},
    },
    {"type": "redacted_thinking"},
]


def block_events(index: int, block: dict[str, Any], *deltas: dict[str, object]) -> list[dict[str, object]]:
    """Return the events of one block of an Anthropic stream."""
    between = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    begun = {"type": "content_block_start", "index": index, "content_block": block}
    return [begun, *between, {"type": "content_block_stop", "index": index}]


def test_message_of_blocks() -> None:
    """An Anthropic message is one choice whose blocks are its parts."""
    body = {"type": "message", "role": "assistant", "content": MESSAGE_BLOCKS, "stop_reason": "tool_use"}
    message = {"role": "assistant", "parts": MESSAGE_PARTS, "finish_reason": "tool_call"}
    assert answered(body, reasons=["tool_calls"]) == [message]


def test_blocks_of_a_stream_are_put_together() -> None:
    """Its blocks grow by their deltas and add up to what is answered unstreamed."""
    thinking, text, tool, server, redacted = MESSAGE_BLOCKS
    events = [
        {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
        *block_events(
            0,
            {**thinking, "thinking": ""},
            {"type": "thinking_delta", "thinking": "Hm, let "},
            {"type": "thinking_delta", "thinking": "me see."},
            {"type": "signature_delta", "signature": BYTES},
        ),
        *block_events(1, {**text, "text": ""}, *({"type": "text_delta", "text": t} for t in ("Looking ", "it up."))),
        *block_events(
            2,
            {**tool, "input": {}},
            *({"type": "input_json_delta", "partial_json": piece} for piece in ('{"word":', ' "cost"}')),
        ),
        *block_events(3, {**server, "input": {}}, {"type": "input_json_delta", "partial_json": '{"query": "secret"}'}),
        *block_events(4, redacted),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]
    assert answered(*events) == [{"role": "assistant", "parts": MESSAGE_PARTS}]


def test_blocks_that_are_asked() -> None:
    """Images and documents are shown by reference, tool results as what the tool answered."""
    shown = parts_of(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BYTES}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "long"}},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "0.1 USD"}]},
    )
    assert shown == [
        {"type": "blob", "mime_type": "image/png", "modality": "image", "size": 64},
        {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
        {"type": "file", "modality": "document", "file_id": "file_1"},
        {"type": "document"},
        {"type": "tool_call_response", "id": "toolu_1", "response": [{"type": "text", "content": "0.1 USD"}]},
    ]


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {}}]])
def test_system_of_a_message_is_an_instruction(system: object) -> None:
    """Anthropic's system prompt, a text or blocks, stands beside the messages."""
    content = asked({"system": system, "messages": []})
    assert content.system_instructions == ({"type": "text", "content": "Be brief."},)


def test_tools_of_anthropic() -> None:
    """Their parameters are called an input schema, whether or not the tool says that it is custom."""
    tool: dict[str, object] = {"name": "look_up", "description": "Looks up.", "input_schema": {"type": "object"}}
    shown = {
        "type": "function",
        "name": "look_up",
        "description": "Looks up.",
        "parameters": {"type": "object"},
    }
    assert asked({"tools": [tool, {"type": "custom", **tool}]}).tool_definitions == (shown, shown)


def test_finish_reason_is_not_guessed() -> None:
    """A choice without a reason has none, or `error` where the call failed."""
    assert "finish_reason" not in answered(delta(content="a"))[0]
    assert answered(delta(content="a"), failed=True)[0]["finish_reason"] == "error"


def test_raw_events_are_read_across_reads() -> None:
    """Events of a raw stream are read whole wherever its bytes are split; broken ones and comments are left out."""
    events = [delta(content="ä"), delta(content="b\n")]
    body = ": hi\r\n\r\ndata: {broken\n\n" + "".join(
        f"data: {json.dumps(e, ensure_ascii=False)}\r\n\r\n" for e in events
    )
    for size in (1, 7, 1000):
        seen: list[object] = []
        reader = Reader(see=seen.append)
        data = body.encode()
        for start in range(0, len(data), size):
            reader.feed(data[start : start + size])

        assert seen == events


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(DATA_URL) | st.binary(max_size=4)
)
KINDS = """uri blob tool_call server_tool_call web_search_call text image_url input_image input_audio file input_file
message reasoning function_call function_call_output image_generation_call response.output_text.delta
response.output_item.done"""
KEYS = """type role content text messages input prompt instructions tools function name arguments parameters tool_calls
image_url url file file_data input_audio data id choices delta message index output output_index item response reasoning
images audio transcript"""
kinds = st.sampled_from(KINDS.split())
keys = st.sampled_from(KEYS.split()) | st.text(max_size=3)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v | kinds, max_size=6))
bodies = st.dictionaries(keys, values, max_size=6)


@settings(max_examples=60)
@given(bodies)
def test_any_request_can_be_shown(body: dict[str, object]) -> None:
    """Whatever the body, mapping never raises, follows the schema, is JSON and holds no data URL's bytes."""
    content = asked(body)

    check(content)
    assert BYTES not in dumps(content)


@settings(max_examples=60)
@given(st.lists(bodies, max_size=4), st.lists(st.text(max_size=4), max_size=2), st.booleans())
def test_any_reply_can_be_shown(chunks: list[object], reasons: list[str], failed: bool) -> None:
    """Whatever the chunks, folding never raises, follows the schema, is JSON and holds no data URL's bytes."""
    assert BYTES not in dumps(answered(*chunks, reasons=reasons, failed=failed))
