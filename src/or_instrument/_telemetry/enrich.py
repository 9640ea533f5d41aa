"""Writes a finished `Call` onto the span that another instrumentation made of the same call.

Such a span is found in the context: as the inference data of opentelemetry-util-genai (which asks everybody inside to
make no second span, and merges its `attributes` into the span it ends), or as a current span that says it is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,
    Context,
    create_key,
    get_current,
    set_value,
)
from opentelemetry.trace import Span, get_current_span

from or_instrument._records import AttributeValue, Call, Request
from or_instrument._telemetry.names import OPERATION, SPEND
from or_instrument._telemetry.span import Spans, end_attributes

SUPPRESS_KEYS: Final = (
    _SUPPRESS_INSTRUMENTATION_KEY,
    "suppress_instrumentation",
    "suppress_language_model_instrumentation",
)
_THEIRS: Final = create_key("or_instrument.theirs")
_INFERENCE_DATA: Final = "opentelemetry.genai.client.inference.context"
_EMBEDDING_DATA: Final = "opentelemetry.genai.client.embedding.context"
_DATA_KEYS: Final[Mapping[str, str]] = {
    "chat": _INFERENCE_DATA,
    "text_completion": _INFERENCE_DATA,
    "embeddings": _EMBEDDING_DATA,
}
_INFERENCE_WORDS: Final = frozenset(("chat", "text_completion", "completion", "generate_content", "embeddings"))
_INFERENCE_KINDS: Final = frozenset(("LLM", "EMBEDDING"))


class Theirs(NamedTuple):
    """What another instrumentation has made of a call."""

    span: Span
    attributes: dict[str, AttributeValue] | None
    """The attributes of util-genai's inference data, which it puts on the span itself."""
    has_metrics: bool
    """Whether it records the convention's metrics, so that ours would count the call twice."""

    @property
    def is_open(self) -> bool:
        """Whether what is written now is still seen."""
        return self.span.is_recording() or (self.attributes is not None and not self.span.get_span_context().is_valid)

    @property
    def has_spend(self) -> bool:
        """Whether it has the spend of another call that was made inside it."""
        return SPEND in (self.attributes or ()) or SPEND in (getattr(self.span, "attributes", None) or ())


class Enricher:
    """The span sink where another instrumentation may have made the span.

    With `always` it writes on theirs wherever there is one. Otherwise `own` does the work, except where theirs is one
    that asks for no second: util-genai's, or one that suppresses instrumentation inside. The spend of every billed call
    is on exactly one span: one of ours is made where theirs has ended by the time it is known or has that of another
    call, or where there was none.
    """

    def __init__(self, own: Spans, *, always: bool) -> None:
        self._own = own
        self._always = always

    def open(self, request: Request, started_ns: int) -> Context:
        """Return the context for the call: with their span or with a new one."""
        context = get_current()
        if context:
            theirs = _in_data(context, request.operation)
            if theirs is None and (self._always or is_suppressed(context)):
                theirs = _current(context)
            if theirs is not None:
                return set_value(_THEIRS, theirs, context)
            if theirs_in(context) is not None:  # of a call around this one
                context = set_value(_THEIRS, None, context)
        return context if self._always else self._own.open(request, started_ns, context)

    def look_inside(self, context: Context) -> Context:
        """Return the context to record in, as seen from inside the SDK: another instrumentation may be between."""
        if theirs_in(context) is not None:
            return context
        inside = get_current()
        theirs = _current(inside)
        return context if theirs is None else set_value(_THEIRS, theirs, inside)

    def __call__(self, call: Call) -> None:
        """Write the call on the span that was found; end none but our own."""
        theirs = theirs_in(call.context)
        if call.recovers is not None or (theirs is None and not self._always):
            self._own(call)
        elif theirs is not None and theirs.is_open and not (call.spend is not None and theirs.has_spend):
            self._write(theirs, call)
        elif call.spend is not None:
            context: Context = call.context  # type: ignore[assignment]
            self._own(call._replace(context=self._own.open(call.request, call.started_ns, context)))

    def _write(self, theirs: Theirs, call: Call) -> None:
        attributes = {
            **{key: value for key, value in call.request.parameters.items() if key.startswith("openrouter.")},
            **call.request.attributes,
            **end_attributes(call, self._own.spend_names),
        }
        if theirs.attributes is not None:
            theirs.attributes.update(attributes)
        if theirs.span.is_recording():
            self._own.write(theirs.span, call, attributes)


def theirs_in(context: object) -> Theirs | None:
    """Return what was found when the call began, `None` where the call has a span of ours or none."""
    return context.get(_THEIRS) if isinstance(context, Context) else None  # type: ignore[return-value]


def is_suppressed(context: Context) -> bool:
    """Return whether one of the known keys asks for no instrumentation."""
    for key in SUPPRESS_KEYS:  # noqa: SIM110 - a generator costs as much as all the rest
        if context.get(key):
            return True
    return False


def is_unwanted(context: Context) -> bool:
    """Return whether the user wants nothing recorded.

    An instrumentation may suppress all others for the time of its own span, so that there is no second one; then the
    call is recorded, onto that span. OpenTelemetry's own do not, but some make their span in suppressed code too.
    """
    if not is_suppressed(context):
        return False
    theirs = _current(context)
    return theirs is None or theirs.has_metrics


def _in_data(context: Context, operation: str) -> Theirs | None:
    key = _DATA_KEYS.get(operation)
    attributes = getattr(context.get(key), "attributes", None) if key else None
    return Theirs(get_current_span(context), attributes, has_metrics=True) if isinstance(attributes, dict) else None


def _current(context: Context) -> Theirs | None:
    span: Any = get_current_span(context)
    attributes: Mapping[str, object] | None = getattr(span, "attributes", None)
    if not attributes or not span.is_recording() or not _is_inference(attributes):
        return None
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", "")
    # Those of OpenTelemetry's naming record its metrics; OpenInference and Logfire record none.
    return Theirs(span, None, has_metrics=scope.startswith("opentelemetry.instrumentation."))


def _is_inference(attributes: Mapping[str, object]) -> bool:
    return (
        attributes.get(OPERATION) in _INFERENCE_WORDS
        or attributes.get("openinference.span.kind") in _INFERENCE_KINDS
        or "llm.request.type" in attributes
    )
