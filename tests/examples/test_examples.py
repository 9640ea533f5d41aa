"""The examples: each runs by its one command, needs no key, and says what the service truly charged."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from decimal import Decimal
from importlib import metadata
from pathlib import Path

import pytest
from prometheus_server import EXAMPLES
from served import free_port

NEEDS = {
    "every_client.py": ("anthropic", "openrouter", "requests"),
    "fastapi_tenants.py": ("fastapi", "httpx", "opentelemetry.exporter.prometheus"),
    "gunicorn_workers.py": ("gunicorn", "httpx"),
    "langchain_chain.py": ("langchain_openai",),
}
"""Packages that an example shows, and that are not among those of ours."""
AMOUNT = re.compile(r"\$(\d+\.\d+)")


def run(path: str, *arguments: str, cwd: Path | None = None) -> str:
    """Run an example, which must succeed and complain of nothing, and return what it printed."""
    for package in NEEDS.get(path, ()):
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            pytest.skip(f"{package} is not installed")
        pytest.importorskip(package)
    done = run_anyhow(path, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def run_anyhow(path: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run an example, without any key in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, str(EXAMPLES / path), *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def amounts(text: str) -> list[Decimal]:
    """Return the USD that were printed, in order."""
    return [Decimal(found) for found in AMOUNT.findall(text)]


def test_every_client_is_in_one_sum() -> None:
    """Five clients' calls add up, each once, to what the service has in its books."""
    *each, together, booked = amounts(run("every_client.py"))

    assert len(each) == 5
    assert sum(each) == together == booked > 0


def test_quickstart_prints_model_tokens_and_cost() -> None:
    """The first example shows what a newcomer came for."""
    printed = run("quickstart.py")

    assert "openai/gpt-5-mini, served by Fake Provider" in printed
    assert re.search(r"tokens +\d+ in, \d+ out", printed)
    assert amounts(printed)[0] > 0
    assert "billed by OpenRouter" in printed


def test_streams_are_told_apart_by_how_they_ended() -> None:
    """A stream read to its end has a cost, sync and async; of one broken off it is unknown."""
    printed = run("streaming.py")

    assert re.findall(r"-> (\w+): (\$[\d.]+|unknown)", printed) == [
        ("complete", "$0.000046"),
        ("closed", "unknown"),
        ("complete", "$0.000046"),
    ]


def test_tenants_have_a_cost_each() -> None:
    """The long text cost its tenant more than the short one cost the other."""
    printed = run("fastapi_tenants.py")
    tenants = {line.split()[0]: amounts(line)[0] for line in printed.splitlines()}

    assert set(tenants) == {"acme", "umbrella"}
    assert tenants["umbrella"] > tenants["acme"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")
@pytest.mark.slow
def test_workers_record_what_the_service_charged() -> None:
    """The workers' calls add up to the service's own books: each is recorded by one worker, once."""
    *calls, charged = amounts(run("gunicorn_workers.py"))

    assert len(calls) == 6
    assert sum(calls) == charged


def test_agent_stops_when_its_budget_is_spent() -> None:
    """The turn after the limit is not sent; the next task has a budget of its own; both add up to the bill."""
    printed = run("budget_agent.py")
    turns = [Decimal(spent) for spent in re.findall(r"turn \d+: \$(\d+\.\d+)", printed)]
    *_, charged = amounts(printed)

    assert "limit of 0.02 USD; the call was not sent" in printed
    assert "DONE" in printed
    assert turns[-3] < Decimal("0.02") <= turns[-2]
    assert turns[-2] + turns[-1] == charged


def test_pull_request_is_told_its_cost(tmp_path: Path) -> None:
    """The evaluations' export, summed by the command line, is what the service charged, suite by suite."""
    printed = run("cost_per_pr/evals.py", cwd=tmp_path)
    command = [sys.executable, "-m", "or_instrument", "cost", "--by", "suite", "--format", "json", "costs.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    summed = json.loads(done.stdout)

    assert Decimal(summed["total"]["usd"]) == amounts(printed)[0]
    assert set(summed["by"]["attributes.suite"]) == {"grammar", "recipes"}
    assert sum(Decimal(part["usd"]) for part in summed["by"]["attributes.suite"].values()) == amounts(printed)[0]


def test_langchain_calls_are_recorded() -> None:
    """Invoked, streamed and batched calls of LangChain add up to what the service charged."""
    printed = run("langchain_chain.py")
    *calls, charged = amounts(printed)

    assert re.findall(r"^(?:invoke|stream|batch)", printed, re.M) == ["invoke", "stream", "batch", "batch"]
    assert sum(calls) == charged


def test_cost_of_a_broken_off_stream_is_recovered() -> None:
    """The amount looked up is what the service charged."""
    printed = run("recover_stream.py")
    looked_up, charged = amounts(printed)

    assert "closed, cost pending" in printed
    assert looked_up == charged > 0


def test_where_nobody_listens_traffic_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not try for ever; the exit code is 1."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    done = run_anyhow("traffic.py")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"no collector at {url}" in done.stderr


def test_port_in_use_is_said_clearly() -> None:
    """Traffic that cannot serve its metrics says why, and what to do."""
    pytest.importorskip("opentelemetry.exporter.prometheus")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_anyhow("traffic.py", "--port", str(port), "--rounds", "1")

    assert done.returncode == 1
    assert f"port {port} cannot be had" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_extra_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic without the Prometheus exporter names the extra that brings it."""
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_anyhow("traffic.py", "--port", "0", "--rounds", "1")

    assert done.returncode == 1
    assert done.stderr == "--port needs the Prometheus exporter: pip install '.[prometheus]'\n"


def test_every_example_is_told_of_and_every_link_leads_somewhere() -> None:
    """The overview names each example that can be run, and no file that is not there."""
    overview = (EXAMPLES / "README.md").read_text()
    named = set(re.findall(r"`python examples/(\S+\.py)", overview))
    runnable = {
        str(path.relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*.py")
        if '__name__ == "__main__"' in path.read_text() and not {"grafana", "pictures"} & set(path.parts)
    }

    assert named == runnable
    for target in re.findall(r"\]\((?!http)(.*?)\)", overview):
        assert (EXAMPLES / target).exists(), target


def test_the_command_that_comes_first_installs_what_they_need() -> None:
    """The overview's install line has each package that an example shows, and none that there is not here."""
    overview = (EXAMPLES / "README.md").read_text()
    line = re.search(r"^pip install '\.\[.*?\]' (.*)$", overview, re.M)
    assert line is not None
    shown = {package for packages in NEEDS.values() for package in packages if "." not in package}

    assert shown <= {name.replace("-", "_") for name in line[1].split()}
    assert all(metadata.version(name) for name in line[1].split())
