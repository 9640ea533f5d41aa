"""Folds one reply, or the chunks and events of a stream, into a `Reply`: a whole body is a stream of one chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from or_instrument._openrouter.events import TERMINAL
from or_instrument._openrouter.failure import failure_of
from or_instrument._openrouter.headers import NO_HEADERS, Headers
from or_instrument._openrouter.routing import METADATA, routing_of
from or_instrument._openrouter.usage import APART, Apart, merge, parse_usage
from or_instrument._openrouter.values import fields, get, items, label
from or_instrument._records import Failure, Reply, Usage
from or_instrument._routing_records import Routing

_NONE: Final[dict[int, str]] = {}
"""Of a reply that has told no reason so far; one for all, as each open stream would hold two. Never written to."""
_ERROR: Final = "error"
_TIER: Final = "openrouter.usage.service_tier"
_FINISH_OF_STATUS: Final = {"completed": "stop", "failed": _ERROR, "cancelled": "cancelled"}
_FINISH_OF_INCOMPLETE: Final = {"max_output_tokens": "length"}
_FINISH_OF_STOP: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""The convention's word for what Anthropic calls a stop reason; others stand as they were sent."""


def fold(bodies: Iterable[object]) -> Reply:
    """Return the reply that these chunks, or this one body, add up to."""
    reply = Fold()
    for body in bodies:
        reply.see(body)
    return reply.reply()


class Fold:
    """A reply while it comes in.

    The last word on each field wins; usage objects are merged field by field. To see the last events once more changes
    nothing.
    """

    __slots__ = (
        "_apart",
        "_error",
        "_error_type",
        "_failed",
        "_id",
        "_model",
        "_native",
        "_provider",
        "_reasons",
        "_routing",
        "_tier",
        "_usage",
        "is_ended",
    )

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._provider: str | None = None
        self._tier: str | None = None
        self._usage: Usage | None = None
        self._apart: Apart | None = None
        self._routing: Routing | None = None
        self._error: object = None
        self._error_type: object = None
        self._failed = False
        self._reasons = self._native = _NONE
        self.is_ended = False
        """Whether a stream has said that it is at its end."""

    def reply(self, failure: Failure | None = None, headers: Headers = NO_HEADERS) -> Reply:
        """Return the reply; a failure that was seen from outside goes before the one that the reply tells of."""
        if failure is None:
            failure = failure_of(self._error, self._error_type) or (Failure(_ERROR) if self._failed else None)
        reasons, native = _by_index(self._reasons), _by_index(self._native)
        tier, usage = self._tier, self._usage
        if self._apart is not None and usage is not None:
            usage = self._apart.whole(usage)
        if tier is None and usage is not None and usage.details:
            tier = label(usage.details.get(_TIER))
        provider, routing = self._provider, self._routing
        if provider is None and routing is not None and failure is None:
            provider = routing.provider
        return Reply(self._id, self._model, provider, reasons, native, tier, usage, failure, *headers, routing)

    def see(self, chunk: object) -> None:
        """Take in a body, a chunk or an event."""
        body = fields(chunk)
        if (kind := body.get("type")) is not None:
            self._see_event(kind, body)
        routing = body.get(METADATA)
        if (inside := body.get("response")) is not None:
            body = fields(inside) or body
            routing = body.get(METADATA) or routing
        elif kind == "message_start":
            body = _begun(fields(body.get("message")))
        if routing is not None:
            self._routing = routing_of(routing) or self._routing
        if (said := body.get("id")) is not None and said != self._id:
            self._id = label(said) or self._id
        if (said := body.get("model")) is not None and said != self._model:
            self._model = label(said) or self._model
        if (said := body.get("provider")) is not None and said != self._provider:
            self._provider = label(said) or self._provider
        if (said := body.get("service_tier")) is not None and said != self._tier:
            self._tier = label(said) or self._tier
        if (said := body.get("usage")) is not None:
            source = fields(said)
            used = parse_usage(source)
            self._usage = used if self._usage is None else merge(self._usage, used)
            # The cache is added to the input at the end, when all is merged that tells of either.
            may_be_apart = self._apart is not None or not APART.isdisjoint(source)
            self._apart = (self._apart or Apart()).after(source) if may_be_apart else None
        self._see_end(body)

    def _see_event(self, kind: object, event: Mapping[str, object]) -> None:
        if isinstance(kind, str) and kind in TERMINAL:
            self.is_ended = True
        # A Responses stream reports a failed request as a flat event: {"type": "error", "code": ..., ...}.
        if kind == _ERROR and event.get("error") is None:
            self._error, self._failed = event, True
        if error_type := event.get("error_type"):
            self._error_type = error_type

    def _see_end(self, body: Mapping[str, object]) -> None:
        if error := body.get("error"):
            self._error, self.is_ended = error, True
            self._error_type = body.get("error_type") or self._error_type
        if (stop := body.get("stop_reason") or get(body.get("delta"), "stop_reason")) is not None:
            self._see_stop(stop)
        choices = body.get("choices")
        if choices is not None:
            for position, choice in enumerate(items(choices)):
                self._see_choice(position, fields(choice))
        elif status := body.get("status"):
            self._see_status(status, body)

    def _see_choice(self, position: int, choice: Mapping[str, object]) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else position
        if (said := choice.get("finish_reason")) is not None and (reason := label(said)):
            self._reasons = self._reasons or {}
            self._reasons[index] = reason
            self._failed = self._failed or reason == _ERROR
        if (said := choice.get("native_finish_reason")) is not None and (native := label(said)):
            self._native = self._native or {}
            self._native[index] = native
        if error := choice.get("error"):
            self._error = error

    def _see_stop(self, stop: object) -> None:
        if (native := label(stop)) is not None:
            self._native = {**self._native, 0: native}
            self._reasons = {**self._reasons, 0: _FINISH_OF_STOP.get(native, native)}

    def _see_status(self, status: object, body: Mapping[str, object]) -> None:
        if status == "incomplete":
            why = label(get(body.get("incomplete_details"), "reason")) or "incomplete"
            self._reasons = {**self._reasons, 0: _FINISH_OF_INCOMPLETE.get(why, why)}
        elif isinstance(status, str) and status in _FINISH_OF_STATUS:
            self._reasons = {**self._reasons, 0: _FINISH_OF_STATUS[status]}
            self._failed = self._failed or status == "failed"
        if error_type := body.get("error_type"):
            self._error_type = error_type


def _by_index(reasons: Mapping[int, str]) -> tuple[str, ...]:
    if len(reasons) <= 1:
        return tuple(reasons.values())
    return tuple(map(reasons.__getitem__, sorted(reasons)))


def _begun(message: Mapping[str, object]) -> Mapping[str, object]:
    """Return the message that an Anthropic stream begins with; of its output nothing is counted yet."""
    usage = fields(message.get("usage"))
    return {**message, "usage": {name: value for name, value in usage.items() if name != "output_tokens"} or None}
