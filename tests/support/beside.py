"""A process that makes calls beside other instrumentations and tells, as JSON in its last line, what each call left.

python beside.py '{"mode": "own", "phases": [["ours()", []], ["...", ["chat"]]]}'

Each phase is code that is run, such as what switches another instrumentation on, and the kinds of calls that are made
after it. The code finds here `ours`, which switches ours on, and for the others' sake `sink`, the URL of a server on
`port` that takes whatever they export; `processor`, which keeps the spans, for a tracer provider of their own;
`tracers`, the provider that is set; `wrap`, a list of functions that each client is passed through; and `settle`, a
list of functions that wait for what another instrumentation does after a call.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any, Final

import openai
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import or_instrument
from or_instrument.testing import FakeOpenRouter, errors

MODEL: Final = "vendor/model"
MESSAGES: Final[Any] = [{"role": "user", "content": "hi"}]
ASKED: Final[dict[str, Any]] = {"model": MODEL, "messages": MESSAGES}

exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
processor = SimpleSpanProcessor(exporter)
tracers = TracerProvider()
calls: list[or_instrument.Call] = []
wrap: list[Callable[[Any], Any]] = []
settle: list[Callable[[], object]] = []


class Sink(BaseHTTPRequestHandler):
    """Takes whatever another instrumentation exports."""

    def do_POST(self) -> None:
        """Answer an empty object."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_PUT = do_PATCH = do_POST  # noqa: N815 (the names that the base class looks for)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def client(fake: FakeOpenRouter, kind: type[Any] = openai.OpenAI) -> Any:
    """Return a client as the other instrumentation wants it."""
    made = kind(api_key="sk-or-test", base_url=fake.base_url, max_retries=0)
    for wrapped in wrap:
        made = wrapped(made)
    return made


def chat(fake: FakeOpenRouter) -> None:
    """Make a plain call."""
    answer = client(fake).chat.completions.create(**ASKED)
    assert type(answer) is openai.types.chat.ChatCompletion


def stream(fake: FakeOpenRouter) -> None:
    """Read a stream to its end."""
    chunks = list(client(fake).chat.completions.create(stream=True, **ASKED))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def closed(fake: FakeOpenRouter) -> None:
    """Close a stream after its first chunk."""
    answer = client(fake).chat.completions.create(stream=True, **ASKED)
    next(iter(answer))
    answer.close()


def helper(fake: FakeOpenRouter) -> None:
    """Read a stream by the SDK's helper."""
    with client(fake).chat.completions.stream(**ASKED) as answer:
        assert answer.get_final_completion().choices


def raw(fake: FakeOpenRouter) -> None:
    """Parse a raw response."""
    assert client(fake).chat.completions.with_raw_response.create(**ASKED).parse().choices


def raw_stream(fake: FakeOpenRouter) -> None:
    """Parse a raw response that is a stream."""
    assert list(client(fake).chat.completions.with_raw_response.create(stream=True, **ASKED).parse())


def responses(fake: FakeOpenRouter) -> None:
    """Ask the Responses API."""
    client(fake).responses.create(model=MODEL, input="hi")


def responses_stream(fake: FakeOpenRouter) -> None:
    """Ask the Responses API for a stream."""
    events = list(client(fake).responses.create(model=MODEL, input="hi", stream=True))
    assert events[-1].type == "response.completed"


def embeddings(fake: FakeOpenRouter) -> None:
    """Ask for a vector."""
    client(fake).embeddings.create(model=MODEL, input="hi")


def suppressed(fake: FakeOpenRouter) -> None:
    """Make a call that OpenTelemetry is told not to see."""
    with import_module("opentelemetry.instrumentation.utils").suppress_instrumentation():
        chat(fake)


def error(fake: FakeOpenRouter) -> None:
    """Make a call that is refused."""
    fake.script(errors.insufficient_credits())
    with pytest.raises(openai.APIStatusError) as raised:
        chat(fake)
    assert raised.value.status_code == 402


def achat(fake: FakeOpenRouter) -> None:
    """Make a plain call of the async client."""

    async def ask() -> None:
        async with client(fake, openai.AsyncOpenAI) as made:
            await made.chat.completions.create(**ASKED)

    asyncio.run(ask())


def astream(fake: FakeOpenRouter) -> None:
    """Read a stream of the async client."""

    async def ask() -> None:
        async with client(fake, openai.AsyncOpenAI) as made:
            assert [chunk async for chunk in await made.chat.completions.create(stream=True, **ASKED)]

    asyncio.run(ask())


def anthropic_client(fake: FakeOpenRouter) -> Any:
    """Return a client of Anthropic's SDK."""
    url = fake.base_url.removesuffix("/v1")
    return import_module("anthropic").Anthropic(api_key="any", base_url=url, max_retries=0)


def anthropic(fake: FakeOpenRouter) -> None:
    """Ask through Anthropic's SDK."""
    with anthropic_client(fake) as made:
        made.messages.create(max_tokens=9, **ASKED)


def anthropic_stream(fake: FakeOpenRouter) -> None:
    """Read a stream of Anthropic's SDK."""
    with anthropic_client(fake) as made:
        assert list(made.messages.create(max_tokens=9, stream=True, **ASKED))


def litellm(fake: FakeOpenRouter, **options: Any) -> Any:
    """Ask through LiteLLM."""
    ask = import_module("litellm").completion
    return ask(f"openrouter/{MODEL}", MESSAGES, api_base=fake.base_url, api_key="any", num_retries=0, **options)


def litellm_stream(fake: FakeOpenRouter) -> None:
    """Read a stream of LiteLLM."""
    assert list(litellm(fake, stream=True))


def httpx(fake: FakeOpenRouter) -> None:
    """Ask by httpx."""
    import_module("httpx").post(f"{fake.base_url}/chat/completions", json=ASKED).raise_for_status()


def requests(fake: FakeOpenRouter) -> None:
    """Ask by requests."""
    import_module("requests").post(f"{fake.base_url}/chat/completions", json=ASKED, timeout=60).raise_for_status()


def aiohttp(fake: FakeOpenRouter) -> None:
    """Ask by aiohttp."""

    async def ask() -> None:
        url = f"{fake.base_url}/chat/completions"
        async with import_module("aiohttp").ClientSession() as session, session.post(url, json=ASKED) as answer:
            assert (await answer.json())["choices"]

    asyncio.run(ask())


def points() -> Iterator[tuple[str, str, float]]:
    """Yield scope, name and sum of each metric point."""
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = getattr(point, "sum", None) or getattr(point, "value", 0)
                    yield scope.scope.name, metric.name, value


def shown(span: ReadableSpan) -> dict[str, Any]:
    """Return of a span what can be written as JSON."""
    assert span.instrumentation_scope
    assert span.context
    return {
        "scope": span.instrumentation_scope.name,
        "name": span.name,
        "id": span.context.span_id,
        "parent": span.parent and span.parent.span_id,
        "status": span.status.status_code.name,
        "attributes": {k: v for k, v in (span.attributes or {}).items() if isinstance(v, (float, str))},
    }


def told(fake: FakeOpenRouter, kind: str) -> dict[str, Any]:
    """Make a call; return the spans and records that it left, and what the service charged for it."""
    exporter.clear()
    calls.clear()
    before = fake.charged_usd
    globals()[kind](fake)
    for wait in settle:
        wait()
    gc.collect()
    or_instrument.flush()
    return {
        "spans": [shown(span) for span in exporter.get_finished_spans()],
        "calls": [[call.outcome, call.spend] for call in calls],
        "charged": float(fake.charged_usd - before),
    }


def phase(fake: FakeOpenRouter, code: str, kinds: list[str], names: dict[str, Any]) -> dict[str, Any]:
    """Run the code and make the calls; return what each left, and what all metric points tell by now."""
    exec(code, names)  # noqa: S102 (the test's own code)
    said: dict[str, Any] = {kind: told(fake, kind) for kind in kinds}
    return {**said, "is_instrumented": or_instrument.is_instrumented(), "points": list(points())}


def main() -> None:
    """Run the phases and print what they left."""
    warnings.simplefilter("ignore")
    order = json.loads(sys.argv[1])
    tracers.add_span_processor(processor)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([reader]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ours() -> None:
        or_instrument.instrument(hosts="127.0.0.1", spans=order["mode"], sinks=[calls.append])

    names = {**globals(), "ours": ours, "sink": f"http://127.0.0.1:{server.server_port}", "port": server.server_port}
    with FakeOpenRouter() as fake:
        said = [phase(fake, code, kinds, names) for code, kinds in order["phases"]]
    print(json.dumps(said), flush=True)
    os._exit(0)  # what others hold they would try to send for minutes


if __name__ == "__main__":
    main()
