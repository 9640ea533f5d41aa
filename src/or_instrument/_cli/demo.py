"""`or-instrument demo`: the main job on the embedded fake service, or with `--live` on OpenRouter itself."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Final, NamedTuple

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from or_instrument._cli import demo_calls as scenario
from or_instrument._cli.arguments import BASE_URL, KEY, api_key
from or_instrument._errors import ConfigError
from or_instrument._extras import require
from or_instrument._instrument import flush, instrument, uninstrument
from or_instrument._options import OPTIONS
from or_instrument._records import Call
from or_instrument._telemetry.exporters import load
from or_instrument._telemetry.undelivered import REFUSED, UNDELIVERED

_ROOT: Final = "or-instrument demo"
_PATIENCE_S: Final = 4.0
_TURN_S: Final = 0.05
_OF_OTHERS: Final = ("OR_INSTRUMENT_", "OTEL_", "OPENAI_")
"""What the environment says of the user's own programs begins so."""
_EXPORTING: Final = re.compile(r"OTEL_\w*(EXPORT|BSP|RESOURCE|SERVICE)")
"""What says where the spans and metrics go, and whose they are."""


class Place(NamedTuple):
    """Where the calls go."""

    title: str
    base_url: str
    api_key: str
    steps: tuple[scenario.Step, ...]
    trust_env: bool = False
    """Whether the environment's proxies and certificates are for it."""


class Recording(NamedTuple):
    """What came of the steps, and the spans of their one trace."""

    calls: list[Call]
    spans: list[ReadableSpan]
    problem: str | None
    """Why the spans or metrics did not arrive where `--exporter` sent them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options."""
    parser.add_argument(
        "--live",
        metavar="MODEL",
        help=f"call this model on OpenRouter itself, with the key in {KEY}: costs money",
    )
    parser.add_argument(
        "--exporter",
        choices=("none", "otlp", "console"),
        default="none",
        help="also send the spans and metrics there; otlp is set up from the standard OTEL_* variables",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo and print what it recorded. Raises `ConfigError` where `--live` has no usable key."""
    require("rich", "cli")
    from or_instrument._cli import demo_view as view  # noqa: PLC0415 - rich is an extra

    with _undisturbed(args), _place(args.live) as place, _silenced():
        recording = record(place, args.exporter, view.progress)
        UNDELIVERED.tell()  # unheard: it is said below, and not once more as the process ends
    view.show(view.make_console(), place.title, place.steps, recording.calls, recording.spans)
    if recording.problem is not None:
        sys.stderr.write(f"or-instrument demo: nothing arrives at {recording.problem}\n")
        return 1
    return 0


@contextmanager
def _undisturbed(args: argparse.Namespace) -> Iterator[None]:
    # Set for programs that shall be recorded otherwise, or not at all: the demo is to be the same everywhere.
    hidden = {name: value for name, value in os.environ.items() if name.startswith(_OF_OTHERS)}
    for name in hidden:
        if not _is_wanted(name, args):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_wanted(name: str, args: argparse.Namespace) -> bool:
    if name == OPTIONS["ledger"].variable:
        return args.live is not None  # only such calls cost money, and so belong in the books
    return args.exporter != "none" and _EXPORTING.match(name) is not None


@contextmanager
def _silenced() -> Iterator[None]:
    # What our own warnings say of the exporter the demo says itself, once.
    log = logging.getLogger("or_instrument")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _place(model: str | None) -> Iterator[Place]:
    if model is not None:
        key = api_key()
        if not key:
            raise ConfigError(f"--live needs an OpenRouter key: set {KEY}, or leave --live out for the fake service")
        yield Place(f"{model} on OpenRouter", BASE_URL, key, scenario.live_steps(model), trust_env=True)
        return
    from or_instrument.testing import FakeOpenRouter  # noqa: PLC0415 - a live run needs no fake

    with FakeOpenRouter(prices=scenario.PRICES) as fake:
        fake.script(*(step.answer for step in scenario.STEPS))
        yield Place("the embedded fake service", fake.base_url, "sk-or-demo", scenario.STEPS)


Progress = Callable[[Iterable[scenario.Step]], Iterable[scenario.Step]]


def record(place: Place, exporter: str, progress: Progress = lambda steps: steps) -> Recording:
    """Make the calls, instrumented, under one root span; return what was recorded."""
    import openai  # noqa: PLC0415, F401 - heavy, and not to be counted as part of the trace

    calls: list[Call] = []
    memory = InMemorySpanExporter()
    spans, metrics = _providers(exporter)
    spans.add_span_processor(SimpleSpanProcessor(memory))
    uninstrument()
    instrument(
        tracer_provider=spans, meter_provider=metrics, hosts=["openrouter.ai", "127.0.0.1"], sinks=[calls.append]
    )
    try:
        with spans.get_tracer(_ROOT).start_as_current_span(_ROOT):
            _make_calls(place, progress)
        has_arrived = _has_arrived()
    finally:
        uninstrument()
    problem = UNDELIVERED.problem or (None if has_arrived else f"the endpoint within {_PATIENCE_S:g} seconds")
    if problem is None:  # else this would wait for further attempts
        for provider in (spans, metrics):
            getattr(provider, "shutdown", lambda: None)()
    return Recording(calls, list(memory.get_finished_spans()), problem)


def _has_arrived() -> bool:
    """Return whether all went out. That nobody listens is known at once: an exporter would try again for long."""
    flushed: list[bool] = []
    flushing = Thread(target=lambda: flushed.append(flush(_PATIENCE_S)), daemon=True)
    flushing.start()
    while flushing.is_alive() and not (UNDELIVERED.problem or "").endswith(REFUSED):
        flushing.join(_TURN_S)
    return flushed == [True]


def _providers(exporter: str) -> tuple[TracerProvider, MeterProvider]:
    if exporter == "none":
        return TracerProvider(shutdown_on_exit=False), NoOpMeterProvider()
    exporters = load(exporter)
    spans = exporters.tracer_provider()
    # With OTEL_TRACES_EXPORTER=none there is none to export, but the demo shows them all the same.
    return (
        spans if isinstance(spans, TracerProvider) else TracerProvider(shutdown_on_exit=False)
    ), exporters.meter_provider()


def _make_calls(place: Place, progress: Progress) -> None:
    import openai  # noqa: PLC0415 - heavy, and only the demo's run needs it

    async def make(step: scenario.Step) -> None:
        http = openai.DefaultAsyncHttpxClient(trust_env=place.trust_env)
        async with openai.AsyncOpenAI(
            base_url=place.base_url, api_key=place.api_key, max_retries=0, http_client=http
        ) as client:
            if step.acall is not None:
                await step.acall(client, step.model)

    http = openai.DefaultHttpxClient(trust_env=place.trust_env)
    with openai.OpenAI(base_url=place.base_url, api_key=place.api_key, max_retries=0, http_client=http) as client:
        for step in progress(place.steps):
            if step.call is not None:
                step.call(client, step.model)
            else:
                asyncio.run(make(step))
