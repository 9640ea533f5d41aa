"""What a request that is not recorded costs: another host's, a suppressed one, one while switched off; in each client.

These are a microsecond or two, which a whole call would hide. So the place where a client is seen is called with
nothing beneath it: the client's own method is replaced by an empty one before we are switched on, and a coroutine is
run to its end at once, by no event loop. Median over rounds, in which processes with us and without take turns; the
spread is the middle half of the rounds.

    python benchmarks/unrecorded.py
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _canned import BASE_URL, MODEL, http_library
from _common import Row, Worker, save, show
from openai import AsyncOpenAI, OpenAI
from openai._base_client import AsyncAPIClient, SyncAPIClient
from openai._models import FinalRequestOptions
from openai.types.chat import ChatCompletion
from opentelemetry import context

ELSEWHERE = "https://api.example.com/v1"
TIMES = 2_000
LIMITS = {"another host": 2.0, "suppressed": 3.0, "disabled": 3.0}
VARIABLES = {"disabled": {"OTEL_SDK_DISABLED": "true"}}

Request = Callable[[], object]


def empty(*_args: object, **_kwargs: object) -> None:
    """Do nothing."""


async def empty_async(*_args: object, **_kwargs: object) -> None:
    """Do nothing."""


def at_once(begin: Callable[[], Coroutine[Any, Any, object]]) -> Request:
    """Return what makes a coroutine and runs it to its end.

    Raises:
        RuntimeError: it waits for something, so that its end would not be timed.

    """

    def request() -> None:
        try:
            begin().send(None)
        except StopIteration:
            return
        raise RuntimeError("a request with nothing beneath it waits")

    return request


def emptied(library: Any, *, is_async: bool) -> Any:
    """Return the class of an HTTP client, whose `send` does nothing."""
    kind = library.AsyncClient if is_async else library.Client
    kind.send = empty_async if is_async else empty
    return kind


def openai_request(kind: type[OpenAI | AsyncOpenAI], url: str) -> Request:
    """The SDK: what is left is its `request`, with the HTTP client's `send` and its own `_process_response` inside."""
    http, is_async = http_library(), kind is AsyncOpenAI
    emptied(http, is_async=is_async)
    sent = http.Request("POST", f"{url}/chat/completions")
    body = {"messages": [{"role": "user", "content": "Say hello"}], "model": MODEL}
    options = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=body)

    def request(client: Any, cast_to: type, options: Any, **_: object) -> None:  # noqa: ARG001 - the SDK's own
        client._client.send(sent)  # noqa: SLF001 - as the SDK does
        client._process_response(response=None)  # noqa: SLF001 - likewise

    async def request_async(client: Any, cast_to: type, options: Any, **_: object) -> None:  # noqa: ARG001 - likewise
        await client._client.send(sent)  # noqa: SLF001 - likewise
        await client._process_response(response=None)  # noqa: SLF001 - likewise

    base: Any = AsyncAPIClient if is_async else SyncAPIClient
    base.request = request_async if is_async else request
    base._process_response = empty_async if is_async else empty  # noqa: SLF001 - where an answer is seen
    client: Any = kind(base_url=url, api_key="sk-or-benchmark")

    def call() -> Any:
        return client.request(ChatCompletion, options)

    return at_once(call) if is_async else call


def httpx_request(library: str, url: str, *, is_async: bool = False) -> Request:
    """A library of the httpx family."""
    http = importlib.import_module(library)
    client, request = emptied(http, is_async=is_async)(), http.Request("POST", f"{url}/chat/completions")

    def call() -> Any:
        return client.send(request)

    return at_once(call) if is_async else call


def requests_request(url: str) -> Request:
    """The library requests, a prepared request."""
    requests = importlib.import_module("requests")
    requests.Session.send = empty
    session, request = requests.Session(), requests.Request("POST", f"{url}/chat/completions").prepare()
    return lambda: session.send(request)


def aiohttp_request(url: str) -> Request:
    """The library aiohttp."""
    aiohttp = importlib.import_module("aiohttp")

    async def session() -> Any:
        return aiohttp.ClientSession()

    aiohttp.ClientSession._request = empty_async  # noqa: SLF001 - where it is seen
    client = asyncio.run(session())
    return at_once(lambda: client._request("POST", f"{url}/chat/completions"))  # noqa: SLF001 - likewise


CLIENTS: dict[str, Callable[[str], Request]] = {
    "openai.OpenAI": partial(openai_request, OpenAI),
    "openai.AsyncOpenAI": partial(openai_request, AsyncOpenAI),
    "httpx2.Client": partial(httpx_request, "httpx2"),
    "httpx2.AsyncClient": partial(httpx_request, "httpx2", is_async=True),
    "httpx.Client": partial(httpx_request, "httpx"),
    "httpx.AsyncClient": partial(httpx_request, "httpx", is_async=True),
    "requests": requests_request,
    "aiohttp": aiohttp_request,
}
"""By the library, and by its class where two of it are seen."""


def run(client: str, case: str) -> None:
    """Make the empty request over and over, as often as each line of the input wants it."""
    request = CLIENTS[client](BASE_URL if case in {"suppressed", "disabled"} else ELSEWHERE)
    if case != "plain":
        importlib.import_module("or_instrument").instrument()
    if case == "suppressed":
        context.attach(context.set_value("suppress_instrumentation", True))
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.process_time_ns()
        for _ in range(TIMES):
            request()
        print(json.dumps((time.process_time_ns() - began) / TIMES / 1e3), flush=True)


def rows_of(client: str, rounds: int) -> list[Row]:
    """Return what each case adds to the plain request of a client, in microseconds."""
    cases = ("plain", *LIMITS)
    workers = {
        case: Worker("unrecorded.py", "--client", client, "--case", case, **VARIABLES.get(case, {})) for case in cases
    }
    for worker in workers.values():
        worker.wait_ready()
    taken: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case, worker in workers.items():
            taken[case].append(worker.ask())
    for worker in workers.values():
        worker.stop()
    rows = []
    for case, limit in LIMITS.items():
        added = sorted(mine - plain for mine, plain in zip(taken[case], taken["plain"], strict=True))
        spread = f"{added[rounds // 4]:.2f}-{added[-1 - rounds // 4]:.2f}"
        rows.append(Row(client, case, median(added), "us", None, f"<= {limit} us", median(added) <= limit, spread))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="how often each is asked (default 40)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--client", choices=CLIENTS, help="one client (default: each that is installed)")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run(options.client, options.case)
        return
    installed = [name for name in CLIENTS if importlib.util.find_spec(name.partition(".")[0])]
    rows = [
        row for client in ([options.client] if options.client else installed) for row in rows_of(client, options.rounds)
    ]
    show(f"CPU time added to a request that is not recorded, {options.rounds} rounds", rows)
    save(options.json, rows, rounds=options.rounds)


if __name__ == "__main__":
    main()
