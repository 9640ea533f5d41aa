"""Streams read to the end, broken off, and async: each is recorded once, when it ends.

python examples/streaming.py
"""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI, OpenAI

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

MODEL = "google/gemini-2.5-flash"
QUESTION = [{"role": "user", "content": "Tell me about Titan."}]


def show(call: or_instrument.Call) -> None:
    cost = f"${call.spend:.6f}" if call.spend is not None else f"unknown ({call.missing})"
    first = f"{1000 * (call.time_to_first_chunk_s or 0):.0f} ms to the first chunk"
    print(f"\n  -> {call.outcome}: {cost}, {first}\n")


def to_the_end(client: OpenAI) -> None:
    for chunk in client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True):
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)


def broken_off(client: OpenAI) -> None:
    """Leave early, and so before the last chunk, which tells the cost: see recover_stream.py."""
    with client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True) as stream:
        print(next(stream).choices[0].delta.content, end="")


async def asynchronously(client: AsyncOpenAI) -> None:
    async for chunk in await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True):
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)


async def async_main(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="sk-or-fake") as client:
        await asynchronously(client)


def main() -> None:
    or_instrument.instrument(hosts=["127.0.0.1"], sinks=[show])
    with FakeOpenRouter() as fake:
        fake.default = Answer(content="Titan is Saturn's largest moon.", pause_s=0.02)
        with OpenAI(base_url=fake.base_url, api_key="sk-or-fake") as client:
            to_the_end(client)
            broken_off(client)
        asyncio.run(async_main(fake.base_url))


if __name__ == "__main__":
    main()
