"""Providers of ours: `exporter=`, the standard variables, and who wins."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from fresh_install import CALL, environ, python, run, running, until
from otlp_receiver import Received, grpc_receiver, http_receiver

import or_instrument
from or_instrument._telemetry import exporters as _exporters
from or_instrument.testing import FakeOpenRouter

IN_CODE = "import or_instrument\nor_instrument.instrument(exporter='otlp')\n" + CALL
OWN_PROVIDERS = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

def set_providers():
    reader, exporter, tracers = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader, exporter
"""


@pytest.fixture
def env(fake: FakeOpenRouter, receiver: Received) -> dict[str, str]:
    """Return an environment that names the receiver by the standard variables."""
    return environ(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, FAKE_URL=fake.base_url)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_both_protocols_deliver(protocol: str, fake: FakeOpenRouter) -> None:
    """Spans and metrics arrive at a real receiver over either protocol."""
    if protocol == "grpc":
        pytest.importorskip("grpc")
    with http_receiver() if protocol == "http/protobuf" else grpc_receiver() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        run("-c", IN_CODE + "ask()\nlist(ask(stream=True))", env=environ(FAKE_URL=fake.base_url, **variables))
        assert len(receiver.spans()) == 2
        assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_the_standard_variables_are_heard(receiver: Received, env: dict[str, str]) -> None:
    """Service name, resource attributes and headers are those of the standard variables."""
    env |= {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=acme",
    }
    run("-c", IN_CODE + "ask()", env=env)
    (span,) = receiver.spans()
    assert span.resource["service.name"] == "shop"
    assert span.resource["deployment.environment.name"] == "test"
    assert all(headers["x-tenant"] == "acme" for headers in receiver.headers)


def _endpoint() -> str:
    make = _exporters.span_exporter()
    assert make is not None
    made = make()
    made.shutdown()
    return str(made._endpoint)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_empty_variable_is_an_unset_one(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter has the endpoint that it has without it, and the environment stays as it is."""
    if protocol == "grpc":
        pytest.importorskip("grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    usual = _endpoint()
    empty = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in (("ENDPOINT", ""), ("TIMEOUT", " "))}
    for name, value in empty.items():
        monkeypatch.setenv(name, value)
    assert _endpoint() == usual
    assert {name: os.environ[name] for name in empty} == empty


def test_an_empty_sampler_is_no_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are the intervals of exports."""
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_METRIC_EXPORT_INTERVAL", "OTEL_BSP_SCHEDULE_DELAY"):
        monkeypatch.setenv(name, "")
    made = _exporters.load("otlp")
    made.tracer_provider().shutdown()  # type: ignore[attr-defined]
    made.meter_provider().shutdown()  # type: ignore[attr-defined]
    assert caplog.records == []


def test_the_sampler_is_heard_and_metrics_stay_complete(
    fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """Where the trace is not sampled there is no span, and the metrics know every call."""
    run("-c", IN_CODE + "for _ in range(5): ask()", env=env | {"OTEL_TRACES_SAMPLER": "always_off"})
    assert receiver.spans() == []
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_a_signal_can_be_left_out(fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """`OTEL_TRACES_EXPORTER=none` sends metrics only."""
    run("-c", IN_CODE + "ask()", env=env | {"OTEL_TRACES_EXPORTER": "none"})
    assert receiver.spans() == []
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_console_prints(fake: FakeOpenRouter) -> None:
    """`console` prints the span, and the metrics at exit, to standard output."""
    env = environ(FAKE_URL=fake.base_url, OR_INSTRUMENT_EXPORTER="console", OR_INSTRUMENT_ENABLED="true")
    printed = run("-c", CALL + "ask()", env=env).stdout
    assert f'"openrouter.usage.cost": {float(fake.charged_usd)}' in printed
    assert '"name": "gen_ai.usage.cost"' in printed


@pytest.mark.parametrize("when", ["before", "after", "again"])
def test_an_account_is_exported(when: str, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """Without a call, whichever is switched on first or once more, until the application sets a provider."""
    fake.key_limit_usd = 7.5
    lines = [
        "or_instrument.instrument(exporter='otlp')",
        "gauges = or_instrument.observe_account(openai.OpenAI(base_url=os.environ['FAKE_URL'], api_key='k'))",
    ]
    steps = {"before": lines, "after": lines[::-1], "again": [*lines, "or_instrument.uninstrument()", lines[0]]}
    code = f"""
{OWN_PROVIDERS}
import os, openai, or_instrument
{"; ".join(steps[when])}
gauges.refresh()
or_instrument.flush()
reader, _ = set_providers()
or_instrument.flush()
data = reader.get_metrics_data()
print([m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if "limit_r" in m.name])
"""
    assert run("-c", code, env=env).stdout == "['openrouter.account.limit_remaining']\n"
    assert receiver.total("openrouter.account.limit") == 7.5
    assert len(list(receiver._points("openrouter.account.limit"))) == 1


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_the_application_wins(when: str, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """Providers that the application sets get every call from then on, and nothing is recorded twice."""
    ours = "import or_instrument; or_instrument.instrument(exporter='otlp')"
    theirs = "reader, exporter = set_providers()"
    lines = {"before": (theirs, ours), "between": (ours, theirs), "after": (ours,)}
    code = f"""
{OWN_PROVIDERS}
{"; ".join(lines[when])}
{CALL}
import json, threading
ask()
if {when!r} == "after":
    reader, exporter = set_providers()
    ask()
cost = [
    metric.data.data_points[0].sum
    for resource in reader.get_metrics_data().resource_metrics
    for scope in resource.scope_metrics
    for metric in scope.metrics
    if metric.name == "gen_ai.usage.cost"
]
threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]
print(json.dumps({{"cost": cost, "spans": len(exporter.get_finished_spans()), "threads": threads}}))
"""
    done = run("-c", code, env=env)
    theirs = json.loads(done.stdout)
    each = float(fake.charged_usd) / len(fake.requests)
    assert theirs["cost"] == [pytest.approx(each)]
    assert theirs["spans"] == 1
    assert done.stderr == ""
    if when == "after":
        assert receiver.total("gen_ai.usage.cost") == pytest.approx(each)
        assert len(receiver.spans()) == 1
    else:
        assert theirs["threads"] == []
        assert receiver.headers == []


def test_one_signal_of_the_applications_is_enough_for_that_signal(
    fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """An application that sets only a tracer provider still has its metrics exported."""
    code = IN_CODE + "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"
    run("-c", code + "trace.set_tracer_provider(TracerProvider())\nask()", env=env)
    assert receiver.spans() == []
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_a_missing_extra_is_an_error_in_code() -> None:
    """`instrument(exporter="otlp")` without the extra raises, names the extra, and patches nothing."""
    code = """
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http"] = None
import openai, or_instrument
try:
    or_instrument.instrument(exporter="otlp")
except or_instrument.ConfigError as exc:
    print(exc)
print(or_instrument.is_instrumented(), "request" in vars(openai.OpenAI))
"""
    told, state = run("-c", code, env=environ()).stdout.splitlines()
    assert "pip install 'or-instrument[otlp]'" in told
    assert state == "False False"


def test_a_missing_extra_is_a_warning_from_the_environment() -> None:
    """`OR_INSTRUMENT_EXPORTER=otlp` without the extra is one line that names the extra; recording goes on."""
    code = """
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http"] = None
import openai, or_instrument
print(or_instrument.is_instrumented())
"""
    done = run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="true", OR_INSTRUMENT_EXPORTER="otlp"))
    assert done.stdout == "True\n"
    assert done.stderr.count("\n") == 1
    assert "pip install 'or-instrument[otlp]'" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [("OTEL_BSP_MAX_QUEUE_SIZE", "256", "spans"), ("OTEL_METRIC_EXPORT_INTERVAL", "0", "metrics")],
)
def test_a_setting_that_the_sdk_refuses_is_told(
    variable: str, value: str, what: str, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """Which signal is not exported, and why; the other one is, and calls go on."""
    done = run("-c", IN_CODE + "ask()", env={**env, variable: value})
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"no {what} are exported: the exporter cannot be set up (ValueError: ")
    assert len(receiver.spans()) == (what != "spans")
    assert receiver.total("gen_ai.usage.cost") == (0 if what == "metrics" else pytest.approx(float(fake.charged_usd)))


def test_a_wrong_exporter_is_refused() -> None:
    """The error names what is allowed."""
    with pytest.raises(or_instrument.ConfigError, match="exporter='zipkin' is not allowed; allowed: none, otlp or con"):
        or_instrument.instrument(exporter="zipkin")


@pytest.mark.parametrize(("named", "is_told"), [("zipkin", True), ("otlp_proto_grpc", False), ("console,otlp", False)])
def test_another_exporter_of_the_standard_variable_is_a_warning(
    named: str, is_told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who names one that is not ours to make learns that OTLP is used."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", named)
    assert _exporters.span_exporter() is not None
    assert (f"OTEL_TRACES_EXPORTER={named!r} is ignored" in caplog.text) is is_told


def test_a_wrong_protocol_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A protocol that there is not is told once, and the standard's default is used."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    assert _exporters.protocol("TRACES") == "http/protobuf"
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not allowed" in caplog.text


def test_the_protocol_of_a_signal_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's own protocol variable goes before the common one."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")
    assert (_exporters.protocol("TRACES"), _exporters.protocol("METRICS")) == ("http/protobuf", "grpc")


def test_an_abandoned_stream_is_exported_at_exit(receiver: Received, env: dict[str, str]) -> None:
    """A stream that is still open when the program ends is among what is exported."""
    # Not by `run`: a stream of httpx2 that is still open makes Python 3.13.0 crash at exit, with us or without.
    command = [python(), "-c", IN_CODE + "stream = ask(stream=True)\nnext(iter(stream))"]
    subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    (span,) = receiver.spans()
    assert span.attributes["openrouter.stream.outcome"] == "abandoned"
    assert receiver.total("openrouter.usage.missing") == 1


@pytest.mark.slow
def test_a_dead_endpoint_does_not_keep_the_process(tmp_path: Path, fake: FakeOpenRouter) -> None:
    """A receiver that takes connections and never answers holds up neither the calls nor the exit for long."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = environ(
            FAKE_URL=fake.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_TIMEOUT="600",
        )
        command = [python(), "-c", IN_CODE + "ask()"]
        subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, timeout=40, check=True)


def test_sigterm_flushes(tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """A program that does not handle SIGTERM exports what it holds, and then ends by that signal."""
    code = IN_CODE + "ask()\nopen('ready', 'w').close()\nimport time\nwhile True: time.sleep(60)"
    with running("-c", code, env=env, cwd=tmp_path) as process:
        until((tmp_path / "ready").exists, "the call")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert len(receiver.spans()) == 1
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_a_handler_of_the_applications_stays() -> None:
    """An application that handles SIGTERM keeps its handler."""
    code = """
import signal
def theirs(*_): ...
signal.signal(signal.SIGTERM, theirs)
import or_instrument
or_instrument.instrument(exporter="console")
print(signal.getsignal(signal.SIGTERM) is theirs)
"""
    assert run("-c", code, env=environ()).stdout == "True\n"


def test_uninstrument_gives_the_signal_back() -> None:
    """SIGTERM is heard whoever exports, and let be again."""
    before = signal.getsignal(signal.SIGTERM)
    or_instrument.instrument()
    assert signal.getsignal(signal.SIGTERM) is not before
    or_instrument.uninstrument()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX only")
@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(workers: int, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """Under uvicorn, switched on by the environment alone, SIGTERM loses nothing."""
    pytest.importorskip("uvicorn")
    (tmp_path / "app.py").write_text(ASGI)
    env |= {"OR_INSTRUMENT_ENABLED": "true", "OR_INSTRUMENT_EXPORTER": "otlp"}
    arguments = ("-m", "uvicorn", "app:app", "--uds", "app.sock", "--workers", str(workers))
    with running(*arguments, env=env, cwd=tmp_path) as process:
        for _ in range(4):
            assert _get(tmp_path / "app.sock").endswith(b"\r\n\r\nok")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert len(receiver.spans()) == len(fake.requests) == 4
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


ASGI = (
    CALL
    + """
async def app(scope, receive, send):
    if scope["type"] == "http":
        ask()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
"""
)


def _get(path: Path) -> bytes:
    def connected() -> socket.socket | None:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(os.fspath(path))
        except OSError:
            made.close()
            return None
        return made

    found: list[socket.socket] = []
    until(lambda: (sock := connected()) and (found.append(sock) or True), "the server")
    with found[0] as server:
        server.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: server.recv(4096), b""))


def test_flush_keeps_to_its_time(fake: FakeOpenRouter) -> None:
    """`flush()` gives up on a receiver that never answers, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = environ(
            FAKE_URL=fake.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_TIMEOUT="600",
        )
        code = IN_CODE + "ask()\nprint(or_instrument.flush(0.2), flush=True)\nos._exit(0)"
        assert run("-c", code, env=env).stdout == "False\n"
