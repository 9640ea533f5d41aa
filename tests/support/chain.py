"""The whole chain on loopback: a Collector with examples/collector.yaml, and behind it Jaeger and Prometheus."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_server import EXAMPLES, Prometheus
from served import answer, free_port, served


class Chain(NamedTuple):
    """Where the Collector takes OTLP, and where what came through is asked for."""

    otlp: str
    jaeger: str
    prometheus: Prometheus

    def spans(self, service: str, **tags: str) -> list[dict[str, Any]]:
        """Return the tags of every LLM call that Jaeger finds by these tags."""
        fields = {"service": service, "tags": json.dumps(tags), "limit": "1500", "lookback": "1h"}
        found = answer(f"{self.jaeger}/api/traces?{urllib.parse.urlencode(fields)}")["data"]
        tagged = [{tag["key"]: tag["value"] for tag in span["tags"]} for trace in found for span in trace["spans"]]
        return [tags for tags in tagged if "gen_ai.operation.name" in tags]


@contextmanager
def running(
    programs: Path, folder: Path, *, keep_percent: int = 100, features: str = "", names: str | None = None
) -> Iterator[Chain]:
    """Run all three until the block ends.

    `features` are those of Prometheus that are off by default; `names` is how it makes its names of OpenTelemetry's.
    """
    grpc, otlp, store = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        prometheus = Prometheus(free_port())
        jaeger = f"http://127.0.0.1:{free_port()}"
        stack.enter_context(_prometheus(programs / "prometheus", folder, prometheus, features, names))
        stack.enter_context(_jaeger(programs / "jaeger", folder, jaeger, store))
        settings = {
            "receivers.otlp.protocols.grpc.endpoint": f"127.0.0.1:{grpc}",
            "receivers.otlp.protocols.http.endpoint": f"127.0.0.1:{otlp}",
            "exporters.otlp/jaeger.endpoint": f"127.0.0.1:{store}",
            "exporters.otlphttp/prometheus.endpoint": f"{prometheus.url}/api/v1/otlp",
            "processors.tail_sampling.decision_wait": "1s",
            "service.telemetry.metrics.level": "none",
        }
        command = [programs / "otelcol" / "otelcol", f"--config={EXAMPLES / 'collector.yaml'}", *_sets(settings)]
        url = f"http://127.0.0.1:{otlp}"
        stack.enter_context(served(command, url, _made(folder / "collector"), KEEP_PERCENT=str(keep_percent)))
        yield Chain(url, jaeger, prometheus)


def validate(programs: Path, *configs: str) -> None:
    """Have the Collector check some of the examples' configurations, laid over each other."""
    files = [f"--config={EXAMPLES / config}" for config in configs]
    done = subprocess.run(
        [programs / "otelcol" / "otelcol", "validate", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _prometheus(program: Path, folder: Path, prometheus: Prometheus, features: str, names: str | None) -> Any:
    made = _made(folder / "prometheus")
    config = {"otlp": {"translation_strategy": names}} if names else {}
    (made / "prometheus.yml").write_text(json.dumps(config))
    command = [
        program,
        f"--config.file={made / 'prometheus.yml'}",
        f"--storage.tsdb.path={made / 'data'}",
        f"--web.listen-address={prometheus.url.removeprefix('http://')}",
        "--web.enable-otlp-receiver",
        f"--enable-feature={features}",
    ]
    return served(command, f"{prometheus.url}/-/ready", made)


def _jaeger(program: Path, folder: Path, url: str, otlp_port: int) -> Any:
    made = _made(folder / "jaeger")
    config = {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": url.removeprefix("http://")},
                "grpc": {"endpoint": f"127.0.0.1:{free_port()}"},
            },
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{otlp_port}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
    (made / "config.json").write_text(json.dumps(config))
    return served([program, f"--config={made / 'config.json'}"], f"{url}/api/services", made)


def _sets(settings: Mapping[str, str]) -> list[str]:
    return [f"--set={key}={value}" for key, value in settings.items()]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
