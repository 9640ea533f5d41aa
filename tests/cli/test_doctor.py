"""`or-instrument doctor`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fresh_install import environ, install, run, site_of
from installed import need
from otlp_receiver import grpc_receiver, http_receiver

from or_instrument._cli import doctor_checks, doctor_clients, main

DOCTOR = ("-m", "or_instrument", "doctor")


def _findings(env: dict[str, str], *arguments: str, code: int, cwd: Path | None = None) -> list[dict[str, Any]]:
    told = json.loads(run(*DOCTOR, "--json", *arguments, env=env, code=code, cwd=cwd).stdout)
    assert told["ok"] is (code == 0)
    return list(told["findings"])


Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """Return a function that runs it in this process, with such variables; it returns exit code, stdout, stderr."""
    logger = logging.getLogger("or_instrument")
    level = logger.level
    # Other tests may have clients left.
    monkeypatch.setattr(doctor_clients, "_hosts_of_clients", dict)
    for name in [name for name in os.environ if name.startswith(("OR_INSTRUMENT_", "OTEL_"))]:
        monkeypatch.delenv(name)

    def run_here(*arguments: str, **variables: str) -> tuple[int, str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        try:
            code = main.main(["doctor", *arguments])
        except SystemExit as exc:
            code = int(exc.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    yield run_here
    logger.setLevel(level)


def _found(here: Here, *arguments: str, code: int, **variables: str) -> list[dict[str, Any]]:
    ended, out, _ = here("--json", *arguments, **variables)
    told = json.loads(out)
    assert (ended, told["ok"]) == (code, code == 0)
    return list(told["findings"])


def _of(findings: list[dict[str, Any]], subject: str) -> list[str]:
    return [finding["level"] for finding in findings if finding["subject"] == subject]


def _told(findings: list[dict[str, Any]], subject: str) -> str:
    return "\n".join(finding["found"] for finding in findings if finding["subject"] == subject)


def test_a_healthy_installation(tmp_path: Path) -> None:
    """Where all is well it says what is installed and patched, and the exit code is 0."""
    findings = _findings(environ(OR_INSTRUMENT_ENABLED="true"), code=0, cwd=tmp_path)
    assert _of(findings, "patch") == ["ok"]
    assert "OR_INSTRUMENT_ENABLED" in _told(findings, "patch")
    assert {"ok"} == set(_of(findings, "client"))
    assert _of(findings, "openai") == ["ok"]
    assert _of(findings, "start-up hook") == ["ok"]


def test_the_text_says_what_to_do(here: Here) -> None:
    """As text every problem has its remedy below it, and the last line is the sum."""
    code, out, _ = here(OR_INSTRUMENT_SPANS="twice")
    lines = out.splitlines()
    place = lines.index("problem  OR_INSTRUMENT_SPANS: 'twice' is not allowed, so it is ignored")
    assert lines[place + 1].strip() == "-> set it to own, enrich or off"
    assert (code, lines[-1]) == (1, "1 problem found")


@pytest.mark.parametrize(
    ("variable", "value", "subject"),
    [
        ("OR_INSTRUMENT_ENABLED", "false", "switch"),
        ("OR_INSTRUMENT_HOSTS", "https://openrouter.ai", "OR_INSTRUMENT_HOSTS"),
        ("OTEL_SDK_DISABLED", "true", "switch"),
    ],
)
def test_a_switch_that_stops_recording_is_a_problem(here: Here, variable: str, value: str, subject: str) -> None:
    """Its name is told, and the exit code is 1."""
    findings = _found(here, code=1, **{variable: value})
    (problem,) = [finding for finding in findings if finding["level"] == "problem"]
    assert problem["subject"] == subject
    assert variable in problem["subject"] + problem["found"]


def test_a_misspelt_variable_is_noted(here: Here) -> None:
    """A variable of ours that there is not is told, with those that there are."""
    findings = _found(here, code=0, OR_INSTRUMENT_EXPORTR="otlp")
    assert _of(findings, "OR_INSTRUMENT_EXPORTR") == ["note"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_endpoint_is_asked(protocol: str) -> None:
    """It sends one test span to the endpoint and says that it was taken."""
    if protocol == "grpc":
        pytest.importorskip("grpc")
    with http_receiver() if protocol == "http/protobuf" else grpc_receiver() as receiver:
        env = environ(
            OR_INSTRUMENT_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        )
        assert _of(_findings(env, code=0), "otlp") == ["ok", "ok"]
        assert [span.name for span in receiver.spans()] == ["or-instrument doctor"]


def test_a_setting_that_the_sdk_refuses_is_a_problem(here: Here) -> None:
    """With it no span of the user's would be exported, though the endpoint takes the test span."""
    with http_receiver() as receiver:
        code, out, _ = here(
            OR_INSTRUMENT_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_MAX_QUEUE_SIZE="256"
        )
    assert code == 1
    assert "no spans are exported: ValueError" in " ".join(out.split())
    assert "no metrics are exported" not in out


def test_a_dead_endpoint_is_a_problem(here: Here) -> None:
    """An endpoint that does not answer is named, with what to check; secrets in headers are not shown."""
    code, out, err = here(
        *("--timeout", "1"),
        OR_INSTRUMENT_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=secret",
    )
    assert code == 1
    assert "http://127.0.0.1:9/v1/traces (http/protobuf) did not take a test span: connection refused" in out
    assert "http://127.0.0.1:9/v1/metrics (http/protobuf) did not take metrics: connection refused" in out
    assert "secret" not in out + err


def test_a_server_without_the_metrics_path_is_told_from_a_dead_one(here: Here) -> None:
    """Jaeger takes spans alone: the variable that says so is named."""
    with http_receiver(metrics_status=404) as receiver:
        code, out, _ = here(OR_INSTRUMENT_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert code == 1
    assert "took a test span" in out
    assert "OTEL_METRICS_EXPORTER=none" in out


@pytest.mark.parametrize(("hosts", "level"), [("openrouter.ai", "problem"), ("proxy.example", "ok"), ("*", "ok")])
def test_a_base_url_whose_calls_are_not_recorded_is_a_problem(here: Here, hosts: str, level: str) -> None:
    """`OPENAI_BASE_URL` sends every client there."""
    variables = {"OR_INSTRUMENT_HOSTS": hosts, "OPENAI_BASE_URL": "https://proxy.example/v1"}
    assert _of(_found(here, code=int(level == "problem"), **variables), "hosts") == [level]


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "soon", "1e12"])
def test_a_timeout_that_is_none_is_refused(here: Here, timeout: str) -> None:
    """It says what is allowed, or that it is no number."""
    code, _, err = here("--timeout", timeout)
    assert code == 2
    assert "--timeout" in err


def test_a_wrong_switch_is_not_also_called_unset(here: Here) -> None:
    """One fault is told once."""
    findings = _found(here, code=1, OR_INSTRUMENT_ENABLED="perhaps")
    assert _of(findings, "OR_INSTRUMENT_ENABLED") == ["problem"]
    assert not any("is not set" in finding["found"] for finding in findings)


def test_the_applications_providers_are_seen(tmp_path: Path) -> None:
    """With `--import` it tells whose providers an application sets."""
    (tmp_path / "shop.py").write_text(
        "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n"
    )
    findings = _findings(environ(), "--import", "shop", code=0, cwd=tmp_path)
    assert _of(findings, "spans") == ["ok"]
    assert _of(findings, "metrics") == ["note"]


SHOP = """
import openai, or_instrument
from opentelemetry.sdk.trace import TracerProvider
or_instrument.instrument(clients=["openai"], tracer_provider=TracerProvider())
here = openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1")
elsewhere = openai.AsyncOpenAI(api_key="k", base_url="https://proxy.example/v1")
"""


def test_what_the_application_has_done_is_told_from_a_try(here: Here, tmp_path: Path) -> None:
    """Who switched recording on, which clients are left out, and where its clients send; its module is found."""
    (tmp_path / "shop.py").write_text(SHOP)
    env = environ(OR_INSTRUMENT_HOSTS="")
    alone = _found(here, code=0)
    findings = _findings(env, "--import", "shop", code=1, cwd=tmp_path)
    assert "doctor" in _told(alone, "patch")
    assert "by the code" in _told(findings, "patch")
    assert {finding["level"] for finding in alone if finding["subject"] == "client"} == {"ok"}
    levels = dict(zip(_told(findings, "client").splitlines(), _of(findings, "client"), strict=True))
    assert {level for told, level in levels.items() if told.startswith("openai ")} == {"ok"}
    assert {level for told, level in levels.items() if not told.startswith("openai ")} == {"note"}
    assert sorted(_of(findings, "hosts")) == ["ok", "problem"]
    assert _of(findings, "spans") == ["ok"]


@pytest.mark.parametrize(
    ("library", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_greenlets_are_found(here: Here, library: str, patch: str, tmp_path: Path) -> None:
    """Whether the application has patched its threads is told."""
    need(library)
    (tmp_path / "shop.py").write_text(f"import sys\nsys.modules['trio'] = None\n{patch}\n")
    assert "nothing is patched" in _told(_found(here, code=0), library)
    findings = _findings(environ(), "--import", "shop", code=0, cwd=tmp_path)
    assert "threads are patched here" in _told(findings, library)


@pytest.mark.slow
def test_grpc_that_meets_http_is_told() -> None:
    """The distribution speaks gRPC where no protocol is set, and a server of HTTP does not understand it."""
    pytest.importorskip("grpc")
    with http_receiver() as receiver:
        env = environ(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
        findings = _findings(env, "--timeout", "0.5", code=1)
    of_otlp = [finding for finding in findings if finding["subject"] == "otlp"]
    assert len(of_otlp) == 2
    for finding in of_otlp:
        assert "HTTP/1 is spoken there" in finding["found"]
        assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in finding["remedy"]


def test_grpc_that_refuses_is_not_called_http(here: Here) -> None:
    """A server that speaks HTTP/2 and takes no traces has its own word told."""
    grpc = pytest.importorskip("grpc")
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        endpoint = f"http://127.0.0.1:{port}"
        found = _found(here, code=1, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    finally:
        server.stop(None).wait()
    assert "UNIMPLEMENTED" in _told(found, "otlp")
    assert "HTTP/1 is spoken" not in _told(found, "otlp")


def test_a_port_is_no_status() -> None:
    """A port with 404 in it, which an exporter names where it failed, is not taken for a path that is not there."""
    said = "Failed to export traces to 127.0.0.1:40451, error code: StatusCode.UNAVAILABLE"
    assert "no such path" not in doctor_checks._remedy("TRACES", said)
    assert "no such path" in doctor_checks._remedy("TRACES", "Failed to export, code: 404, reason: Not Found")


def test_the_distributions_protocol_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the endpoint is HTTP's and no protocol is set; a protocol that is set is nobody's default."""
    monkeypatch.setattr(doctor_checks, "version_of", lambda _name: "0.66b2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert [finding.remedy for finding in doctor_checks.distribution()] == ["OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    assert list(doctor_checks.distribution()) == []


def test_a_module_that_fails_is_a_problem(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that cannot be imported is told, not a traceback."""
    (tmp_path / "shop.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    assert _of(_found(here, "--import", "shop", code=1), "shop") == ["problem"]


def test_a_removed_start_up_file_is_told(tmp_path: Path) -> None:
    """Where the variable is set and the hook is gone, nothing would be recorded: a problem."""
    interpreter = install(tmp_path)
    (site_of(interpreter) / "or_instrument_startup.pth").unlink()
    done = subprocess.run(
        [interpreter, *DOCTOR], env=environ(OR_INSTRUMENT_ENABLED="true"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "problem  start-up hook: it has not run" in done.stdout


@pytest.mark.parametrize(("package", "remedy"), [("claude-agent-sdk", "activity page"), ("dspy", 'engine="litellm"')])
def test_a_package_whose_calls_stay_unseen_is_named(monkeypatch: pytest.MonkeyPatch, package: str, remedy: str) -> None:
    """Where a package sends by no library that is patched, the doctor says so, and what to do."""
    theirs = doctor_clients.version_of
    monkeypatch.setattr(doctor_clients, "version_of", lambda name: "0.2" if name == package else theirs(name))
    (finding,) = [found for found in doctor_clients.clients() if found.subject == package]
    assert finding.level == "note"
    assert "not seen" in finding.found
    assert remedy in finding.remedy
