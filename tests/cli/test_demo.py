"""The command line and its demo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import otlp_receiver
import pytest
from fresh_install import environ, run

import or_instrument
from or_instrument import _extras
from or_instrument._cli import demo as _demo
from or_instrument._cli import demo_calls as _demo_calls
from or_instrument._cli import main as _cli
from or_instrument.testing import FakeOpenRouter


@pytest.fixture
def recording() -> tuple[FakeOpenRouter, _demo.Recording]:
    """Return what the demo recorded, and the fake that charged for it."""
    with FakeOpenRouter(prices=_demo_calls.PRICES) as fake:
        fake.script(*(step.answer for step in _demo_calls.STEPS))
        place = _demo.Place("the fake", fake.base_url, "sk-or-test", _demo_calls.STEPS)
        return fake, _demo.record(place, "none")


def test_the_demo_records_each_call_once(recording: tuple[FakeOpenRouter, _demo.Recording]) -> None:
    """Each step of the demo is one call, in order, and one span under the root."""
    _fake, (calls, spans, _problem) = recording

    assert [call.request.model for call in calls] == [step.model for step in _demo_calls.STEPS]
    assert len(spans) == len(calls) + 1
    assert len({span.context.trace_id for span in spans}) == 1


def test_the_demo_shows_what_was_charged(recording: tuple[FakeOpenRouter, _demo.Recording]) -> None:
    """The demo's spend is what the fake charged, but for the broken-off stream, whose cost nobody told it."""
    fake, (calls, _spans, _problem) = recording
    unknown = [call for call in calls if call.missing is not None]
    (broken_off,) = (call for call in unknown if call.outcome == "closed")
    untold = Decimal(str(fake.generations[broken_off.reply.id or ""]["total_cost"]))

    known = sum(call.usage.spend_exact for call in calls if call.usage and call.usage.spend_exact is not None)

    assert known == fake.spend_usd - untold
    assert [call.missing for call in unknown] == ["rejected", "closed"]


def test_the_command_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """`or-instrument demo` prints the calls, the trace and the totals."""
    assert _cli.main(["demo"]) == 0

    printed = capsys.readouterr().out
    for expected in ("own key (BYOK)", "or-instrument demo", "Totals by model", "0.008505", "rate_limit_exceeded"):
        assert expected in printed


@pytest.mark.usefixtures("few_steps")
def test_what_is_no_terminal_gets_names_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However wide the terminal beside it is."""
    monkeypatch.setenv("COLUMNS", "80")

    assert _cli.main(["demo"]) == 0

    (row,) = (line for line in capsys.readouterr().out.splitlines() if "broken-off stream" in line)
    assert "google/gemini-2.5-flash" in row


OTHERWISE = {
    "switched off": {"OR_INSTRUMENT_ENABLED": "false"},
    "no OpenTelemetry": {"OTEL_SDK_DISABLED": "true"},
    "no traces": {"OTEL_TRACES_SAMPLER": "always_off"},
    "short attributes": {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1"},
    "look-ups": {"OR_INSTRUMENT_LOOKUP": "missing"},
    "another client": {"OR_INSTRUMENT_CLIENTS": "httpx"},
    "no spans": {"OR_INSTRUMENT_SPANS": "off"},
    "headers that cannot be sent": {"OPENAI_ORG_ID": "\N{SNOWMAN}"},
    "a proxy": dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9"),
    "no certificates": {"SSL_CERT_FILE": os.devnull + "/none"},
}


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the demo make three calls of its eleven: a known cost, an unknown one, an async one."""
    few = [step for step in _demo_calls.STEPS if step.title in ("chat", "broken-off stream", "async chat")]
    monkeypatch.setattr(_demo_calls, "STEPS", tuple(few))


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_the_demo_is_the_same_whatever_the_environment_says(
    otherwise: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is set there for other programs changes nothing that it prints, and stays set."""
    printed = []
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for variables in ({}, OTHERWISE[otherwise]):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert _cli.main(["demo"]) == 0
        printed.append(re.sub(r"[\d.]+ ms", "ms", capsys.readouterr().out))

    assert printed[0] == printed[1]
    assert OTHERWISE[otherwise].items() <= os.environ.items()


@pytest.mark.usefixtures("few_steps")
def test_the_demo_is_in_no_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Calls that cost nothing are kept out of the books that the environment names."""
    monkeypatch.setenv("OR_INSTRUMENT_LEDGER", str(tmp_path / "costs.db"))

    assert _cli.main(["demo"]) == 0

    assert list(tmp_path.iterdir()) == []


def test_live_calls_are_in_the_ledger(
    monkeypatch: pytest.MonkeyPatch, fake: FakeOpenRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that cost money stand in the books that the environment names."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-live")
    monkeypatch.setenv("OR_INSTRUMENT_LEDGER", str(tmp_path / "costs.db"))
    monkeypatch.setattr(_demo, "BASE_URL", fake.base_url)

    assert _cli.main(["demo", "--live", "acme/model"]) == 0
    capsys.readouterr()
    assert _cli.main(["cost", "--format", "json"]) == 0

    assert json.loads(capsys.readouterr().out)["total"]["calls"] == len(fake.requests) > 0


def test_the_module_is_the_command() -> None:
    """`python -m or_instrument` is the same command."""
    command = [sys.executable, "-m", "or_instrument", "--version"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed.strip() == or_instrument.__version__


def test_live_without_a_key_says_which_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--live` without a key names the variable and exits with 2."""
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)

    assert _cli.main(["demo", "--live", "openai/gpt-5-mini"]) == 2
    assert "OPENROUTER_API_KEY" in capsys.readouterr().err


def test_live_calls_the_service_with_the_key(monkeypatch: pytest.MonkeyPatch, fake: FakeOpenRouter) -> None:
    """`--live MODEL` makes only calls that any chat model takes, with the user's key."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-live")
    monkeypatch.setattr(_demo, "BASE_URL", fake.base_url)

    assert _cli.main(["demo", "--live", "acme/model"]) == 0

    assert {request.headers["authorization"] for request in fake.requests} == {"Bearer sk-or-live"}
    assert {request.json["model"] for request in fake.requests if isinstance(request.json, dict)} == {"acme/model"}


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without rich, the command says how to get it."""
    monkeypatch.setitem(sys.modules, "rich", None)

    assert _cli.main(["demo"]) == 2
    assert "or-instrument[cli]" in capsys.readouterr().err


def test_an_extra_that_is_there_is_imported() -> None:
    """`require` returns the module."""
    assert _extras.require("json", "cli") is sys.modules["json"]


def test_the_demo_sends_its_spans_to_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--exporter otlp` sends a span for each call to where the standard variables say."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with otlp_receiver.http_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)

        assert _cli.main(["demo", "--exporter", "otlp"]) == 0

        assert [span.attributes["gen_ai.request.model"] for span in received.spans()] == [
            step.model for step in _demo_calls.STEPS
        ]


def test_the_demo_prints_its_spans() -> None:
    """`--exporter console` prints a span for each call."""
    command = [sys.executable, "-m", "or_instrument", "demo", "--exporter", "console"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed.count('"kind": "SpanKind.CLIENT"') == len(_demo_calls.STEPS)


@pytest.mark.slow
def test_an_exporter_that_nobody_listens_to_is_one_line_and_a_failure() -> None:
    """Nothing is waited for beyond a few seconds, and the demo is shown all the same."""
    env = environ(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    done = run("-m", "or_instrument", "demo", "--exporter", "otlp", env=env, code=1)
    assert "charged" in done.stdout or "all" in done.stdout
    assert (
        done.stderr.strip() == "or-instrument demo: nothing arrives at http://127.0.0.1:9/v1/traces: connection refused"
    )
