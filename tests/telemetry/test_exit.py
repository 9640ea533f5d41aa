"""The end of a process: whoever exports, and however it ends, what was recorded goes out."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_install import CALL, environ, run, running, until
from installed import need
from otlp_receiver import Received

import or_instrument
from or_instrument.testing import FakeOpenRouter

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")]


@pytest.fixture
def env(fake: FakeOpenRouter, receiver: Received) -> dict[str, str]:
    """Return an environment that records, and exports nothing by itself."""
    return environ(OR_INSTRUMENT_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, FAKE_URL=fake.base_url)


def _assert_all_arrived(fake: FakeOpenRouter, receiver: Received, calls: int) -> None:
    assert len(fake.requests) == calls
    assert len(receiver.spans()) == calls
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd), abs=1e-12)


@pytest.mark.parametrize("calls_before", [0, 1])
def test_a_call_that_an_exit_function_makes(
    calls_before: int, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """Also the first of all, when no thread starts any more; nothing is left open, and nothing complains."""
    code = f"""
import atexit
for _ in range({calls_before}): ask()

@atexit.register
def last():
    ask()
    from or_instrument._calls.live import LIVE
    assert not LIVE
"""
    done = run("-c", CALL + code, env={**env, "OR_INSTRUMENT_EXPORTER": "otlp"})
    assert done.stderr == ""
    _assert_all_arrived(fake, receiver, calls_before + 1)


THEIRS = (
    CALL
    + """
import signal
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

traces = TracerProvider(shutdown_on_exit=False)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
traces.shutdown = lambda: print("shut down", flush=True)
trace.set_tracer_provider(traces)
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], shutdown_on_exit=False))
ask()
open("ready", "w").close()
"""
)


def test_providers_of_the_application_are_flushed_and_not_shut_down(
    tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """A signal that nobody handles loses nothing that they hold, and still ends the process."""
    with running("-c", THEIRS + "signal.pause()", env=env, cwd=tmp_path) as process:
        until((tmp_path / "ready").exists, "the call")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert "shut down" not in (tmp_path / "server.log").read_text()
    _assert_all_arrived(fake, receiver, 1)


ASKED_AGAIN = (
    CALL
    + """
import atexit, multiprocessing.util, signal, sys, threading
import or_instrument
from opentelemetry.trace import NoOpTracerProvider

heard, gave_up = threading.Event(), threading.Event()
exported = []

def on_signal(*_):
    heard.set()
    sys.exit(0)

class Slow(NoOpTracerProvider):
    def force_flush(self, timeout_millis):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGQUIT)
        heard.wait(60)
        gave_up.wait(0.2)
        exported.append(True)

def last():
    gave_up.set()
    print(exported, flush=True)

def work():
    multiprocessing.util.Finalize(None, last, exitpriority=-1)
    ask()

signal.signal(signal.SIGQUIT, on_signal)
or_instrument.uninstrument()
or_instrument.instrument(tracer_provider=Slow())
"""
)


@pytest.mark.parametrize(
    "where",
    [
        "atexit.register(last); ask()",  # the first to be registered runs last
        "child = multiprocessing.get_context('fork').Process(target=work); child.start(); child.join()",
    ],
    ids=["program", "child"],
)
def test_a_handler_that_asks_for_the_exit_under_way_does_not_cut_it_short(where: str, env: dict[str, str]) -> None:
    """As a worker of gunicorn does, which at Ctrl-C hears its terminal and then its master."""
    done = run("-W", "ignore::DeprecationWarning", "-c", ASKED_AGAIN + where, env=env)
    assert (done.stdout, done.stderr) == ("[True]\n", "")


def test_a_forked_child_hears_the_signal(fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """Even where the parent could not listen, having begun in a thread."""
    code = """
import or_instrument, signal, threading
or_instrument.uninstrument()
thread = threading.Thread(target=or_instrument.instrument)
thread.start()
thread.join()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
ask()
os.kill(os.getpid(), signal.SIGTERM)
"""
    run("-W", "ignore", "-c", CALL + code, env={**env, "OR_INSTRUMENT_EXPORTER": "otlp"}, code=256 - signal.SIGTERM)
    _assert_all_arrived(fake, receiver, 1)


@pytest.mark.parametrize(
    ("library", "patch", "pause"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()", "import gevent; gevent.sleep(60)"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()", "eventlet.sleep(60)"),
    ],
)
def test_a_signal_that_comes_to_the_hub_of_greenlets(
    library: str, patch: str, pause: str, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """Nothing may wait there; what was recorded goes out all the same."""
    need(library)
    code = f"""
import sys
sys.modules["trio"] = None  # does not bear eventlet's sockets
{patch}
{CALL}
ask()
open("ready", "w").close()
{pause}
"""
    with running("-c", code, env={**env, "OR_INSTRUMENT_EXPORTER": "otlp"}, cwd=tmp_path) as process:
        until((tmp_path / "ready").exists, "the call")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert "or_instrument" not in (tmp_path / "server.log").read_text()
    _assert_all_arrived(fake, receiver, 1)


def test_under_gevent_each_export_of_the_end_has_a_thread_to_look_up_its_host(
    fake: FakeOpenRouter, receiver: Received, env: dict[str, str]
) -> None:
    """From Python 3.12 on none starts at exit, and gevent starts one only for a second look-up beside the first."""
    need("gevent")
    code = f"""
from gevent import get_hub, monkey
monkey.patch_all()
{CALL}
ask()
print(get_hub().threadpool.size)
"""
    done = run("-W", "ignore", "-c", code, env={**env, "OR_INSTRUMENT_EXPORTER": "otlp"})
    assert int(done.stdout) >= 2
    assert "or_instrument" not in done.stderr
    _assert_all_arrived(fake, receiver, 1)


def test_uninstrument_takes_the_hooks_off_the_servers() -> None:
    """The class is as it was, whether the server was imported before or after."""
    server = pytest.importorskip("uvicorn.server").Server
    before = server.shutdown
    or_instrument.instrument()
    assert server.shutdown is not before
    or_instrument.uninstrument()
    assert server.shutdown is before


def test_frozen_after_flush(tmp_path: Path, fake: FakeOpenRouter, receiver: Received, env: dict[str, str]) -> None:
    """Where a platform freezes the process between requests, `flush()` in time leaves nothing to lose."""
    code = """
import or_instrument, signal
ask()
list(ask(stream=True))
assert or_instrument.flush()
print("flushed", flush=True)
signal.pause()
"""
    with running("-c", CALL + code, env={**env, "OR_INSTRUMENT_EXPORTER": "otlp"}, cwd=tmp_path) as process:
        until(lambda: "flushed" in (tmp_path / "server.log").read_text(), "flush()")
        process.send_signal(signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    _assert_all_arrived(fake, receiver, 2)


@pytest.fixture(params=["refuses", "is silent"])
def absent(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Return the endpoint of a collector that takes nothing, and what is said of it."""
    with socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{collector.getsockname()[1]}"
        if request.param == "refuses":
            yield endpoint, "connection refused"
        else:
            collector.listen(16)  # it answers no request
            yield endpoint, "no answer yet"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGTERM)"], ids=["exit", "signal"])
def test_a_short_process_says_that_nothing_arrives(
    end: str, protocol: str, absent: tuple[str, str], env: dict[str, str]
) -> None:
    """It ends before an exporter gives up, and says so all the same, once."""
    if protocol == "grpc":
        pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    endpoint, reason = absent
    env |= {"OR_INSTRUMENT_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    done = run("-c", f"{CALL}import signal\nask()\n{end}", env=env, code=-signal.SIGTERM if end else 0)
    assert endpoint.partition("//")[2] in done.stderr
    # Of gRPC the first attempt may still go on.
    assert reason in done.stderr or (protocol == "grpc" and "no answer yet" in done.stderr)
    assert len(done.stderr.splitlines()) == 1
