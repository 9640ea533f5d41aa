"""Many processes behind one real Prometheus."""

from __future__ import annotations

import signal
from pathlib import Path

import prometheus_server
import pytest
from fresh_install import CALL, environ, running, until
from served import free_port

from or_instrument.testing import FakeOpenRouter

WORKERS = 4

CONFIG = """
import os
import signal

def post_fork(server, worker):
    from opentelemetry import metrics
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import start_http_server

    start_http_server(int(os.environ["PORTS"].split(",")[worker.age - 1]), "127.0.0.1")
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
"""

APP = (
    CALL
    + """
import threading

# Every worker makes its calls by itself, each another number of them, so that all four have something to tell.
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]

def work():
    for _ in range(3 + os.getpid() % 3):
        ask()
    list(ask(stream=True))
    open(f"done-{os.getpid()}", "w").close()

threading.Thread(target=work).start()
"""
)


@pytest.mark.slow
def test_four_workers_add_up(tmp_path: Path, fake: FakeOpenRouter) -> None:
    """The PromQL sum over four scraped workers is what the service charged, and the number of calls is right too."""
    pytest.importorskip("gunicorn")
    pytest.importorskip("opentelemetry.exporter.prometheus")
    prometheus_server.need("prometheus")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIG)
    (tmp_path / "prometheus").mkdir()
    ports = [free_port() for _ in range(WORKERS)]
    env = environ(OR_INSTRUMENT_ENABLED="true", FAKE_URL=fake.base_url, PORTS=",".join(str(port) for port in ports))
    arguments = ("-m", "gunicorn", "-w", str(WORKERS), "-b", "unix:app.sock", "app:app")
    with running(*arguments, env=env, cwd=tmp_path) as process:
        until(lambda: len(list(tmp_path.glob("done-*"))) == WORKERS, "the workers' calls")
        with prometheus_server.running(tmp_path / "prometheus", "shop", *ports) as prometheus:
            calls = "sum(gen_ai_client_operation_duration_seconds_count)"
            prometheus.wait_until(lambda it: it.query(calls) == {frozenset(): len(fake.requests)})
            spent = prometheus.query("sum(gen_ai_usage_cost_USD_sum)")
            by_worker = prometheus.query("sum by (instance) (gen_ai_usage_cost_USD_sum)")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert spent == {frozenset(): pytest.approx(float(fake.charged_usd), rel=1e-12)}
    assert len(by_worker) == WORKERS
