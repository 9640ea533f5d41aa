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
import json, sys, gc, warnings
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
KINDS: Final = ("chat", "stream", "closed", "responses", "embeddings", "raw", "error", "suppressed")


class Other(NamedTuple):
    """An instrumentation, how it is switched on, and what it cannot give."""

    module: str
    code: str
    scope: str
    has_metrics: bool = False
    ended_early: tuple[str, ...] = ()
    """Kinds of calls whose span is made or ended when our data is not there, so that it cannot be enriched."""
    asks_for_one_span: bool = False


INSTRUMENTOR: Final = "from {} import OpenAIInstrumentor; OpenAIInstrumentor().instrument()"
OTHERS: Final = {
    "genai": Other(
        "opentelemetry.instrumentation.genai.openai",
        INSTRUMENTOR.format("opentelemetry.instrumentation.genai.openai"),
        "opentelemetry.instrumentation.genai.openai",
        has_metrics=True,
        asks_for_one_span=True,
    ),
    "openllmetry": Other(
        "opentelemetry.instrumentation.openai.v1",
        INSTRUMENTOR.format("opentelemetry.instrumentation.openai"),
        "opentelemetry.instrumentation.openai.v1",
        has_metrics=True,
        ended_early=("responses",),
    ),
    "openinference": Other(
        "openinference.instrumentation.openai",
        INSTRUMENTOR.format("openinference.instrumentation.openai"),
        "openinference.instrumentation.openai",
    ),
    "logfire": Other(
        "logfire",
        "import logfire; logfire.configure(send_to_logfire=False, console=False, "
        "additional_span_processors=[processor]); logfire.instrument_openai(suppress_other_instrumentation=False)",
        "logfire.openai",
        ended_early=("stream", "closed"),
    ),
}


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@cache
def told(name: str, mode: str, is_first: bool) -> Mapping[str, Any]:
    """Run the program beside an instrumentation and return what it tells; skip where that is not installed."""
    other = OTHERS[name]
    if not _is_installed(other.module):
        pytest.skip(f"{other.module} is not installed")
    code = PROGRAM.replace("THEIRS", other.code)
    head = f"MODE, IS_FIRST, KINDS = {mode!r}, {is_first!r}, {KINDS!r}\n"
    command = [sys.executable, "-c", head + code]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(params=[True, False], ids=["ours first", "theirs first"])
def is_first(request: pytest.FixtureRequest) -> bool:
    """Return whether ours is switched on before theirs."""
    return bool(request.param)


@pytest.mark.parametrize("mode", ["own", "enrich"])
@pytest.mark.parametrize("name", OTHERS)
def test_every_call_is_recorded_once(name: str, mode: str, is_first: bool) -> None:
    """Sinks get each call once with its true cost, the cost metric has the true sum, and nothing raises."""
    said = told(name, mode, is_first)
    for kind in set(KINDS) - {"closed", "error", "suppressed"}:
        assert said[kind]["calls"] == [["complete", pytest.approx(said[kind]["charged"])]], kind
    assert [outcome for outcome, _spend in said["closed"]["calls"]] == ["closed"]
    assert [outcome for outcome, _spend in said["error"]["calls"]] == ["error"]
    assert said["suppressed"]["calls"] == []
    spent = sum(value for scope, metric, value in said["points"] if metric == "gen_ai.usage.cost")
    known = sum(said[kind]["charged"] for kind in KINDS if kind not in ("closed", "suppressed"))
    assert spent == pytest.approx(known)


@pytest.mark.parametrize("name", OTHERS)
def test_enrich_makes_no_span_and_writes_on_theirs(name: str, is_first: bool) -> None:
    """In enrich mode there is no span of ours, and the cost is on theirs, streams included."""
    said, other = told(name, "enrich", is_first), OTHERS[name]
    for kind in ("chat", "stream", "responses", "embeddings", "raw"):
        spans = said[kind]["spans"]
        assert {span["scope"] for span in spans} == {other.scope}, kind
        if kind not in other.ended_early:
            (span,) = spans
            assert span["attributes"]["openrouter.usage.cost"] == pytest.approx(said[kind]["charged"]), kind
            assert span["attributes"]["gen_ai.usage.cost"] == pytest.approx(said[kind]["charged"]), kind


@pytest.mark.parametrize("name", OTHERS)
def test_an_error_is_told_on_their_span(name: str) -> None:
    """OpenRouter's error code is on their span too, where ours was switched on first."""
    said = told(name, "enrich", True)
    (span,) = said["error"]["spans"]
    assert span["scope"] == OTHERS[name].scope
    assert span["attributes"]["openrouter.error.code"] == "402"
    assert span["status"] == "ERROR"


@pytest.mark.parametrize("name", OTHERS)
def test_own_makes_one_span_a_call(name: str, is_first: bool) -> None:
    """In own mode each call has one span with our attributes: ours, or theirs where it asks for no second."""
    said, other = told(name, "own", is_first), OTHERS[name]
    scope = other.scope if other.asks_for_one_span else "or_instrument"
    for kind in ("chat", "stream", "responses", "embeddings", "raw"):
        (span,) = [s for s in said[kind]["spans"] if "openrouter.usage.cost" in s["attributes"]]
        assert span["scope"] == scope, kind


@pytest.mark.parametrize("name", OTHERS)
def test_enrich_repeats_no_metric_of_theirs(name: str, is_first: bool) -> None:
    """The convention's metrics of an enriched call are theirs where they record them, otherwise ours."""
    said, other = told(name, "enrich", is_first), OTHERS[name]
    scopes = {scope for scope, metric, _value in said["points"] if metric == "gen_ai.client.token.usage"}
    ours = {"or_instrument"} if other.ended_early or not other.has_metrics else set()
    assert scopes == ours | ({other.scope} if other.has_metrics else set())


def test_logfire_suppresses_the_second_span(is_first: bool) -> None:
    """Logfire's default is to suppress all others inside its span: then the cost is recorded, and is on its span."""
    if not _is_installed("logfire"):
        pytest.skip("logfire is not installed")
    code = PROGRAM.replace("THEIRS", OTHERS["logfire"].code.replace("suppress_other_instrumentation=False", ""))
    head = f"MODE, IS_FIRST, KINDS = 'own', {is_first!r}, ('chat', 'stream')\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code], env=environ(), capture_output=True, text=True, timeout=90, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    for kind in ("chat", "stream"):
        assert said[kind]["calls"] == [["complete", pytest.approx(said[kind]["charged"])]]
    (span,) = [s for s in said["chat"]["spans"] if "openrouter.usage.cost" in s["attributes"]]
    assert span["scope"] == ("logfire.openai" if is_first else "or_instrument")


def test_http_spans_are_inside_ours() -> None:
    """The span of the HTTP client's instrumentation is a child of ours, and there is one of each."""
    if not _is_installed("opentelemetry.instrumentation.httpx"):
        pytest.skip("opentelemetry-instrumentation-httpx is not installed")
    code = PROGRAM.replace(
        "THEIRS",
        "from opentelemetry.instrumentation import httpx as h; "
        "getattr(h, 'HTTPX2ClientInstrumentor', h.HTTPXClientInstrumentor)().instrument()",
    ).replace(
        "print(json.dumps(told))",
        "spans = exporter.get_finished_spans()\n"
        "print(json.dumps([(s.name, s.context.span_id, s.parent and s.parent.span_id) for s in spans]))",
    )
    head = "MODE, IS_FIRST, KINDS = 'own', True, ('stream',)\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code], env=environ(), capture_output=True, text=True, timeout=90, check=True
    )
    http, ours = json.loads(done.stdout.splitlines()[-1])
    assert (http[0], ours[0]) == ("POST", "chat vendor/model")
    assert http[2] == ours[1]
