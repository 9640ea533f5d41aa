"""Joins our spans with those that OpenRouter's Broadcast exports of the same generation: by a link, or by nesting.

The rule for the ids of Broadcast's spans is not documented by OpenRouter; it was found by recomputing observed ones.
What its documentation does say is that `trace.trace_id` and `trace.parent_span_id` in the body are taken over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}\Z", re.IGNORECASE)
_OURS: Final = ("trace_id", "parent_span_id")


class BroadcastSpan(NamedTuple):
    """The ids of the root span that Broadcast exports of a generation."""

    trace_id: int
    span_id: int


def broadcast_span(generation_id: str, trace_id: str | None = None) -> BroadcastSpan:
    """Return the root span of a generation, where `trace_id` is the `trace.trace_id` that was sent, if any."""
    trace = trace_id if trace_id and _TRACE_ID.match(trace_id) else _hash(trace_id or generation_id)[:32]
    return BroadcastSpan(int(trace, 16), int(_hash(generation_id)[:16], 16))


def with_trace(body: Mapping[str, object], extra: object, trace_id: int, span_id: int) -> Mapping[str, object] | None:
    """Return the extra body that names our span as the parent, `None` where the user's own `trace` does already.

    `body` is what will be sent, `extra` the part of it that the SDK lays over the rest.
    """
    theirs = body.get("trace", {})
    if not isinstance(theirs, Mapping) or any(name in theirs for name in _OURS):
        return None
    if extra is not None and not isinstance(extra, Mapping):
        return None
    ours = {"trace_id": f"{trace_id:032x}", "parent_span_id": f"{span_id:016x}"}
    return {**(extra or {}), "trace": {**theirs, **ours}}


def _hash(text: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - few ask for it, and it takes long to import

    return sha256(text.encode()).hexdigest()
