"""Requests with nothing beneath them: each client where it is seen, its own method there replaced by an empty one."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from _canned import MODEL, http_library
from openai import AsyncOpenAI, OpenAI
from openai._base_client import AsyncAPIClient, SyncAPIClient
from openai._models import FinalRequestOptions
from openai.types.chat import ChatCompletion

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
