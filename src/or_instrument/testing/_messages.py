"""The message of the Anthropic-shaped endpoint, its errors and its stream: pure functions of an `Exchange`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ._answer import arguments_text
from ._responses import Event
from ._usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._answer import Answer
    from ._exchange import Exchange

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def message(exchange: Exchange) -> dict[str, object]:
    """Return the finished message, without its usage."""
    return {**_opening(exchange), "container": None, "content": list(_blocks(exchange)), **_ending(exchange)}


def message_error(answer: Answer, given: object) -> dict[str, object]:
    """Return ``{"type": "error", "error": ...}``; OpenRouter's own type stands beside Anthropic's."""
    error = given if isinstance(given, dict) else {}
    metadata = error.get("metadata")
    named = metadata.get("error_type") if isinstance(metadata, dict) else None
    code = error.get("code", answer.status)
    inner = {"type": _ERROR_TYPES.get(code, "api_error"), "message": error.get("message", "Provider returned error")}
    return {"type": "error", "error": inner if named is None else {**inner, "error_type": named}}


def message_events(exchange: Exchange) -> Iterator[Event]:
    """Return the named events of a stream; `message_delta` has the whole bill."""
    usage = usage_of(exchange)
    begun = {**_opening(exchange), "content": [], "stop_reason": None, "stop_sequence": None}
    yield _event("message_start", message={**begun, **_without_bill(usage)})
    yield _event("ping")
    for index, block in enumerate(_blocks(exchange)):
        yield from _block_events(exchange, index, block)
    answer = exchange.answer
    if answer.midstream_error is not None:
        yield Event(message_error(answer, answer.midstream_error), name="error")
        return
    yield _event("message_delta", delta=_ending(exchange), **usage)
    yield _event("message_stop", **answer.extra)


def _opening(exchange: Exchange) -> dict[str, object]:
    named: dict[str, object] = {"id": exchange.id, "type": "message", "role": "assistant", "model": exchange.model}
    return named if exchange.answer.provider is None else {**named, "provider": exchange.answer.provider}


def _ending(exchange: Exchange) -> dict[str, object]:
    answer = exchange.answer
    reason = answer.native_finish_reason or _STOP_REASONS.get(answer.reason, "end_turn")
    return {"stop_reason": reason, "stop_sequence": None, "stop_details": None}


def _without_bill(usage: dict[str, object]) -> dict[str, object]:
    told = usage.get("usage")
    if not isinstance(told, dict):
        return usage
    later = ("cost", "cost_details", "is_byok", "output_tokens_details", "server_tool_use")
    return {"usage": {**{name: value for name, value in told.items() if name not in later}, "output_tokens": 1}}


def _blocks(exchange: Exchange) -> Iterator[dict[str, object]]:
    answer = exchange.answer
    if answer.reasoning is not None:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": "ZmFrZQ=="}
    if answer.text is not None:
        yield {"type": "text", "text": answer.text, "citations": None}
    for index, (name, arguments) in enumerate(answer.tool_calls):
        held = json.loads(arguments_text(arguments))
        yield {
            "type": "tool_use",
            "id": f"toolu_{exchange.id[-8:]}_{index}",
            "name": name,
            "input": held,
            "caller": {"type": "direct"},
        }


def _block_events(exchange: Exchange, index: int, block: dict[str, object]) -> Iterator[Event]:
    empty: dict[str, dict[str, object]] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    kind = str(block["type"])
    yield _event("content_block_start", index=index, content_block={**block, **empty[kind]})
    for delta in _deltas(exchange, block):
        payload = {"type": "content_block_delta", "index": index, "delta": delta}
        yield Event(payload, chunk=True, name="content_block_delta")
    yield _event("content_block_stop", index=index)


def _deltas(exchange: Exchange, block: dict[str, object]) -> Iterator[dict[str, object]]:
    if block["type"] == "text":
        for piece in exchange.answer.pieces:
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}


def _event(name: str, **fields: object) -> Event:
    return Event({"type": name, **fields}, name=name)
