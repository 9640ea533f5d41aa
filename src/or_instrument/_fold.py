"""Folds one reply, or the chunks of a stream, into a `Reply`: a whole body is a stream of one chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from or_instrument._failure import failure_of
from or_instrument._read import get, items, label
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
        kind = get(chunk, "type")
        if kind is not None:
            self._see_event(kind, chunk)
        body = get(chunk, "response")
        self._see_body(chunk if body is None else body)

    def reply(self) -> Reply:
        """Return the reply as far as it was seen."""
        failure = failure_of(self._error, self._error_type)
        if failure is None and self._failed:
            failure = Failure(_ERROR)
        return Reply(
            self._id,
            self._model,
            self._provider,
            tuple(reason for _, reason in sorted(self._reasons.items())),
            tuple(reason for _, reason in sorted(self._native.items())),
            self._tier,
            None if self._usage is None else parse_usage(self._usage),
            failure,
        )

    def _see_event(self, kind: object, event: object) -> None:
        # A Responses stream reports a failed request as a flat event: {"type": "error", "code": ..., ...}.
        if kind == _ERROR and get(event, "error") is None:
            self._error, self._failed = event, True
        if error_type := get(event, "error_type"):
            self._error_type = error_type

    def _see_body(self, body: object) -> None:
        self._id = label(get(body, "id")) or self._id
        self._model = label(get(body, "model")) or self._model
        self._provider = label(get(body, "provider")) or self._provider
        self._tier = label(get(body, "service_tier")) or self._tier
        usage = get(body, "usage")
        if usage is not None:
            self._usage = usage
        if error := get(body, "error"):
            self._error = error
        choices = get(body, "choices")
        if choices is not None:
            for position, choice in enumerate(items(choices)):
                self._see_choice(position, choice)
        elif status := get(body, "status"):
            self._see_status(status, body)

    def _see_choice(self, position: int, choice: object) -> None:
        index = get(choice, "index")
        index = index if isinstance(index, int) else position
        if reason := label(get(choice, "finish_reason")):
            self._reasons[index] = reason
            self._failed = self._failed or reason == _ERROR
        if native := label(get(choice, "native_finish_reason")):
            self._native[index] = native
        if error := get(choice, "error"):
            self._error = error

    def _see_status(self, status: object, body: object) -> None:
        if status == "incomplete":
            why = label(get(get(body, "incomplete_details"), "reason")) or "incomplete"
            self._reasons[0] = _FINISH_OF_INCOMPLETE.get(why, why)
        elif isinstance(status, str) and status in _FINISH_OF_STATUS:
            self._reasons[0] = _FINISH_OF_STATUS[status]
            self._failed = self._failed or status == "failed"
        if error_type := get(body, "error_type"):
            self._error_type = error_type


def fold(chunks: Iterable[object]) -> Reply:
    """Return the reply that these chunks, or this one body, add up to."""
    folded = Fold()
    for chunk in chunks:
        folded.see(chunk)
    return folded.reply()
