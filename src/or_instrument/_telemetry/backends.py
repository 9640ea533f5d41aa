"""What each backend reads as the cost of a call, where it does not read the conventions: one row of data a backend.

A number where a backend expects text can cost it the whole batch of spans, so the two are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Final, NamedTuple

from or_instrument._content.text import dumps
from or_instrument._records import PENDING, AttributeValue, Call, Content

_Messages = Sequence[Mapping[str, object]]


class Backend(NamedTuple):
    """Further span attributes, by name, each with what it says of a call; `None` leaves it out."""

    numbers: Mapping[str, Callable[[Call], float | None]] = {}
    texts: Mapping[str, Callable[[Call], str | None]] = {}
    content: Mapping[str, Callable[[Content], str | None]] = {}
    """Texts too, written where prompts and completions go on spans."""

    def of_call(self, call: Call) -> dict[str, AttributeValue]:
        """Return what is known of the call, without its content."""
        told = {name: tell(call) for rows in (self.numbers, self.texts) for name, tell in rows.items()}
        return {name: value for name, value in told.items() if value is not None}

    def of_content(self, content: Content) -> dict[str, AttributeValue]:
        """Return what was said."""
        told = {name: tell(content) for name, tell in self.content.items()}
        return {name: text for name, text in told.items() if text is not None}


def _spend(call: Call) -> float | None:
    return call.spend


def _total_tokens(call: Call) -> int | None:
    usage = call.usage
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens


def _cost_json(call: Call) -> str | None:
    usage, spend = call.usage, call.spend
    if usage is None or spend is None:
        return None
    return _json(input_cost=usage.upstream_input_cost, output_cost=usage.upstream_output_cost, total_cost=spend)


def _metadata(call: Call) -> str | None:
    is_byok = None if call.usage is None else call.usage.is_byok
    return _json(cost_usd=call.spend, is_byok=is_byok, served_by=call.reply.provider)


def _first_chunk_at(call: Call) -> str | None:
    if call.time_to_first_chunk_s is None:
        return None
    return datetime.fromtimestamp(call.started_ns / 1e9 + call.time_to_first_chunk_s, timezone.utc).isoformat()


def _langfuse_type(call: Call) -> str | None:
    # Langfuse prices every generation: a call whose cost is still being looked up is none, what was found is one.
    if call.recovers is not None:
        return "generation"
    return "span" if call.missing == PENDING else None


def _said(messages: _Messages) -> str | None:
    parts = _parts(messages)
    return "\n".join(_texts(parts)) or dumps(parts) if parts else None


def _type_of(messages: _Messages) -> str | None:
    parts = _parts(messages)
    return ("text/plain" if any(_texts(parts)) else "application/json") if parts else None


def _parts(messages: _Messages) -> list[Mapping[str, object]]:
    return [part for message in messages for part in message.get("parts", ())]  # type: ignore[attr-defined]


def _texts(parts: _Messages) -> list[str]:
    return [str(part["content"]) for part in parts if part.get("type") == "text"]


def _json(**known: object) -> str | None:
    told = {name: value for name, value in known.items() if value is not None}
    return dumps(told) if told else None


BACKENDS: Final[Mapping[str, Backend]] = {
    "langfuse": Backend(
        texts={
            "langfuse.observation.completion_start_time": _first_chunk_at,
            "langfuse.observation.type": _langfuse_type,
        }
    ),
    "langwatch": Backend(numbers={"langwatch.span.cost": _spend}),
    "mlflow": Backend(texts={"mlflow.llm.cost": _cost_json}),
    "openlit": Backend(numbers={"gen_ai.usage.total_tokens": _total_tokens}),
    "phoenix": Backend(
        texts={"metadata": _metadata},
        content={
            "input.value": lambda content: _said(content.input_messages[-1:]),
            "input.mime_type": lambda content: _type_of(content.input_messages[-1:]),
            "output.value": lambda content: _said(content.output_messages),
            "output.mime_type": lambda content: _type_of(content.output_messages),
        },
    ),
    "posthog": Backend(numbers={"$ai_total_cost_usd": _spend}),
    # The second name is what older versions read.
    "signoz": Backend(numbers={"signoz.gen_ai.usage.tokens.cost": _spend, "_signoz.gen_ai.total_cost": _spend}),
}

NO_SPEND: Final[Mapping[str, str]] = {
    attribute: name
    for name, backend in BACKENDS.items()
    for attribute in (
        *backend.texts,
        *backend.content,
        *(attribute for attribute, tell in backend.numbers.items() if tell is not _spend),
    )
}
"""Attributes that must hold something else than a number of USD, and the backend that writes each."""

READ_OTHERWISE: Final[Mapping[str, str]] = {
    # mlflow/tracing/constant.py: JSON texts, names, ids and times.
    "mlflow.": "MLflow",
    # langfuse/_client/attributes.py: of metadata, each key may hold a number.
    "langfuse.observation.cost_details": "Langfuse",
    "langfuse.observation.input": "Langfuse",
    "langfuse.observation.level": "Langfuse",
    "langfuse.observation.model.": "Langfuse",
    "langfuse.observation.output": "Langfuse",
    "langfuse.observation.status_message": "Langfuse",
    "langfuse.observation.usage_details": "Langfuse",
    "langfuse.trace.": "Langfuse",
    # openinference/semconv/trace: what Phoenix sorts and shows spans by.
    "llm.invocation_parameters": "Phoenix",
    "llm.model_name": "Phoenix",
    "llm.provider": "Phoenix",
    "llm.system": "Phoenix",
    "openinference.span.kind": "Phoenix",
    "session.id": "Phoenix and Langfuse",
    "tag.tags": "Phoenix",
    "user.id": "Phoenix and Langfuse",
}
"""Attributes that we do not write and a backend reads as no cost, and which; a dot at the end stands for all below."""


def together(names: Sequence[str]) -> Backend:
    """Return one backend that has the rows of all these."""
    numbers: dict[str, Callable[[Call], float | None]] = {}
    texts: dict[str, Callable[[Call], str | None]] = {}
    content: dict[str, Callable[[Content], str | None]] = {}
    for name in names:
        numbers.update(BACKENDS[name].numbers)
        texts.update(BACKENDS[name].texts)
        content.update(BACKENDS[name].content)
    return Backend(numbers, texts, content)
