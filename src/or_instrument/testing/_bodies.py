"""The JSON body of each endpoint but Responses: pure functions of an `Exchange`."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from ._answer import UNSET, Answer, arguments_text
from ._decisions import decisions
from ._messages import message, message_error
from ._responses import response_object
from ._usage import usage_of

if TYPE_CHECKING:
    from ._exchange import Exchange


def bare_error(answer: Answer) -> dict[str, object]:
    """Return ``{"error": ...}``, and beside it what `Answer.extra` gives (account, router metadata)."""
    given = answer.error or {}
    return {"error": {"code": answer.status, "message": "Provider returned error", **given}, **answer.extra}


def _error_body(exchange: Exchange) -> dict[str, object]:
    """Return the error body; in Responses the error type stands at the top, in messages inside."""
    if exchange.kind == "messages":
        return {**message_error(exchange.answer, exchange.answer.error), **exchange.answer.extra}
    body = bare_error(exchange.answer)
    if exchange.answer.status == HTTPStatus.OK:
        body["id"] = exchange.id
    error, metadata = body["error"], (exchange.answer.error or {}).get("metadata")
    if exchange.kind == "responses" and isinstance(error, dict) and isinstance(metadata, dict):
        kept = dict(metadata)
        body["error_type"] = kept.pop("error_type", "unmapped")
        body["error"] = {**error, "metadata": kept}
    return body


def json_body(exchange: Exchange) -> object:
    """Return the JSON body of a reply that is not streamed."""
    answer = exchange.answer
    if answer.json_body is not UNSET:
        return answer.json_body
    if answer.refused:
        return _error_body(exchange)
    made = _SHAPES[exchange.kind](exchange)
    return {**made, **usage_of(exchange), **answer.extra}


def identity(exchange: Exchange, kind: str) -> dict[str, object]:
    """Return the keys that every chat body and chunk starts with."""
    named = {"id": exchange.id, "object": kind, "created": exchange.created, "model": exchange.model}
    return named if exchange.answer.provider is None else {**named, "provider": exchange.answer.provider}


def tool_call(exchange: Exchange, index: int) -> dict[str, object]:
    """Return the tool call of that index with its whole arguments."""
    name, arguments = exchange.answer.tool_calls[index]
    function = {"name": name, "arguments": arguments_text(arguments)}
    return {
        "index": index,
        "id": f"call_{exchange.id[-8:]}_{index}",
        "type": "function",
        "function": function,
    }


def reasoning_fields(text: str | None) -> dict[str, object]:
    """Return ``reasoning`` and ``reasoning_details`` of a message or delta."""
    if text is None:
        return {}
    return {
        "reasoning": text,
        "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0, "format": None}],
    }


def _chat(exchange: Exchange) -> dict[str, object]:
    choices = [_chat_choice(exchange, index) for index in range(exchange.choices)]
    tail = {"system_fingerprint": None, "service_tier": exchange.answer.service_tier}
    return {**identity(exchange, "chat.completion"), "choices": choices, **tail}


def _chat_choice(exchange: Exchange, index: int) -> dict[str, object]:
    answer = exchange.answer
    message: dict[str, object] = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "reasoning": None,
    }
    message |= reasoning_fields(answer.reasoning)
    if answer.tool_calls:
        message["tool_calls"] = [tool_call(exchange, call) for call in range(len(answer.tool_calls))]
    return {"index": index, "logprobs": None, **_ending(exchange), "message": message}


def _completions(exchange: Exchange) -> dict[str, object]:
    choices = [
        {"index": index, "text": exchange.answer.text or "", "logprobs": None, **_ending(exchange)}
        for index in range(exchange.choices)
    ]
    return {**identity(exchange, "text_completion"), "choices": choices}


def _ending(exchange: Exchange) -> dict[str, object]:
    answer = exchange.answer
    failure = {} if answer.broken is None else {"error": answer.broken}
    return {"finish_reason": answer.reason, "native_finish_reason": answer.native_reason, **failure}


def _embeddings(exchange: Exchange) -> dict[str, object]:
    asked = exchange.request.get("input")
    count = len(asked) if isinstance(asked, list) and asked and not isinstance(asked[0], int) else 1
    vector: object = [0.25, -0.5, 0.125]
    if exchange.request.get("encoding_format") == "base64":
        vector = "AACAPgAAAL8AAAA+"
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    named = {key: value for key, value in identity(exchange, "list").items() if key != "created"}
    return {**named, "data": data}


def _rerank(exchange: Exchange) -> dict[str, object]:
    documents = exchange.request.get("documents")
    listed = documents if isinstance(documents, list) else []
    results = [
        {"index": index, "relevance_score": round(0.95 / (index + 1), 4), "document": _document(document)}
        for index, document in enumerate(listed)
    ]
    named = {key: value for key, value in identity(exchange, "").items() if key not in ("object", "created")}
    return {**named, "results": results}


def _document(document: object) -> object:
    return {"text": document} if isinstance(document, str) else document


def _transcriptions(exchange: Exchange) -> dict[str, object]:
    return {"text": exchange.answer.text}


def _images(exchange: Exchange) -> dict[str, object]:
    data = [{"b64_json": "ZmFrZSBpbWFnZQ=="} for _ in range(exchange.choices)]
    return {"created": exchange.created, "data": data}


_SHAPES = {
    "decisions": decisions,
    "messages": message,
    "chat": _chat,
    "completions": _completions,
    "responses": response_object,
    "embeddings": _embeddings,
    "rerank": _rerank,
    "transcriptions": _transcriptions,
    "images": _images,
}
