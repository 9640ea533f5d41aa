"""Folds one reply, or the chunks of a stream, into a `Reply`: a whole body is a stream of one chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from or_instrument._openrouter.failure import failure_of
from or_instrument._openrouter.usage import parse_usage
from or_instrument._openrouter.values import fields, get, items, label
from or_instrument._records import Failure, Reply

_ERROR: Final = "error"
_FINISH_OF_STATUS: Final = {"completed": "stop", "failed": _ERROR, "cancelled": "cancelled"}
_FINISH_OF_INCOMPLETE: Final = {"max_output_tokens": "length"}


def fold(
    chunks: Iterable[object],
    failure: Failure | None = None,
    generation_id: str | None = None,
    cache_status: str | None = None,
) -> Reply:
    """Return the reply that these chunks, or this one body, add up to, with what is known of it besides.

    A chunk is a body, a chunk or an event, as a dict or as the SDK's model of it. The last word on each field wins; a
    failure that is known already is the failure.
    """
    id_ = model = provider = tier = None
    usage: object = None
    ends = _Ends()
    for chunk in chunks:
        body = fields(chunk)
        if (kind := body.get("type")) is not None:
            ends.see_event(kind, body)
        if (inside := body.get("response")) is not None:
            body = fields(inside) or body
        if (said := body.get("id")) is not None and said != id_:
            id_ = label(said) or id_
        if (said := body.get("model")) is not None and said != model:
            model = label(said) or model
        if (said := body.get("provider")) is not None and said != provider:
            provider = label(said) or provider
        if (said := body.get("service_tier")) is not None and said != tier:
            tier = label(said) or tier
        if (said := body.get("usage")) is not None:
            usage = said
        ends.see(body)
    used = None if usage is None else parse_usage(usage)
    if failure is None:
        failure = ends.failure()
    reasons, native = _by_index(ends.reasons), _by_index(ends.native)
    return Reply(id_, model, provider, reasons, native, tier, used, failure, generation_id, cache_status)


class _Ends:
    """How a reply ended, as far as it was seen: finish reasons and errors."""

    __slots__ = ("_error", "_error_type", "_failed", "native", "reasons")

    def __init__(self) -> None:
        self._error: object = None
        self._error_type: object = None
        self._failed = False
        self.reasons: dict[int, str] = {}
        self.native: dict[int, str] = {}

    def failure(self) -> Failure | None:
        """Return the failure that was told of."""
        if self._error or self._error_type:
            return failure_of(self._error, self._error_type)
        return Failure(_ERROR) if self._failed else None

    def see_event(self, kind: object, event: Mapping[str, object]) -> None:
        """Take in what an event says around its body."""
        # A Responses stream reports a failed request as a flat event: {"type": "error", "code": ..., ...}.
        if kind == _ERROR and event.get("error") is None:
            self._error, self._failed = event, True
        if error_type := event.get("error_type"):
            self._error_type = error_type

    def see(self, body: Mapping[str, object]) -> None:
        """Take in a body."""
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
        if (said := choice.get("finish_reason")) is not None and (reason := label(said)):
            self.reasons[index] = reason
            self._failed = self._failed or reason == _ERROR
        if (said := choice.get("native_finish_reason")) is not None and (native := label(said)):
            self.native[index] = native
        if error := choice.get("error"):
            self._error = error

    def _see_status(self, status: object, body: Mapping[str, object]) -> None:
        if status == "incomplete":
            why = label(get(body.get("incomplete_details"), "reason")) or "incomplete"
            self.reasons[0] = _FINISH_OF_INCOMPLETE.get(why, why)
        elif isinstance(status, str) and status in _FINISH_OF_STATUS:
            self.reasons[0] = _FINISH_OF_STATUS[status]
            self._failed = self._failed or status == "failed"
        if error_type := body.get("error_type"):
            self._error_type = error_type


def _by_index(reasons: Mapping[int, str]) -> tuple[str, ...]:
    if len(reasons) <= 1:
        return tuple(reasons.values())
    return tuple(map(reasons.__getitem__, sorted(reasons)))
