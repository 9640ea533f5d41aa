"""Writes captured content on the call's span, as JSON texts, or into a log event, as structure."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import get_current_span

from or_instrument._content.text import dumps
from or_instrument._records import Call, Content
from or_instrument._telemetry import names
from or_instrument._telemetry.backends import Backend
from or_instrument._telemetry.enrich import theirs_in
from or_instrument._telemetry.span import absent, end_attributes, start_attributes

if TYPE_CHECKING:
    from opentelemetry._logs import Logger, LoggerProvider

_log = logging.getLogger("or_instrument")
_Named = Iterator[tuple[str, Sequence[Mapping[str, object]]]]


class SpanContent:
    """A sink that writes the content on the call's span; to be called before the one that ends the span.

    With `only_theirs` that is the span of another instrumentation; where there is none, the context holds at most one
    of the user's, which is left alone.
    """

    def __init__(self, *, only_theirs: bool, backend: Backend | None = None) -> None:
        self._only_theirs = only_theirs
        self._backend = backend

    def __call__(self, call: Call) -> None:
        """Write the content."""
        if call.content is None or _is_captured(call) or (self._only_theirs and theirs_in(call.context) is None):
            return
        span = get_current_span(call.context)  # type: ignore[arg-type]
        if span.is_recording():
            span.set_attributes({name: dumps(listed) for name, listed in _named(call.content)})
            if self._backend is not None:
                span.set_attributes(absent(span, self._backend.of_content(call.content)))


class Events:
    """A sink that emits one event a call, with the attributes of its span as well."""

    def __init__(self, logger: Logger, provider: LoggerProvider | None, spend_names: Sequence[str]) -> None:
        self._logger = logger
        self._provider = provider
        self._spend_names = tuple(spend_names)

    @property
    def provider(self) -> LoggerProvider:
        """Where the events go: the provider given, else the global one."""
        from opentelemetry._logs import get_logger_provider  # noqa: PLC0415 - see `open_events`

        return self._provider or get_logger_provider()

    def __call__(self, call: Call) -> None:
        """Emit the event in the context of the call's span."""
        from opentelemetry._logs import LogRecord, SeverityNumber  # noqa: PLC0415 - see `open_events`

        if call.content is None or _is_captured(call):
            return
        attributes: dict[str, Any] = {
            **start_attributes(call.request),
            **end_attributes(call, self._spend_names),
            **dict(_named(call.content)),
        }
        self._logger.emit(
            LogRecord(  # type: ignore[call-overload]
                timestamp=call.started_ns + int(call.duration_s * 1e9),
                context=call.context,
                severity_number=SeverityNumber.DEBUG,
                event_name=names.CONTENT_EVENT,
                attributes=attributes,
            )
        )


def open_events(
    scope: str, version: str, logger_provider: LoggerProvider | None, spend_names: Sequence[str]
) -> Events | None:
    """Return the event sink; where this OpenTelemetry has no log events (before 1.35), warn and return `None`.

    The logs API is private by name (`opentelemetry._logs`) and the only one there is, hence the care.
    """
    try:
        from opentelemetry._logs import LogRecord, get_logger  # noqa: PLC0415
    except ImportError:
        has_events = False
    else:
        has_events = {"event_name", "context"} <= inspect.signature(LogRecord.__init__).parameters.keys()
    if not has_events:
        _log.warning(
            "content cannot be sent as events: they need opentelemetry-api and opentelemetry-sdk 1.35 or later. "
            "Upgrade them, or capture content on spans (SPAN_ONLY)."
        )
        return None
    return Events(get_logger(scope, version, logger_provider), logger_provider, spend_names)


def _is_captured(call: Call) -> bool:
    # util-genai obeys the same variable for the span and the event of its own that it makes of this call.
    theirs = theirs_in(call.context)
    return theirs is not None and theirs.attributes is not None


def _named(content: Content) -> _Named:
    return ((name, listed) for name, listed in zip(names.CONTENT_ATTRIBUTES, content, strict=True) if listed)
