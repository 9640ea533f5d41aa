"""A real Prometheus on loopback, and promtool, for the tests of the dashboard and of the rules."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from served import free_port

Labels = frozenset[tuple[str, str]]
PATIENCE_S = 90.0
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def example(path: str) -> ModuleType:
    """Import a module of the examples by its path."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def need(program: str) -> str:
    """Return where `program` is; skip where the Debian package `prometheus` is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian package prometheus)")
    return found


def promtool(*arguments: str | Path, cwd: Path | None = None) -> str:
    """Run promtool, which must succeed, and return what it printed."""
    command = [need("promtool"), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_expressions(
    folder: Path, series: Mapping[str, str], expected: Mapping[str, Sequence[tuple[str, float]]], at: str = "60m"
) -> None:
    """Have promtool hold what each expression gives at the time `at` on these series, scraped every minute."""
    cases = [
        {"expr": expr, "eval_time": at, "exp_samples": [{"labels": where, "value": number} for where, number in result]}
        for expr, result in expected.items()
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    group = {"interval": "1m", "input_series": inputs, "promql_expr_test": cases}
    test = folder / "expressions.json"
    test.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [group]}))
    promtool("test", "rules", test)


class Prometheus:
    """A running server's API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str, at: float | None = None) -> dict[Labels, float]:
        """Return the instant vector that `expression` gives, by label set."""
        fields = {"query": expression} | ({} if at is None else {"time": str(at)})
        data = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query", data, timeout=PATIENCE_S) as answer:  # noqa: S310
                result = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()} for {expression}") from None
        return {frozenset(item["metric"].items()): float(item["value"][1]) for item in result}

    def query_up(self, expression: str) -> dict[Labels, float]:
        """Return the same while all targets are up: of one whose scrape came too late, gauges are gone until the next.

        Half a second is all that a scrape has, and this process may be busy.
        """
        found: dict[Labels, float] = {}

        def is_whole(_: Prometheus) -> bool:
            found.clear()
            was_up = all(self.query("up").values())
            found.update(self.query(expression))
            return was_up and all(self.query("up").values())

        self.wait_until(is_whole)
        return found

    def wait_until(self, condition: Callable[[Prometheus], bool]) -> None:
        """Ask until the condition holds; at most half a minute."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if condition(self):
                    return
            except (OSError, AssertionError):
                pass
            time.sleep(0.1)
        raise TimeoutError(f"the condition did not hold within {PATIENCE_S} s")


@contextmanager
def running(folder: Path, job: str, *target_ports: int) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the targets every half second."""
    targets = [f"127.0.0.1:{port}" for port in target_ports]
    config: dict[str, Any] = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))
    port = free_port()
    command = [
        need("prometheus"),
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            server = Prometheus(port)
            server.wait_until(lambda prometheus: bool(prometheus.query("up")))
            yield server
        finally:
            process.terminate()
