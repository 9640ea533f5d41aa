"""The instrumentor, and OpenTelemetry's zero-code way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from fresh_install import CALL, environ, run
from otlp_receiver import Received, http_receiver

import or_instrument
from or_instrument import OpenRouterInstrumentor
from or_instrument.testing import FakeOpenRouter

AGENT = """
import sys
from opentelemetry.instrumentation.auto_instrumentation import run
sys.argv = ["opentelemetry-instrument", sys.executable, *sys.argv[1:]]
run()
"""
REPORT = "import openai, or_instrument; print(or_instrument.is_instrumented())"


@pytest.fixture
def receiver() -> Iterator[Received]:
    """Return an OTLP receiver."""
    pytest.importorskip("opentelemetry.instrumentation", reason="OpenTelemetry's zero-code way is its own package")
    pytest.importorskip("opentelemetry.distro")
    with http_receiver() as received:
        yield received


def _env(fake: FakeOpenRouter, receiver: Received, **variables: str) -> dict[str, str]:
    return environ(
        FAKE_URL=fake.base_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_LOGS_EXPORTER="none",
        **variables,
    )


def test_opentelemetry_instrument_finds_us(tmp_path: Path, fake: FakeOpenRouter, receiver: Received) -> None:
    """`opentelemetry-instrument python app.py` records the calls of an application that knows nothing of it."""
    (tmp_path / "app.py").write_text(CALL + "ask()\nlist(ask(stream=True))\n")
    run("-c", AGENT, "app.py", env=_env(fake, receiver), cwd=tmp_path)
    assert len(receiver.spans()) == 2
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_its_switch_is_honoured(fake: FakeOpenRouter, receiver: Received) -> None:
    """`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=openrouter` leaves us out."""
    env = _env(fake, receiver, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="openrouter")
    assert run("-c", AGENT, "-c", REPORT, env=env).stdout == "False\n"


def test_our_switch_is_honoured(fake: FakeOpenRouter, receiver: Received) -> None:
    """`OR_INSTRUMENT_ENABLED=false` switches us off there too."""
    env = _env(fake, receiver, OR_INSTRUMENT_ENABLED="false")
    assert run("-c", AGENT, "-c", REPORT, env=env).stdout == "False\n"


def test_both_switches_together_record_once(tmp_path: Path, fake: FakeOpenRouter, receiver: Received) -> None:
    """With the agent, the start-up hook and an exporter of ours, the agent's providers win; a call is one span."""
    (tmp_path / "app.py").write_text(CALL + "ask()\n")
    env = _env(fake, receiver, OR_INSTRUMENT_ENABLED="true", OR_INSTRUMENT_EXPORTER="otlp")
    done = run("-c", AGENT, "app.py", env=env, cwd=tmp_path)
    assert len(receiver.spans()) == 1
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))
    assert "already instrumented" not in done.stderr


def test_people_can_call_it() -> None:
    """`instrument()` and `uninstrument()` work on any two instances; loader arguments are taken and left."""
    OpenRouterInstrumentor().instrument(skip_dep_check=True, raise_exception_on_conflict=False)
    assert OpenRouterInstrumentor().is_instrumented_by_opentelemetry
    assert "request" in vars(openai.OpenAI)
    OpenRouterInstrumentor().uninstrument()
    assert not or_instrument.is_instrumented()


def test_it_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong option is an error in the log: an exception would end the loading of all other instrumentations."""
    with caplog.at_level(logging.ERROR, "or_instrument"):
        OpenRouterInstrumentor().instrument(spans="both")
    assert not or_instrument.is_instrumented()
    assert "spans='both' is not allowed; allowed: own, enrich or off" in caplog.text


def test_the_wheel_declares_what_it_instruments() -> None:
    """The extra that the agent reads says the same as the method that people's code reads."""
    code = """
from importlib.metadata import requires
from packaging.requirements import Requirement
from or_instrument._instrumentor import OpenRouterInstrumentor
(extra,) = [r for r in map(Requirement, requires("or-instrument")) if "instruments" in str(r.marker)]
(said,) = OpenRouterInstrumentor().instrumentation_dependencies()
print(extra.name, extra.specifier == Requirement(said).specifier)
"""
    assert run("-c", code, env=environ()).stdout == "openai True\n"
