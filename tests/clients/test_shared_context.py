"""Tasks that share one context, which holds what is under way: each call is still one, with its own bill."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from in_memory import Telemetry

from or_instrument._clients.own_context import in_own_context

if sys.version_info < (3, 11):
    pytest.skip("tasks take a context since Python 3.11", allow_module_level=True)

http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
URL = "https://openrouter.ai/api/v1"
HELLO: Any = {"model": "a/model", "messages": [{"role": "user", "content": "Hello"}]}


class Service:
    """Answers in memory, each request with a cost of its own, once both have come."""

    def __init__(self, library: Any) -> None:
        self.asked = 0
        self.both = asyncio.Event()
        self.library = library
        self.transport = library.MockTransport(self.answer)

    async def answer(self, _request: Any) -> Any:
        """Answer, the last request first."""
        self.asked += 1
        cost = self.asked / 4
        if self.asked == 2:
            self.both.set()
        else:
            await self.both.wait()
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": cost}
        body = {"id": f"gen-{cost}", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
        return self.library.Response(200, json={**body, "usage": usage})


async def together(*asked: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run all in tasks of one context."""
    shared = contextvars.copy_context()
    loop = asyncio.get_running_loop()

    async def run(ask: Callable[[], Awaitable[Any]]) -> Any:
        return await ask()

    return await asyncio.gather(*(loop.create_task(run(ask), context=shared) for ask in asked))


def told(telemetry: Telemetry) -> list[tuple[str | None, float | None, str]]:
    """Return id, spend and outcome of each call."""
    return sorted((call.reply.id, call.spend, call.outcome) for call in telemetry.settle().calls)  # type: ignore[type-var]


TWO = [("gen-0.25", 0.25, "complete"), ("gen-0.5", 0.5, "complete")]


@pytest.mark.parametrize("others", [HELLO, {**HELLO, "model": "b"}], ids=["same", "other"])
def test_two_calls_of_the_sdk(telemetry: Telemetry, others: Any) -> None:
    """Of one client, whether or not they ask the same."""

    async def main() -> list[Any]:
        service = Service(http)
        client = openai.AsyncOpenAI(
            base_url=URL, api_key="k", http_client=http.AsyncClient(transport=service.transport)
        )
        create: Any = client.chat.completions.create
        return await together(lambda: create(**HELLO), lambda: create(**others))

    assert {answer.id for answer in asyncio.run(main())} == {"gen-0.25", "gen-0.5"}
    assert told(telemetry) == TWO


@pytest.mark.parametrize("others", [HELLO, {**HELLO, "model": "b"}], ids=["same", "other"])
def test_two_calls_of_httpx(telemetry: Telemetry, others: Any) -> None:
    """The second is not taken for the first one sent on."""

    async def main() -> list[Any]:
        client = httpx.AsyncClient(transport=Service(httpx).transport)
        at = f"{URL}/chat/completions"
        return await together(lambda: client.post(at, json=HELLO), lambda: client.post(at, json=others))

    assert {answer.json()["id"] for answer in asyncio.run(main())} == {"gen-0.25", "gen-0.5"}
    assert told(telemetry) == TWO


def test_two_calls_whose_auth_asks_first(telemetry: Telemetry) -> None:
    """What one task's auth asks is under way when the other begins, and is no part of that."""

    async def main() -> list[Any]:
        service = Service(httpx)

        class Asking(httpx.Auth):
            def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
                yield httpx.Request("POST", request.url, json={"model": "a/judge"})
                yield request

        inner, first_goes_on = httpx.AsyncClient(transport=service.transport), asyncio.Event()

        async def send_on(request: httpx.Request) -> httpx.Response:
            model = json.loads(request.content)["model"]
            if model == "a/model":
                first_goes_on.set()
            elif model == "b":
                await first_goes_on.wait()
            sent = await inner.send(inner.build_request("POST", request.url, content=request.content))
            return httpx.Response(200, content=sent.content)

        client = httpx.AsyncClient(transport=httpx.MockTransport(send_on), auth=Asking())
        at = f"{URL}/chat/completions"
        other = {**HELLO, "model": "b"}
        return await together(lambda: client.post(at, json=HELLO), lambda: client.post(at, json=other))

    asyncio.run(main())
    assert [spend for _, spend, _ in told(telemetry)] == [0.25, 0.5, 0.75, 1.0]


def test_one_that_is_cancelled_and_one_that_waits(telemetry: Telemetry) -> None:
    """A cancellation reaches the call through the context that it is run in."""

    async def main() -> None:
        service, shared, loop = Service(httpx), contextvars.copy_context(), asyncio.get_running_loop()
        client = httpx.AsyncClient(transport=service.transport)

        async def ask() -> Any:
            return await client.post(f"{URL}/chat/completions", json=HELLO)

        service.asked = -5
        first, second = (loop.create_task(ask(), context=shared) for _ in range(2))
        while service.asked < -3:
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        service.both.set()
        assert (await first).status_code == 200

    asyncio.run(main())
    assert sorted(call.outcome for call in telemetry.settle().calls) == ["complete", "error"]


def test_a_sync_call_in_one_while_the_other_waits(telemetry: Telemetry) -> None:
    """It blocks the loop, and is a call of its own."""

    async def main() -> None:
        service = Service(httpx)
        client = httpx.AsyncClient(transport=service.transport)
        body = {"id": "gen-0.5", "usage": {"cost": 0.5}}
        at = f"{URL}/chat/completions"

        async def block() -> None:
            with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body))) as blocking:
                blocking.post(at, json=HELLO)
            service.both.set()

        await together(lambda: client.post(at, json=HELLO), block)

    asyncio.run(main())
    assert told(telemetry) == TWO


def test_a_task_that_a_call_starts_inside_carries_it(telemetry: Telemetry) -> None:
    """It has a copy of the context, and sends the same request on."""

    async def main() -> None:
        service = Service(httpx)
        service.both.set()
        inner = httpx.AsyncClient(transport=service.transport)

        async def send_on(request: Any) -> Any:
            sent = inner.build_request("POST", request.url, content=request.content)
            response = await asyncio.create_task(inner.send(sent))
            return httpx.Response(200, content=response.content)

        async with httpx.AsyncClient(transport=httpx.MockTransport(send_on)) as client:
            await client.post(f"{URL}/chat/completions", json=HELLO)

    asyncio.run(main())
    assert told(telemetry) == TWO[:1]


def test_threads_that_run_in_one_context_in_turn(telemetry: Telemetry) -> None:
    """What was under way in it is over when the next thread enters it."""
    shared = contextvars.copy_context()
    usage = {"cost": 0.25}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"id": "gen-0.25", "usage": usage}))

    def ask() -> None:
        with httpx.Client(transport=transport) as client:
            client.post(f"{URL}/chat/completions", json=HELLO)

    for _ in range(2):
        thread = threading.Thread(target=shared.run, args=(ask,))
        thread.start()
        thread.join()
    assert told(telemetry) == TWO[:1] * 2


def test_a_coroutine_that_is_let_go_of_is_closed_in_its_context() -> None:
    """What it does at its end sees what it saw while it ran; what it was run with is closed with it."""
    variable: contextvars.ContextVar[str | None] = contextvars.ContextVar("variable", default="shared")
    seen: list[str | None] = []

    async def run() -> None:
        variable.set("own")
        try:
            await asyncio.sleep(600)
        finally:
            seen.append(variable.get())

    async def main() -> None:
        started = in_own_context(variable, run)
        started.send(None)
        started.close()

    asyncio.run(main())
    assert (seen, variable.get()) == (["own"], "shared")
