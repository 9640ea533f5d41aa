"""Calls where threads are greenlets: patched before us, after us, and after our first call."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from installed import need

from or_instrument.testing import FakeOpenRouter

pytestmark = pytest.mark.slow

SCRIPT = """
import sys, threading
sys.modules["trio"] = None  # is imported where it is there, and does not bear eventlet's sockets
{first}
import or_instrument
calls = []
{patch_then_call}
import os, openai

def ask(stream=False):
    with openai.OpenAI(base_url=os.environ["FAKE_URL"], api_key="k") as client:
        reply = client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}], stream=stream)
        if stream:
            next(iter(reply))

or_instrument.instrument(sinks=[calls.append], hosts=["127.0.0.1"], exporter="console")
{between}
threads = [threading.Thread(target=ask, args=(number % 2 == 1,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import gc; gc.collect()
assert or_instrument.flush()
print("recorded", len(calls))
"""
PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


def said_without_us(library: str) -> str:
    """Return what a library says of being patched first: in some environments eventlet complains of a module."""
    code = f"import sys; sys.modules['trio'] = None; {PATCH[library]}"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr


@pytest.mark.parametrize("library", list(PATCH))
@pytest.mark.parametrize("when", ["first", "patch_then_call", "between", "after_a_call"])
def test_calls_are_answered_and_recorded_whenever_threads_become_greenlets(
    library: str, when: str, fake: FakeOpenRouter
) -> None:
    """Plain replies and dropped streams alike; nothing waits for ever, and nothing is said on the way out."""
    need(library)
    places = dict.fromkeys(("first", "patch_then_call", "between"), "")
    if when == "after_a_call":
        places["between"] = f"ask(); {PATCH[library]}"
    else:
        places[when] = PATCH[library]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(**places)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "FAKE_URL": fake.base_url, "OTEL_METRIC_EXPORT_INTERVAL": "3600000"},
    )

    told = [line for line in done.stdout.splitlines() if line.startswith("recorded")]
    assert told == [f"recorded {8 + (when == 'after_a_call')}"], done.stdout[-2000:] + done.stderr
    # Patched late, the libraries themselves complain; not of us.
    assert "or_instrument" not in done.stderr
    assert when != "first" or done.stderr == said_without_us(library)
    assert done.returncode == 0
