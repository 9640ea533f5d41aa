"""The `response` object of the Responses endpoint, and its stream: pure functions of an `Exchange`."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ._answer import arguments_text
from ._usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._exchange import Exchange

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Final[dict[str, object]] = {
    "background": False,
    "frequency_penalty": 0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "temperature": 1,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1,
    "truncation": "disabled",
    "user": None,
}


@dataclass(frozen=True)
class Event:
    """The payload of one server-sent event; `chunk` where it carries a delta, `name` where it has a line of its own."""

    payload: object
    chunk: bool = False
    name: str | None = None


def response_object(exchange: Exchange) -> dict[str, object]:
    """Return the finished ``response``, without its usage."""
    answer, status = exchange.answer, _status(exchange)
    reason = _INCOMPLETE.get(answer.reason)
    return {
        **_base(exchange, status),
        "completed_at": exchange.created + 1 if status == "completed" else None,
        "error": _error(exchange) if status == "failed" else None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "output": list(_items(exchange)),
        "service_tier": answer.service_tier or "default",
        **_error_type(exchange),
    }


def response_events(exchange: Exchange) -> Iterator[Event]:
    """Return the events of a Responses stream, each with its ``sequence_number``."""
    for number, payload in enumerate(_payloads(exchange)):
        yield Event({**payload, "sequence_number": number}, str(payload["type"]).endswith(".delta"))


def _payloads(exchange: Exchange) -> Iterator[dict[str, object]]:
    started = {**_base(exchange, "in_progress"), "completed_at": None, "output": []}
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for index, item in enumerate(_items(exchange)):
        yield from _item_payloads(exchange, index, item)
    yield _last(exchange)


def _last(exchange: Exchange) -> dict[str, object]:
    answer, error = exchange.answer, _error(exchange)
    if answer.midstream_error is not None and answer.responses_error == "error":
        return {"type": "error", **error, "param": None}
    if answer.midstream_error is not None and answer.responses_error == "response.error":
        return {"type": "response.error", "error": error}
    response = {**response_object(exchange), **usage_of(exchange), **answer.extra}
    return {"type": f"response.{_status(exchange)}", "response": response}


def _base(exchange: Exchange, status: str) -> dict[str, object]:
    echoed = {key: exchange.request.get(key, default) for key, default in _ECHOED.items()}
    return {
        "object": "response",
        "id": exchange.id,
        "created_at": exchange.created,
        "model": exchange.model,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "store": False,
        "service_tier": None,
        **echoed,
    }


def _status(exchange: Exchange) -> str:
    reason = exchange.answer.reason
    return "failed" if reason == "error" else "incomplete" if reason in _INCOMPLETE else "completed"


def _error(exchange: Exchange) -> dict[str, object]:
    """Return the error with a code in words: here numbers are not known."""
    error = exchange.answer.broken or {}
    code = error.get("code")
    if not isinstance(code, str):
        code = "rate_limit_exceeded" if code == HTTPStatus.TOO_MANY_REQUESTS else "server_error"
    return {"code": code, "message": error.get("message", "The provider broke off the answer")}


def _error_type(exchange: Exchange) -> dict[str, object]:
    metadata = (exchange.answer.broken or {}).get("metadata")
    found = metadata.get("error_type") if isinstance(metadata, dict) else None
    return {} if found is None else {"error_type": found}


def _items(exchange: Exchange) -> Iterator[dict[str, object]]:
    answer, tail = exchange.answer, exchange.id[-8:]
    if answer.reasoning is not None:
        item = {"type": "reasoning", "id": f"rs_tmp_{tail}", "summary": []}
        yield {**item, "content": [_part(exchange, "reasoning")]}
    if answer.text is not None:
        status = "incomplete" if _status(exchange) == "incomplete" else "completed"
        item = {"type": "message", "id": f"msg_tmp_{tail}", "role": "assistant", "status": status}
        yield {**item, "content": [_part(exchange, "message")]}
    for index, (name, arguments) in enumerate(answer.tool_calls):
        ids = {"id": f"fc_tmp_{tail}_{index}", "call_id": f"call_{tail}_{index}", "name": name}
        text = arguments_text(arguments)
        yield {"type": "function_call", **ids, "arguments": text, "status": "completed"}


def _part(exchange: Exchange, item_type: object) -> dict[str, object]:
    if item_type == "reasoning":
        return {"type": "reasoning_text", "text": exchange.answer.reasoning}
    return {"type": "output_text", "text": exchange.answer.text, "annotations": [], "logprobs": []}


def _item_payloads(exchange: Exchange, index: int, item: dict[str, object]) -> Iterator[dict[str, object]]:
    called = item["type"] == "function_call"
    empty: dict[str, object] = {"arguments": ""} if called else {"content": []}
    begun = {} if item["type"] == "reasoning" else {"status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **begun, **empty}}
    place = {"output_index": index, "item_id": item["id"]}
    if called:
        name, arguments = "response.function_call_arguments", item["arguments"]
        yield {"type": f"{name}.delta", **place, "delta": arguments}
        yield {"type": f"{name}.done", **place, "name": item["name"], "arguments": arguments}
    else:
        yield from _part_payloads(exchange, {**place, "content_index": 0}, _part(exchange, item["type"]))
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_payloads(
    exchange: Exchange, place: dict[str, object], part: dict[str, object]
) -> Iterator[dict[str, object]]:
    reasoning = part["type"] == "reasoning_text"
    name = f"response.{part['type']}"
    logprobs: dict[str, object] = {} if reasoning else {"logprobs": []}
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for piece in [part["text"]] if reasoning else exchange.answer.pieces:
        yield {"type": f"{name}.delta", **place, **logprobs, "delta": piece}
    yield {"type": f"{name}.done", **place, **logprobs, "text": part["text"]}
    yield {"type": "response.content_part.done", **place, "part": part}
