"""MLflow's own server shows the reported cost: read back through its API, and on its page."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from otlp_sender import KNOWN, UNKNOWN, send_calls
from served import answer, free_port, page, served

if importlib.util.find_spec("mlflow") is None:
    pytest.skip("mlflow is not installed", allow_module_level=True)

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

EXPERIMENT: Final = {"x-mlflow-experiment-id": "0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server of its own."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    store = ("--backend-store-uri", f"sqlite:///{folder}/store.db", "--default-artifact-root", folder / "artifacts")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    url = f"http://127.0.0.1:{port}"
    with served([*command, *store], f"{url}/health", folder, MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true"):
        yield url


def traces(url: str) -> list[dict[str, Any]]:
    """Return the traces that the server has, the newest first."""
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    return list(answer(f"{url}/api/3.0/mlflow/traces/search", {"locations": [where], "max_results": 50})["traces"])


def costs(url: str) -> list[Decimal]:
    """Return what the newest two traces cost, as the server has it."""
    told = [json.loads(trace["trace_metadata"]["mlflow.trace.cost"]) for trace in traces(url)[:2]]
    return [Decimal(str(cost["total_cost"])) for cost in told]


def test_the_reported_cost_is_read_back(server: str) -> None:
    """To the last digit; without the option MLflow estimates, and says 0 for a model that it does not know."""
    send_calls(server, None, EXPERIMENT)
    estimated = costs(server)
    sent = send_calls(server, "mlflow", EXPERIMENT)
    assert costs(server) == [sent[UNKNOWN], sent[KNOWN]]
    assert len(traces(server)) == 4
    assert estimated[0] == 0
    assert 0 < estimated[1] < sent[KNOWN] / 100


def test_its_page_shows_the_cost(server: str, tmp_path: Path) -> None:
    """In a browser, where a person looks at a call."""
    send_calls(server, "mlflow", EXPERIMENT)
    dear = traces(server)[1]["trace_id"]
    assert "$0.123456" in page(f"{server}/#/experiments/0/traces?selectedEvaluationId={dear}", tmp_path)


def test_a_number_in_place_of_the_text_loses_the_batch(server: str) -> None:
    """Which is why it is refused as an alias of the spend: the server takes none of the spans sent together."""
    before = len(traces(server))
    results: list[SpanExportResult] = []

    class Exporter(OTLPSpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            results.append(super().export(spans))
            return results[-1]

    provider = TracerProvider(shutdown_on_exit=False)
    exporter = Exporter(f"{server}/v1/traces", headers=EXPERIMENT, timeout=60)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("chat", attributes={"mlflow.llm.cost": 0.1}).end()
    provider.shutdown()
    assert results == [SpanExportResult.FAILURE]
    assert len(traces(server)) == before
