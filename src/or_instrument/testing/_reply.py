"""What goes back over the wire for one exchange: status, headers, and steps of bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import errors
from ._answer import UNSET
from ._bodies import bare_error, json_body
from ._streams import Step, stream_steps

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from ._answer import Answer
    from ._exchange import Exchange


@dataclass(frozen=True)
class Reply:
    """Steps of bytes, sent in chunks where `streamed`; then the connection is dropped where `aborted`."""

    status: int
    headers: Mapping[str, str]
    steps: tuple[Step, ...]
    streamed: bool = False
    aborted: bool = False
    delay_s: float = 0.0
    gate: threading.Event | None = None
    generation_id: str = ""


def make_reply(exchange: Exchange) -> Reply:
    """Return the reply that the exchange's answer describes."""
    answer = exchange.answer
    scripted = answer.body is not None or answer.json_body is not UNSET
    streamed = exchange.streamed and not scripted
    content_type, body = ("text/event-stream", b"") if streamed else _body(exchange)
    dropped = answer.abort_after is not None and not streamed
    steps = stream_steps(exchange) if streamed else () if dropped else (Step(body),)
    headers = {
        "Content-Type": answer.content_type or content_type,
        "X-Generation-Id": exchange.id,
        **answer.headers,
    }
    held_inside = streamed and answer.hold_after is not None
    return Reply(
        status=answer.status,
        headers=headers,
        steps=steps,
        streamed=streamed,
        aborted=answer.abort_after is not None,
        delay_s=answer.delay_s,
        gate=None if held_inside else answer.gate,
        generation_id=exchange.id,
    )


def json_reply(status: int, payload: object) -> Reply:
    """Return a reply with a JSON body and nothing special about it."""
    return Reply(status, {"Content-Type": "application/json"}, (Step(json.dumps(payload).encode()),))


def refusal(answer: Answer) -> Reply:
    """Return a reply that is an error and nothing else."""
    return json_reply(answer.status, bare_error(answer))


def breakdown(error: Exception) -> Reply:
    """Return a reply that tells what the fake itself has failed with; the SDK is asked not to try again."""
    why = f"The fake OpenRouter failed while it answered: {type(error).__name__}: {error}"
    told = errors.error(500, why, user_id=None)
    return replace(refusal(told), headers={"Content-Type": "application/json", "X-Should-Retry": "false"})


def _body(exchange: Exchange) -> tuple[str, bytes]:
    answer = exchange.answer
    if answer.body is not None:
        return "application/octet-stream", answer.body
    if exchange.kind == "speech" and not answer.failed and answer.json_body is UNSET:
        return "audio/mpeg", b"ID3 fake speech: " + (answer.text or "").encode()
    return "application/json", json.dumps(json_body(exchange)).encode()
