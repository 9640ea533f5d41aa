"""One process, five clients, one bill: each call is recorded once, whatever sends it.

python examples/every_client.py            needs the packages anthropic, openrouter and requests besides ours

It runs on the fake service, whose books the table must equal. For the real one leave `FakeOpenRouter` and `hosts` out,
and give each client OpenRouter's address and your key.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import requests
from anthropic import Anthropic
from openai import OpenAI

import or_instrument
from or_instrument.testing import FakeOpenRouter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a library of its own warns when it is imported
    from openrouter import OpenRouter

ASKED = [{"role": "user", "content": "Name a moon of Jupiter."}]
MODEL = "anthropic/claude-sonnet-4.5"


def by_openai(url: str) -> None:
    with OpenAI(base_url=url, api_key="any") as client:
        client.chat.completions.create(model=MODEL, messages=ASKED)


def by_openai_streamed(url: str) -> None:
    with OpenAI(base_url=url, api_key="any") as client:
        for _chunk in client.chat.completions.create(model=MODEL, messages=ASKED, stream=True):
            pass


def by_openrouter(url: str) -> None:
    with OpenRouter(server_url=url, api_key="any") as client:
        client.chat.send(model=MODEL, messages=ASKED)


def by_anthropic(url: str) -> None:
    with Anthropic(base_url=url.removesuffix("/v1"), api_key="any") as client:
        client.messages.create(model=MODEL, messages=ASKED, max_tokens=100)


def by_requests(url: str) -> None:
    body = {"model": MODEL, "messages": ASKED}
    requests.post(f"{url}/chat/completions", json=body, timeout=10).raise_for_status()


CLIENTS: dict[str, Callable[[str], None]] = {
    "openai": by_openai,
    "openai, streamed": by_openai_streamed,
    "openrouter": by_openrouter,
    "anthropic": by_anthropic,
    "requests": by_requests,
}


def main() -> None:
    or_instrument.instrument(hosts=["127.0.0.1"])
    with FakeOpenRouter(prices={MODEL: ("0.000003", "0.000015")}) as fake, or_instrument.track("all") as cost:
        for name, ask in CLIENTS.items():
            with or_instrument.attributes(library=name):
                ask(fake.base_url)
        for name, usd in cost.by("library").items():
            print(f"{name:20} ${usd}")
        print(f"{'together':20} ${cost.total_usd}   {cost.calls} calls")
        print(f"{'in the books':20} ${fake.spend_usd}   {len(fake.requests)} calls")


if __name__ == "__main__":
    main()
