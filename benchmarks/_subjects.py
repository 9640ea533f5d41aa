"""What is compared: the same three calls, made plainly, by a hand-written recorder, or with a plugin switched on."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from _canned import EMBEDDING_MODEL, MODEL
from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter, MeterProvider
from opentelemetry.trace import Span, SpanKind, TracerProvider

PROMPT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]
SCENARIOS = {
    "chat": "chat",
    "embeddings": "embeddings",
    "stream of 200": "stream",
    "broken off": "broken",
    "stream of 1,000": "stream",
    "10 MB of vectors": "vectors",
    "10 MB image": "chat",
}
"""The kinds of calls, each by the method of `Calls` that makes one."""


class Calls:
    """The calls of an application that records nothing itself."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def chat(self) -> None:
        self._client.chat.completions.create(messages=PROMPT, model=MODEL, temperature=0.5, max_tokens=64)

    def embeddings(self) -> None:
        self._client.embeddings.create(input="hello", model=EMBEDDING_MODEL, encoding_format="float")

    def vectors(self) -> None:
        self._client.embeddings.create(input=["hello"] * 1_220, model=EMBEDDING_MODEL)

    def open(self) -> Stream[ChatCompletionChunk]:
        create = self._client.chat.completions.create
        return create(messages=PROMPT, model=MODEL, temperature=0.5, max_tokens=64, stream=True)

    def stream(self) -> None:
        for _ in self.open():
            pass

    def broken(self) -> None:
        for _ in self.open():
            break

    def closed(self) -> None:
        stream = self.open()
        next(stream)
        stream.close()


# The recorder writes what ours writes for the same answer; overhead.py shows whether it still does.
_Attributes = dict[str, str | int | float | bool | tuple[str, ...]]
_START: _Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openrouter",
    "gen_ai.request.model": MODEL,
    "server.address": "openrouter.ai",
    "server.port": 443,
    "openrouter.client": "openai",
}
_START_CHAT: _Attributes = {**_START, "gen_ai.request.temperature": 0.5, "gen_ai.request.max_tokens": 64}
_START_STREAM: _Attributes = {**_START_CHAT, "gen_ai.request.stream": True}
_START_EMBEDDINGS: _Attributes = {**_START, "gen_ai.request.encoding_formats": ("float",)}
_EMBEDDINGS: _Attributes = {
    "gen_ai.response.model": MODEL,
    "gen_ai.usage.input_tokens": 194,
    "openrouter.usage.cost": 0.0012,
    "openrouter.usage.is_byok": False,
    "openrouter.usage.spend": 0.0012,
    "gen_ai.usage.cost": 0.0012,
    "openrouter.usage.source": "response",
    "openrouter.provider.name": "OpenAI",
}
_CHAT: _Attributes = {
    **_EMBEDDINGS,
    "gen_ai.response.id": "gen-1790000000-abcdefghijklmnopqrst",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.output_tokens": 25,
    "gen_ai.usage.cache_read.input_tokens": 0,
    "gen_ai.usage.reasoning.output_tokens": 0,
    "openrouter.usage.cost_details.upstream_inference_cost": 0.0012,
    "openrouter.response.native_finish_reasons": ("stop",),
}
_STREAM: _Attributes = {
    **_CHAT,
    "openrouter.stream.outcome": "complete",
    "gen_ai.response.time_to_first_chunk": 0.2,
}
_BROKEN: _Attributes = {
    "gen_ai.response.id": "gen-1790000000-abcdefghijklmnopqrst",
    "gen_ai.response.model": MODEL,
    "openrouter.provider.name": "OpenAI",
    "openrouter.stream.outcome": "abandoned",
    "gen_ai.response.time_to_first_chunk": 0.2,
}
_UNPRICED: dict[str, str | bool] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openrouter",
    "gen_ai.request.model": MODEL,
    "gen_ai.response.model": MODEL,
    "openrouter.provider.name": "OpenAI",
}
_MISSING = {**_UNPRICED, "openrouter.missing.reason": "abandoned"}
_LABELS: dict[str, str | bool] = {**_UNPRICED, "openrouter.usage.is_byok": False}
_INPUT = {**_LABELS, "gen_ai.token.type": "input"}
_OUTPUT = {**_LABELS, "gen_ai.token.type": "output"}
_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4.0**n for n in range(14)]
_USD = [step * 10.0**power for power in range(-6, 3) for step in (1, 2.5, 5)][:-2]


class Recorder(Calls):
    """What a careful engineer would write by hand: the OpenTelemetry calls alone, with constant values."""

    def __init__(self, client: OpenAI, tracers: TracerProvider, meters: MeterProvider) -> None:
        super().__init__(client)
        self._tracer = tracers.get_tracer("recorder")
        meter = meters.get_meter("recorder")
        self._duration = _histogram(meter, "gen_ai.client.operation.duration", "s", _SECONDS)
        self._first = _histogram(meter, "gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS)
        self._tokens = _histogram(meter, "gen_ai.client.token.usage", "{token}", _TOKENS)
        self._cost = _histogram(meter, "gen_ai.usage.cost", "USD", _USD)
        self._missing = meter.create_counter("openrouter.usage.missing", "{call}")

    def chat(self) -> None:
        self._record(super().chat, _START_CHAT, _CHAT)

    def embeddings(self) -> None:
        self._record(super().embeddings, _START_EMBEDDINGS, _EMBEDDINGS)

    def stream(self) -> None:
        self._record(super().stream, _START_STREAM, _STREAM)

    def broken(self) -> None:
        self._record(super().broken, _START_STREAM, _BROKEN)

    def closed(self) -> None:
        self._record(super().closed, _START_STREAM, _BROKEN)

    def _record(self, call: Callable[[], None], start: _Attributes, end: _Attributes) -> None:
        began = time.perf_counter()
        span, around = self.begin(start)
        token = context.attach(around)
        try:
            call()
        finally:
            context.detach(token)
        self.end(span, around, end, began)

    def begin(self, start: _Attributes = _START_STREAM) -> tuple[Span, Context]:
        """Start the span of a call; a stream's, unless another is asked for."""
        span = self._tracer.start_span(f"chat {MODEL}", kind=SpanKind.CLIENT, attributes=start)
        return span, trace.set_span_in_context(span)

    def end(self, span: Span, around: Context, end: _Attributes = _STREAM, began: float = 0.0) -> None:
        """Record a call, and end its span."""
        span.set_attributes(end)
        labels = _UNPRICED if end is _BROKEN else _LABELS
        self._duration.record(time.perf_counter() - began, labels, context=around)
        if end is _BROKEN or end is _STREAM:
            self._first.record(0.2, labels, context=around)
        if end is _BROKEN:
            self._missing.add(1, _MISSING, context=around)
        else:
            self._tokens.record(194, _INPUT, context=around)
            self._cost.record(0.0012, labels, context=around)
        if end is _CHAT or end is _STREAM:
            self._tokens.record(25, _OUTPUT, context=around)
        span.end()


def _histogram(meter: Meter, name: str, unit: str, boundaries: list[float]) -> Histogram:
    return meter.create_histogram(name, unit=unit, explicit_bucket_boundaries_advisory=boundaries)


def build(name: str, client: OpenAI, tracers: TracerProvider, meters: MeterProvider, **options: Any) -> Calls:
    """Return the calls of one subject, its plugin switched on in this process; `options` are for ours.

    Raises:
        LookupError: the environment holds no instrumentor for the OpenAI SDK.

    """
    if name.startswith("recorder"):
        return Recorder(client, tracers, meters)
    if name.startswith("or_instrument"):
        content = "span_only" if name.endswith("content") else "no_content"
        package = importlib.import_module("or_instrument")
        package.instrument(tracer_provider=tracers, meter_provider=meters, content=content, **options)
    elif name == "logfire":
        importlib.import_module("logfire").instrument_openai()
    elif not name.startswith("plain"):
        _instrumentor().instrument(tracer_provider=tracers, meter_provider=meters)
    return Calls(client)


def _instrumentor() -> Any:
    found = [entry for entry in entry_points(group="opentelemetry_instrumentor") if entry.name == "openai"]
    if not found:
        raise LookupError("no instrumentor named 'openai' is installed here; --peers DIR makes environments with one")
    return found[0].load()()
