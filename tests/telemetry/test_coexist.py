"""Beside other instrumentations of the OpenAI SDK, each installed for real, ours before theirs and after.

Every case runs in a process of its own, since some of them cannot be taken off again.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import pytest
from fresh_install import environ

PROGRAM: Final = """
import asyncio, gc, json, sys, warnings
warnings.simplefilter("ignore")
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
processor = SimpleSpanProcessor(exporter)
tracers = TracerProvider()
tracers.add_span_processor(processor)
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([reader]))

import or_instrument
from or_instrument.testing import FakeOpenRouter, errors
calls = []

def ours():
    or_instrument.instrument(hosts="127.0.0.1", spans=MODE, sinks=[calls.append])

def theirs():
    THEIRS

(ours(), theirs()) if IS_FIRST else (theirs(), ours())
AFTER

import openai
asked = dict(model="vendor/model", messages=[{"role": "user", "content": "hi"}])

def ask(client, kind):
    if kind == "chat":
        assert type(client.chat.completions.create(**asked)) is openai.types.chat.ChatCompletion
    elif kind == "stream":
        chunks = list(client.chat.completions.create(stream=True, **asked))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    elif kind == "closed":
        stream = client.chat.completions.create(stream=True, **asked)
        next(iter(stream))
        stream.close()
    elif kind == "responses":
        client.responses.create(model="vendor/model", input="hi")
    elif kind == "responses stream":
        events = list(client.responses.create(model="vendor/model", input="hi", stream=True))
        assert events[-1].type == "response.completed"
    elif kind == "helper":
        with client.chat.completions.stream(**asked) as stream:
            assert stream.get_final_completion().choices
    elif kind == "async":
        asyncio.run(aask())
    elif kind == "async stream":
        asyncio.run(aask(stream=True))
    elif kind == "raw stream":
        list(client.chat.completions.with_raw_response.create(stream=True, **asked).parse())
    elif kind == "embeddings":
        client.embeddings.create(model="vendor/model", input="hi")
    elif kind == "raw":
        assert client.chat.completions.with_raw_response.create(**asked).parse().choices
    elif kind == "suppressed":
        from opentelemetry.instrumentation.utils import suppress_instrumentation
        with suppress_instrumentation():
            client.chat.completions.create(**asked)
    elif kind == "error":
        fake.script(errors.insufficient_credits())
        try:
            client.chat.completions.create(**asked)
        except openai.APIStatusError as exc:
            assert exc.status_code == 402
        else:
            raise AssertionError("no error")

async def aask(stream=False):
    async with openai.AsyncOpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0) as client:
        answer = await client.chat.completions.create(stream=stream, **asked)
        if stream:
            assert [chunk async for chunk in answer]

def points():
    data = reader.get_metrics_data()
    return [
        (scope.scope.name, metric.name, getattr(point, "sum", None) or getattr(point, "value", 0))
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]

with FakeOpenRouter() as fake:
    client = openai.OpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0)
    told = {}
    for kind in KINDS:
        exporter.clear()
        calls.clear()
        before = fake.charged_usd
        ask(client, kind)
        gc.collect()
        or_instrument.flush()
        told[kind] = {
            "spans": [
                {
                    "scope": span.instrumentation_scope.name,
                    "status": span.status.status_code.name,
                    "attributes": {k: v for k, v in (span.attributes or {}).items() if isinstance(v, (float, str))},
                }
                for span in exporter.get_finished_spans()
            ],
            "calls": [[call.outcome, call.spend] for call in calls],
            "charged": float(fake.charged_usd - before),
        }
    told["points"] = points()
    told["charged"] = float(fake.charged_usd)
print(json.dumps(told))
"""
BILLED: Final = (
    *("chat", "stream", "helper", "raw", "raw stream", "async", "async stream"),
    *("responses", "responses stream", "embeddings"),
)
"""Ten shapes of calls whose cost is known."""
SPEND: Final = "openrouter.usage.spend"
KINDS: Final = (*BILLED, "closed", "error", "suppressed")


class Other(NamedTuple):
    """An instrumentation, how it is switched on, and what it cannot give."""

    module: str
    code: str
    scope: str
    has_metrics: bool = False
    ended_early: tuple[str, ...] = ()
    """Kinds of calls whose span has ended when their cost is known."""
    made_late: tuple[str, ...] = ()
    """Kinds of calls whose span is made when they are over, so that nobody else sees it."""
    asks_for_one_span: tuple[bool, ...] = ()
    """Whether it asks others to make none: when ours was switched on first, when it was not, or both."""


INSTRUMENTOR: Final = "from {} import OpenAIInstrumentor; OpenAIInstrumentor().instrument()"
LOGFIRE: Final = (
    "import logfire; logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[processor]); "
    "logfire.instrument_openai({})"
)
STREAMS: Final = ("stream", "helper", "raw stream", "async stream", "responses stream")
OTHERS: Final = {
    "genai": Other(
        "opentelemetry.instrumentation.genai.openai",
        INSTRUMENTOR.format("opentelemetry.instrumentation.genai.openai"),
        "opentelemetry.instrumentation.genai.openai",
        has_metrics=True,
        ended_early=("responses stream",),
        asks_for_one_span=(True, False),
    ),
    "openllmetry": Other(
        "opentelemetry.instrumentation.openai.v1",
        INSTRUMENTOR.format("opentelemetry.instrumentation.openai"),
        "opentelemetry.instrumentation.openai.v1",
        has_metrics=True,
        ended_early=("raw stream",),
        made_late=("responses", "responses stream"),
    ),
    "openinference": Other(
        "openinference.instrumentation.openai",
        INSTRUMENTOR.format("openinference.instrumentation.openai"),
        "openinference.instrumentation.openai",
    ),
    "logfire": Other(
        "logfire", LOGFIRE.format("suppress_other_instrumentation=False"), "logfire.openai", ended_early=STREAMS
    ),
    "logfire, suppressing": Other(
        "logfire", LOGFIRE.format(""), "logfire.openai", ended_early=STREAMS, asks_for_one_span=(True,)
    ),
}


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run(
    theirs: str, mode: str, is_first: bool, kinds: tuple[str, ...], *, after: str = "", last: str = ""
) -> tuple[Any, str]:
    """Run the program beside an instrumentation; return what it tells in its last line, and what it warned of."""
    code = PROGRAM.replace("THEIRS", theirs).replace("AFTER", after)
    if last:
        code = code.replace("print(json.dumps(told))", last)
    command = [sys.executable, "-c", f"MODE, IS_FIRST, KINDS = {mode!r}, {is_first!r}, {kinds!r}\n{code}"]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@cache
def told(name: str, mode: str, is_first: bool) -> Mapping[str, Any]:
    """Return what the program tells of all kinds of calls; skip where the instrumentation is not installed."""
    other = OTHERS[name]
    if not _is_installed(other.module):
        pytest.skip(f"{other.module} is not installed")
    said, _ = run(other.code, mode, is_first, KINDS)
    return dict(said)


@pytest.fixture(params=[True, False], ids=["ours first", "theirs first"])
def is_first(request: pytest.FixtureRequest) -> bool:
    """Return whether ours is switched on before theirs."""
    return bool(request.param)


@pytest.mark.parametrize("mode", ["own", "enrich"])
@pytest.mark.parametrize("name", OTHERS)
def test_every_call_is_recorded_once(name: str, mode: str, is_first: bool) -> None:
    """Sinks get each call once with its true cost, the cost metric has the true sum, and nothing raises."""
    said = told(name, mode, is_first)
    for kind in BILLED:
        assert said[kind]["calls"] == [["complete", pytest.approx(said[kind]["charged"])]], kind
    assert [outcome for outcome, _spend in said["closed"]["calls"]] == ["closed"]
    assert [outcome for outcome, _spend in said["error"]["calls"]] == ["error"]
    assert said["suppressed"]["calls"] == []
    spent = sum(value for scope, metric, value in said["points"] if metric == "gen_ai.usage.cost")
    known = sum(said[kind]["charged"] for kind in KINDS if kind not in ("closed", "suppressed"))
    assert spent == pytest.approx(known)


@pytest.mark.parametrize("mode", ["own", "enrich"])
@pytest.mark.parametrize("name", OTHERS)
def test_exactly_one_span_carries_the_spend(name: str, mode: str, is_first: bool) -> None:
    """Of each billed call, whatever it is and in whatever order the two were switched on: a sum over spans is right."""
    said = told(name, mode, is_first)
    carried = {
        kind: [s["attributes"][SPEND] for s in said[kind]["spans"] if SPEND in s["attributes"]] for kind in BILLED
    }
    assert carried == {kind: [pytest.approx(said[kind]["charged"])] for kind in BILLED}


@pytest.mark.parametrize("name", OTHERS)
def test_enrich_writes_on_theirs(name: str, is_first: bool) -> None:
    """There is a span of ours only for calls whose own span nobody else can write on when their cost is known."""
    said, other = told(name, "enrich", is_first), OTHERS[name]
    for kind in BILLED:
        spans = said[kind]["spans"]
        without = kind in (*other.ended_early, *other.made_late)
        carrying = [span["scope"] for span in spans if SPEND in span["attributes"]]
        assert carrying == ["or_instrument" if without else other.scope], kind
        assert {span["scope"] for span in spans} - set(carrying) == ({other.scope} if without else set()), kind


@pytest.mark.parametrize("name", OTHERS)
def test_an_error_is_told_on_their_span(name: str) -> None:
    """OpenRouter's error code is on their span too, where ours was switched on first."""
    said = told(name, "enrich", True)
    (span,) = said["error"]["spans"]
    assert span["scope"] == OTHERS[name].scope
    assert span["attributes"]["openrouter.error.code"] == "402"
    assert span["status"] == "ERROR"


@pytest.mark.parametrize("name", OTHERS)
def test_own_writes_on_ours(name: str, is_first: bool) -> None:
    """In own mode the spend is on a span of ours, or on theirs where it asks for no second and is still there."""
    said, other = told(name, "own", is_first), OTHERS[name]
    for kind in BILLED:
        on_theirs = is_first in other.asks_for_one_span and kind not in other.ended_early
        (span,) = [span for span in said[kind]["spans"] if SPEND in span["attributes"]]
        assert span["scope"] == (other.scope if on_theirs else "or_instrument"), kind


@pytest.mark.parametrize("name", OTHERS)
def test_enrich_repeats_no_metric_of_theirs(name: str, is_first: bool) -> None:
    """The convention's metrics of an enriched call are theirs where they record them, otherwise ours."""
    said, other = told(name, "enrich", is_first), OTHERS[name]
    scopes = {scope for scope, metric, _value in said["points"] if metric == "gen_ai.client.token.usage"}
    ours = {"or_instrument"} if other.made_late or not other.has_metrics else set()
    assert scopes == ours | ({other.scope} if other.has_metrics else set())


def test_an_uninstrument_that_takes_ours_with_it_is_mended() -> None:
    """OpenInference, switched on before us and off after, restores the plain SDK: noticed at the next look, mended."""
    other = OTHERS["openinference"]
    if not _is_installed(other.module):
        pytest.skip(f"{other.module} is not installed")
    off = "from openinference.instrumentation.openai import OpenAIInstrumentor; OpenAIInstrumentor().uninstrument()"
    after = f"{off}\nassert not or_instrument.is_instrumented()\nours()\nassert or_instrument.is_instrumented()"
    said, warned = run(other.code, "own", is_first=False, kinds=("chat", "stream", "async"), after=after)
    assert warned.count("another library had taken our patch off") == 1
    for kind in ("chat", "stream", "async"):
        assert said[kind]["calls"] == [["complete", pytest.approx(said[kind]["charged"])]]
        assert [SPEND in span["attributes"] for span in said[kind]["spans"]] == [True]


def test_http_spans_are_inside_ours() -> None:
    """The span of the HTTP client's instrumentation is a child of ours, and there is one of each."""
    if not _is_installed("opentelemetry.instrumentation.httpx"):
        pytest.skip("opentelemetry-instrumentation-httpx is not installed")
    theirs = (
        "from opentelemetry.instrumentation import httpx as h; "
        "getattr(h, 'HTTPX2ClientInstrumentor', h.HTTPXClientInstrumentor)().instrument()"
    )
    last = (
        "spans = exporter.get_finished_spans()\n"
        "print(json.dumps([(s.name, s.context.span_id, s.parent and s.parent.span_id) for s in spans]))"
    )
    (http, ours), _ = run(theirs, "own", is_first=True, kinds=("stream",), last=last)
    assert (http[0], ours[0]) == ("POST", "chat vendor/model")
    assert http[2] == ours[1]
