"""Several gunicorn workers: set up after the fork, so that each has exporters of its own.

python examples/gunicorn_workers.py        on the fake service

The file is a gunicorn configuration as well: gunicorn -c examples/gunicorn_workers.py
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = 2
wsgi_app = "gunicorn_workers:app"
pythonpath = str(Path(__file__).parent)
loglevel = "warning"


def post_fork(_server: object, worker: Any) -> None:
    """Set up a new worker. What is counted before a fork, every worker would export again."""
    import or_instrument

    def show(call: or_instrument.Call) -> None:
        print(f"worker {worker.age}: ${call.spend:.6f}", flush=True)

    # In production: or_instrument.instrument(exporter="otlp"), and the variable OTEL_EXPORTER_OTLP_ENDPOINT.
    or_instrument.instrument(hosts=["127.0.0.1"], sinks=[show])


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    from openai import OpenAI

    with OpenAI(base_url=os.environ["OPENROUTER_URL"], api_key="sk-or-fake") as client:
        reply = client.chat.completions.create(
            model="openai/gpt-5-mini", messages=[{"role": "user", "content": environ["QUERY_STRING"]}]
        )
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(reply.choices[0].message.content or "").encode()]


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def visit(address: str) -> None:
    import httpx

    with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=30) as visitor:
        visitor.get(f"http://{address}/?name-a-moon-of-Saturn").raise_for_status()


def main() -> None:
    from or_instrument.testing import Answer, FakeOpenRouter

    with FakeOpenRouter() as fake:
        fake.default = Answer(delay_s=0.1)
        address = free_address()
        environment = {**os.environ, "BIND": address, "OPENROUTER_URL": fake.base_url}
        with subprocess.Popen([sys.executable, "-m", "gunicorn", "-c", __file__], env=environment) as gunicorn:
            try:
                with ThreadPoolExecutor(6) as visitors:
                    list(visitors.map(visit, [address] * 6))
            finally:
                gunicorn.terminate()
        print(f"charged by the service: ${fake.spend_usd}")


if __name__ == "__main__":
    main()
