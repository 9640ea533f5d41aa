"""Streams: the events of a chat stream, and the timeline of bytes, pauses and gates of any stream."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ._answer import UNSET, Answer
from ._bodies import identity, reasoning_fields, tool_call
from ._messages import message_events
from ._responses import Event, response_events
from ._usage import usage_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from ._exchange import Exchange

_COMMENT: Final = b": OPENROUTER PROCESSING\n\n"


@dataclass(frozen=True)
class Step:
    """Bytes to send, after a pause in seconds and after a gate has opened."""

    data: bytes
    pause_s: float = 0.0
    gate: threading.Event | None = None


def stream_steps(exchange: Exchange) -> tuple[Step, ...]:
    """Return what a streamed reply sends; a broken-off one just ends early (`Answer.abort_after`)."""
    answer = exchange.answer
    if answer.events is not None:
        events: Iterable[Event] = [_scripted(exchange, payload) for payload in answer.events]
    else:
        events = _MADE.get(exchange.kind, chat_events)(exchange)
    return tuple(_timeline(answer, events, done=answer.done and exchange.kind != "messages"))


def chat_events(exchange: Exchange) -> Iterator[Event]:
    """Return the events of a chat or legacy completions stream, down to its usage or error chunk."""
    answer = exchange.answer
    for delta in _deltas(exchange):
        for index in range(exchange.choices):
            yield Event(_chunk(exchange, [_choice(exchange, index, delta)]), chunk=True)
    if answer.midstream_error is not None:
        yield Event(_error_chunk(exchange))
        return
    for index in range(exchange.choices):
        yield Event(_chunk(exchange, [_last_choice(exchange, index)]))
    if usage := usage_of(exchange):
        choices = [_last_choice(exchange, index) for index in range(exchange.choices)]
        last = _chunk(exchange, choices if answer.usage_choices else [])
        yield Event({**last, "service_tier": answer.service_tier, **usage, **answer.extra})


def _scripted(exchange: Exchange, payload: object) -> Event:
    kind = payload.get("type") if exchange.kind == "messages" and isinstance(payload, dict) else None
    return Event(payload, chunk=True, name=kind if isinstance(kind, str) else None)


def _timeline(answer: Answer, events: Iterable[Event], *, done: bool) -> Iterator[Step]:
    comments = _COMMENT * answer.comments
    sent, gate = 0, answer.gate if answer.hold_after is not None else None
    yield Step(comments)
    for event in events:
        if sent == answer.abort_after:
            return
        between = event.chunk and sent > 0
        held = gate if sent == answer.hold_after else None
        gate = None if held else gate
        prefix = comments if between else b""
        yield Step(prefix + _encoded(event), answer.pause_s if between else 0.0, held)
        sent += event.chunk
    if done and answer.abort_after is None:
        yield Step(b"data: [DONE]\n\n")


def _encoded(event: Event) -> bytes:
    payload = event.payload
    text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    name = "" if event.name is None else f"event: {event.name}\n"
    return f"{name}data: {text}\n\n".encode()


def _chunk(exchange: Exchange, choices: list[dict[str, object]]) -> dict[str, object]:
    kind = "chat.completion.chunk" if exchange.kind == "chat" else "text_completion"
    return {**identity(exchange, kind), "choices": choices}


def _deltas(exchange: Exchange) -> Iterator[dict[str, object]]:
    answer = exchange.answer
    if answer.reasoning is not None:
        yield {"content": "", **reasoning_fields(answer.reasoning)}
    for piece in answer.pieces:
        yield {"content": piece}
    for index in range(len(answer.tool_calls)):
        yield {"content": None, "tool_calls": [tool_call(exchange, index)]}


def _choice(exchange: Exchange, index: int, delta: dict[str, object]) -> dict[str, object]:
    tail = {"finish_reason": None, "native_finish_reason": None, "logprobs": None}
    if exchange.kind == "completions":
        return {"index": index, "text": delta["content"] or "", **tail}
    return {"index": index, "delta": {"role": "assistant", **delta}, **tail}


def _last_choice(exchange: Exchange, index: int) -> dict[str, object]:
    answer = exchange.answer
    ending = {"finish_reason": answer.reason, "native_finish_reason": answer.native_reason}
    failure = {} if answer.choice_error is None else {"error": answer.choice_error}
    return {**_choice(exchange, index, {"content": ""}), **ending, **failure}


def _error_chunk(exchange: Exchange) -> dict[str, object]:
    answer = exchange.answer
    chunk = _chunk(exchange, [_last_choice(exchange, 0)] if answer.usage_choices else [])
    priced = answer.usage is not UNSET or answer.cost is not UNSET
    return {
        **chunk,
        "error": answer.midstream_error,
        **(usage_of(exchange) if priced else {}),
        **answer.extra,
    }


_MADE: Final = {"responses": response_events, "messages": message_events}
