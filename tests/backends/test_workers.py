"""Workers that push to Prometheus itself, as docs/production.md says: their sum is the books', whoever was replaced."""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from fresh_install import CALL, environ, running, until
from prometheus_server import Prometheus
from served import free_port, served

from or_instrument.testing import Answer, FakeOpenRouter

pytest.importorskip("gunicorn")
PROGRAM: Final = Path(os.environ.get("OR_INSTRUMENT_TESTS_PROGRAMS", "nowhere"), "prometheus")
if not PROGRAM.exists():
    pytest.skip("Prometheus 3 is not built: nox -s chain", allow_module_level=True)
REQUESTS: Final = 22
SPENT: Final = "last_over_time(gen_ai_usage_cost_USD_sum[1h])"
APP: Final = (
    CALL
    + """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/ask":
        ask()
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"ok"]
"""
)


def test_the_sum_of_workers_that_were_replaced_is_the_books(tmp_path: Path, fake: FakeOpenRouter) -> None:
    """Two workers, each replaced after some requests; nothing is scraped, and nothing is lost."""
    fake.script(*(Answer(cost=f"0.00{number:02}1") for number in range(REQUESTS)))
    (tmp_path / "app.py").write_text(APP)
    prometheus, address = Prometheus(free_port()), f"127.0.0.1:{free_port()}"
    (tmp_path / "prometheus.yml").write_text("{}")
    command = [
        PROGRAM,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={prometheus.url.removeprefix('http://')}",
        "--web.enable-otlp-receiver",
    ]
    env = environ(
        OR_INSTRUMENT_ENABLED="true",
        OR_INSTRUMENT_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{prometheus.url}/api/v1/otlp/v1/metrics",
        OTEL_TRACES_EXPORTER="none",
        FAKE_URL=fake.base_url,
    )
    arguments = f"-m gunicorn --workers 2 --max-requests 4 --bind {address} app:app"
    with served(command, f"{prometheus.url}/-/ready", tmp_path):
        with running(*arguments.split(), env=env, cwd=tmp_path) as workers:
            until(lambda: _ask(f"http://{address}/"), "the server")
            for _ in range(REQUESTS):
                until(lambda: _ask(f"http://{address}/ask"), "an answer")
            workers.send_signal(signal.SIGTERM)
            assert workers.wait(60) == 0
        by_worker = prometheus.query(f"sum by (instance) ({SPENT})")
        (spent,) = prometheus.query(f"sum({SPENT})").values()
    assert len(fake.requests) == REQUESTS
    assert len(by_worker) > 2
    assert spent == pytest.approx(float(fake.charged_usd), abs=1e-12)


def _ask(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - an address of this test
        return bool(answer.read() == b"ok")
    return False
