"""What is sent besides the user's own: the usage option, our span's ids for OpenRouter's Broadcast, a header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from or_instrument._clients.openai_sdk import headers_of, sent_body
from or_instrument._openrouter.broadcast import with_trace
from or_instrument._openrouter.paths import is_messages
from or_instrument._openrouter.request import with_usage_option
from or_instrument._openrouter.routing import HEADER, HEADERS

_ROUTED: Final = frozenset(("chat", "text_completion"))


class Additions(NamedTuple):
    """What `instrument()` was asked to add."""

    inject_usage: bool
    propagate: bool
    router_metadata: bool = False

    def changes(self, client: Any, operation: str, options: Any, context: Context) -> Mapping[str, object]:
        """Return the fields of the options that a call is to be sent with in place of its own."""
        changes: dict[str, object] = {}
        extra = None
        if self.inject_usage and not is_messages(options.url):
            extra = with_usage_option(operation, options.json_data, options.extra_json)
        if self.propagate and operation == "chat":
            extra = _with_trace(options, extra, context)
        if extra is not None:
            changes["extra_json"] = extra
        if self.router_metadata and operation in _ROUTED and (headers := _with_header(client, options)) is not None:
            changes["headers"] = headers
        return changes


def _with_trace(options: Any, extra: Mapping[str, object] | None, context: Context) -> Mapping[str, object] | None:
    span = get_current_span(context).get_span_context()
    if not span.trace_flags.sampled:
        return extra
    so_far = options.extra_json if extra is None else extra
    return with_trace(sent_body(options), so_far, span.trace_id, span.span_id) or extra


def _with_header(client: Any, options: Any) -> Mapping[str, object] | None:
    """Return the call's headers with the one that asks for routing metadata, `None` where the user has sent it."""
    given = headers_of(client, options)
    if any(name.lower() in HEADERS for headers in given for name in headers):
        return None
    return {**given[0], HEADER: "enabled"}
