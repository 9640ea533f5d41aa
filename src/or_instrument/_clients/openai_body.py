"""What is sent besides the user's own body: the usage option, and our span's ids for OpenRouter's Broadcast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from or_instrument._openrouter.broadcast import with_trace
from or_instrument._openrouter.request import with_usage_option


class Additions:
    """What `instrument()` was asked to add."""

    def __init__(self, *, inject_usage: bool, propagate: bool) -> None:
        self._inject_usage = inject_usage
        self._propagate = propagate

    def extra_json(
        self, operation: str, options: Any, body: Mapping[str, object], context: Context
    ) -> Mapping[str, object] | None:
        """Return the `extra_json` that a call is to be sent with, `None` where its own will do."""
        extra = with_usage_option(operation, options.json_data, options.extra_json) if self._inject_usage else None
        if not self._propagate or operation != "chat":
            return extra
        span = get_current_span(context).get_span_context()
        if not span.trace_flags.sampled:
            return extra
        so_far = options.extra_json if extra is None else extra
        return with_trace(body, so_far, span.trace_id, span.span_id) or extra
