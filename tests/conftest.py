"""Fixtures: the fake service, clients on it, and telemetry kept in memory."""

from __future__ import annotations

import functools
import gc
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis  # trio warns where it comes first
import openai
import pytest
from fresh_install import environ
from in_memory import HOSTS, Telemetry
from opentelemetry import trace

import or_instrument
from or_instrument.testing import FakeOpenRouter

if TYPE_CHECKING:
    from otlp_receiver import Received

# Each client reads all certificates there are, which takes longer than most tests; none of ours is asked for one.
ssl.create_default_context = functools.cache(ssl.create_default_context)

# All that tests talk to is here, and so beyond no proxy.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, ("127.0.0.1", "localhost", os.environ.get(name))))

# A busy machine is no failure. All runs try the same examples, so that none fails over a change that is innocent of it.
hypothesis.settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=not os.environ.get("OR_INSTRUMENT_TESTS_RANDOM"),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run whole folders without what takes seconds, and spread over the cores, where xdist is installed.

    A file is run as it is; `-m` and `-n` are heard.
    """
    folders = all(Path(asked).is_dir() for asked in config.args)
    if folders and not config.option.markexpr:
        config.option.markexpr = "not slow"
    worker = "PYTEST_XDIST_WORKER" in os.environ
    if folders and not worker and config.getoption("numprocesses", 0) is None and config.option.dist == "no":
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"  # a few tests take most of the time


def pytest_collection_finish() -> None:
    """Take all that is imported by now out of the collector's sight: a full collection then takes no time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio; a test that holds for trio too asks for it."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No test leaves an active span, a patched SDK or a call still to be recorded."""
    yield
    or_instrument.uninstrument()
    gc.collect()
    gc.freeze()  # what tests import later is as much in the collector's way as what was imported before them
    or_instrument.flush()
    assert not trace.get_current_span().get_span_context().is_valid
    assert "request" not in vars(openai.OpenAI)
    assert "request" not in vars(openai.AsyncOpenAI)


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a running fake service."""
    with FakeOpenRouter() as service:
        yield service


@pytest.fixture
def instrumented() -> Iterator[Callable[..., Telemetry]]:
    """Return a function that instruments with some options and returns the telemetry."""
    with ExitStack() as stack:

        @contextmanager
        def instrument(**options: Any) -> Iterator[Telemetry]:
            telemetry = Telemetry()
            or_instrument.instrument(
                **{
                    "hosts": HOSTS,
                    "tracer_provider": telemetry.tracer_provider,
                    "meter_provider": telemetry.meter_provider,
                    "sinks": [telemetry.calls.append],
                    **options,
                }
            )
            yield telemetry
            or_instrument.uninstrument()
            telemetry.tracer_provider.shutdown()
            telemetry.meter_provider.shutdown()

        yield lambda **options: stack.enter_context(instrument(**options))


@pytest.fixture
def telemetry(instrumented: Callable[..., Telemetry]) -> Telemetry:
    """Return the telemetry of the default options."""
    return instrumented()


@pytest.fixture
def client(fake: FakeOpenRouter) -> Iterator[openai.OpenAI]:
    """Return a sync client on the fake that does not retry."""
    with openai.OpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0) as made:
        yield made


@pytest.fixture
async def aclient(fake: FakeOpenRouter) -> AsyncIterator[openai.AsyncOpenAI]:
    """Return an async client on the fake that does not retry."""
    async with openai.AsyncOpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Received]:
    """Return an OTLP receiver."""
    from otlp_receiver import http_receiver  # noqa: PLC0415 - some environments have none of OTLP's messages

    with http_receiver() as received:
        yield received


@pytest.fixture
def switched_on(fake: FakeOpenRouter, receiver: Received) -> dict[str, str]:
    """Return an environment that switches everything on, without any code."""
    return environ(
        OR_INSTRUMENT_ENABLED="true",
        OR_INSTRUMENT_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        FAKE_URL=fake.base_url,
    )
