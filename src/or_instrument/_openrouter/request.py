"""Describes what is asked: which parameters a body holds, never its content."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

from or_instrument._openrouter.hosts import Endpoint
from or_instrument._openrouter.values import get, items, label
from or_instrument._records import AttributeValue, Request

CLIENT: Final = "openrouter.client"
SESSION_HEADER: Final = "x-session-id"
"""In lower case; a request may name its session there instead of in its body."""
_SESSION: Final = "session_id"
_TAKES_USAGE: Final = frozenset(("chat", "text_completion", "embeddings"))
_USAGE_OPTION: Final[Mapping[str, object]] = {"include": True}
_LIST_LIMIT: Final = 32
_FLOAT_MAX: Final = sys.float_info.max


def describe(
    endpoint: Endpoint,
    operation: str,
    body: Mapping[str, object],
    stream: bool,
    attributes: Mapping[str, AttributeValue],
    *,
    client: str | None = None,
) -> Request:
    """Return the `Request` for a body that goes to an endpoint, seen on its way through a client."""
    parameters: dict[str, AttributeValue] = {} if client is None else {CLIENT: client}
    for name, value in body.items():
        if (read := _READERS.get(name)) is not None:
            read(value, parameters)
    return Request(
        operation,
        endpoint.provider,
        label(body.get("model")),
        endpoint.host,
        endpoint.port,
        stream,
        parameters,
        attributes,
        label(get(trace, "trace_id")) if (trace := body.get("trace")) else None,
        label(key) if (key := body.get("prompt_cache_key")) else None,
    )


def session_in(*given: object) -> object:
    """Return the session that request headers name, `None` where they name none; the first of several mappings wins."""
    for headers in given:
        if headers and isinstance(headers, Mapping):
            for name, value in headers.items():
                if name.lower() == SESSION_HEADER:
                    return value
    return None


def with_session(body: Mapping[str, object], session: object) -> Mapping[str, object]:
    """Return a body with the session that a header names; the body's own goes before it."""
    return body if session is None or body.get(_SESSION) else {**body, _SESSION: session}


def with_usage_option(operation: str, body: object, extra: object) -> Mapping[str, object] | None:
    """Return the extra body that asks for usage as well, `None` where the body says so itself or cannot take it."""
    if operation not in _TAKES_USAGE or not isinstance(body, dict) or "usage" in body:
        return None
    if extra is None:
        return {"usage": _USAGE_OPTION}
    if not isinstance(extra, Mapping) or "usage" in extra:
        return None
    return {**extra, "usage": _USAGE_OPTION}


_Reader = Callable[[object, dict[str, AttributeValue]], None]


def _real(attribute: str) -> _Reader:
    def read(value: object, parameters: dict[str, AttributeValue]) -> None:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _FLOAT_MAX:
            parameters[attribute] = float(value)

    return read


def _whole(attribute: str, *, unless: int | None = None) -> _Reader:
    def read(value: object, parameters: dict[str, AttributeValue]) -> None:
        if isinstance(value, int) and not isinstance(value, bool) and value != unless and abs(value) < 2**63:
            parameters[attribute] = value

    return read


def _word(attribute: str) -> _Reader:
    def read(value: object, parameters: dict[str, AttributeValue]) -> None:
        if text := label(value):
            parameters[attribute] = text

    return read


def _words(attribute: str) -> _Reader:
    def read(value: object, parameters: dict[str, AttributeValue]) -> None:
        listed = (value,) if isinstance(value, str) else items(value)
        if words := tuple(word for item in listed[:_LIST_LIMIT] if (word := label(item))):
            parameters[attribute] = words

    return read


def _reasoning(value: object, parameters: dict[str, AttributeValue]) -> None:
    _word("gen_ai.request.reasoning.level")(get(value, "effort"), parameters)


def _routing(value: object, parameters: dict[str, AttributeValue]) -> None:
    _words("openrouter.request.provider.order")(get(value, "order"), parameters)
    _words("openrouter.request.provider.only")(get(value, "only"), parameters)
    _word("openrouter.request.provider.sort")(get(value, "sort"), parameters)


def _plugins(value: object, parameters: dict[str, AttributeValue]) -> None:
    _words("openrouter.request.plugins")([get(plugin, "id") for plugin in items(value)], parameters)


_OUTPUT_TYPE: Final = "gen_ai.output.type"


def _format(value: object, parameters: dict[str, AttributeValue]) -> None:
    kind = get(value, "type")
    if kind in ("json_object", "json_schema"):
        parameters[_OUTPUT_TYPE] = "json"
    elif kind == "text":
        parameters[_OUTPUT_TYPE] = "text"


def _text(value: object, parameters: dict[str, AttributeValue]) -> None:
    _format(get(value, "format"), parameters)


def _output(value: object, parameters: dict[str, AttributeValue]) -> None:
    _reasoning(value, parameters)
    _text(value, parameters)


def _modalities(value: object, parameters: dict[str, AttributeValue]) -> None:
    for modality, kind in (("image", "image"), ("audio", "speech")):
        if modality in items(value):
            parameters[_OUTPUT_TYPE] = kind


_READERS: Final[Mapping[str, _Reader]] = {
    "temperature": _real("gen_ai.request.temperature"),
    "top_p": _real("gen_ai.request.top_p"),
    "top_k": _whole("gen_ai.request.top_k"),
    "max_tokens": _whole("gen_ai.request.max_tokens"),
    "max_completion_tokens": _whole("gen_ai.request.max_tokens"),
    "max_output_tokens": _whole("gen_ai.request.max_tokens"),
    "frequency_penalty": _real("gen_ai.request.frequency_penalty"),
    "presence_penalty": _real("gen_ai.request.presence_penalty"),
    "seed": _whole("gen_ai.request.seed"),
    "stop": _words("gen_ai.request.stop_sequences"),
    "stop_sequences": _words("gen_ai.request.stop_sequences"),
    "n": _whole("gen_ai.request.choice.count", unless=1),
    "reasoning": _reasoning,
    "output_config": _output,
    "reasoning_effort": _word("gen_ai.request.reasoning.level"),
    "encoding_format": _words("gen_ai.request.encoding_formats"),
    "dimensions": _whole("gen_ai.embeddings.dimension.count"),
    "response_format": _format,
    "text": _text,
    "modalities": _modalities,
    _SESSION: _word("gen_ai.conversation.id"),
    "models": _words("openrouter.request.models"),
    "provider": _routing,
    "plugins": _plugins,
    "service_tier": _word("openrouter.request.service_tier"),
}
"""By the name of a field at the top of the body; all endpoints share one table."""
