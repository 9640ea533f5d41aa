"""The cost of streams that were broken off, asked for afterwards.

python examples/recover_stream.py

OpenRouter tells what a stream cost in its last chunk. With `lookup="missing"` the cost of those that ended before is
looked up in the background; nobody waits for it.
"""

from __future__ import annotations

from openai import OpenAI

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter


def show(call: or_instrument.Call) -> None:
    if call.recovers is not None:
        print(f"call {call.recovers}: ${call.spend:.6f}, looked up")
    elif call.spend is not None:
        print(f"call {call.id}: ${call.spend:.6f}")
    else:
        print(f"call {call.id}: {call.outcome}, cost {call.missing}")


def main() -> None:
    or_instrument.instrument(hosts=["127.0.0.1"], lookup="missing", sinks=[show])
    with FakeOpenRouter() as fake, OpenAI(base_url=fake.base_url, api_key="sk-or-fake") as client:
        fake.default = Answer(content="Titan is Saturn's largest moon.", pause_s=0.02)
        fake.lookup_404s = 1  # as live: the bill is filed a moment after the answer
        question = [{"role": "user", "content": "Tell me about Titan."}]
        with client.chat.completions.create(model="openai/gpt-5-mini", messages=question, stream=True) as stream:
            next(stream)
        or_instrument.flush()
        print(f"charged by the service: ${fake.spend_usd}")


if __name__ == "__main__":
    main()
