"""Folds one reply, or the chunks of a stream, into a `Reply`: a whole body is a stream of one chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from or_instrument._failure import failure_of
from or_instrument._read import fields, get, items, label
from or_instrument._records import Failure, Reply
from or_instrument._usage import parse_usage

_ERROR: Final = "error"
_FINISH_OF_STATUS: Final = {"completed": "stop", "failed": _ERROR, "cancelled": "cancelled"}
_FINISH_OF_INCOMPLETE: Final = {"max_output_tokens": "length"}


class Fold:
    """What has been seen of a reply so far; the last word on each field wins."""

    __slots__ = (
        "_error",
        "_error_type",
        "_failed",
        "_id",
        "_model",
        "_native",
        "_provider",
        "_reasons",
        "_tier",
        "_usage",
    )

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._provider: str | None = None
        self._tier: str | None = None
        self._usage: object = None
        self._error: object = None
        self._error_type: object = None
        self._failed = False
        self._reasons: dict[int, str] = {}
        self._native: dict[int, str] = {}

    def see(self, chunk: object) -> None:
        """Take in a body, a chunk or an event, as a dict or as the SDK's model of it."""
        seen = fields(chunk)
        kind = seen.get("type")
        if kind is not None:
            self._see_event(kind, seen)
        body = seen.get("response")
        self._see_body(seen if body is None else fields(body) or seen)

    def reply(self) -> Reply:
        """Return the reply as far as it was seen."""
        failure = failure_of(self._error, self._error_type)
        if failure is None and self._failed:
            failure = Failure(_ERROR)
        return Reply(
            self._id,
            self._model,
            self._provider,
            _by_index(self._reasons),
            _by_index(self._native),
            self._tier,
            None if self._usage is None else parse_usage(self._usage),
            failure,
        )

    def _see_event(self, kind: object, event: Mapping[str, object]) -> None:
        # A Responses stream reports a failed request as a flat event: {"type": "error", "code": ..., ...}.
        if kind == _ERROR and event.get("error") is None:
            self._error, self._failed = event, True
        if error_type := event.get("error_type"):
            self._error_type = error_type

    def _see_body(self, body: Mapping[str, object]) -> None:
        self._id = label(body.get("id")) or self._id
        self._model = label(body.get("model")) or self._model
        self._provider = label(body.get("provider")) or self._provider
        self._tier = label(body.get("service_tier")) or self._tier
        usage = body.get("usage")
        if usage is not None:
            self._usage = usage
        if error := body.get("error"):
            self._error = error
            self._error_type = body.get("error_type") or self._error_type
        choices = body.get("choices")
        if choices is not None:
            for position, choice in enumerate(items(choices)):
                self._see_choice(position, fields(choice))
        elif status := body.get("status"):
            self._see_status(status, body)

    def _see_choice(self, position: int, choice: Mapping[str, object]) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else position
        if reason := label(choice.get("finish_reason")):
            self._reasons[index] = reason
            self._failed = self._failed or reason == _ERROR
        if native := label(choice.get("native_finish_reason")):
            self._native[index] = native
        if error := choice.get("error"):
            self._error = error

    def _see_status(self, status: object, body: Mapping[str, object]) -> None:
        if status == "incomplete":
            why = label(get(body.get("incomplete_details"), "reason")) or "incomplete"
            self._reasons[0] = _FINISH_OF_INCOMPLETE.get(why, why)
        elif isinstance(status, str) and status in _FINISH_OF_STATUS:
            self._reasons[0] = _FINISH_OF_STATUS[status]
            self._failed = self._failed or status == "failed"
        if error_type := body.get("error_type"):
            self._error_type = error_type


def _by_index(reasons: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(map(reasons.__getitem__, sorted(reasons)))


def fold(chunks: Iterable[object]) -> Reply:
    """Return the reply that these chunks, or this one body, add up to."""
    folded = Fold()
    for chunk in chunks:
        folded.see(chunk)
    return folded.reply()
