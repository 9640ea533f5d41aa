"""Clients of OpenRouter that call through an HTTP library, each driven as its own documentation has it."""

# ruff: noqa: D103 - their names say what they do
# ruff: noqa: PLC0415 - whatever is not installed is not imported
from __future__ import annotations

from typing import Any, Final

from framework import ASKED, KEY, MESSAGES, MODEL, Drives

from or_instrument.testing import FakeOpenRouter

DRIVES: Final = Drives()


def _text(chunk: Any) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _langchain(fake: FakeOpenRouter) -> Any:
    from langchain_openrouter import ChatOpenRouter

    return ChatOpenRouter(model=MODEL, base_url=fake.base_url, api_key=KEY, max_retries=0)


@DRIVES.of("langchain_openrouter")
def langchain_openrouter(fake: FakeOpenRouter) -> Any:
    return _langchain(fake).invoke(ASKED).content


@DRIVES.of("langchain_openrouter")
def langchain_openrouter_streamed(fake: FakeOpenRouter) -> Any:
    return "".join(chunk.content for chunk in _langchain(fake).stream(ASKED))


@DRIVES.of("langchain_openrouter")
async def langchain_openrouter_async(fake: FakeOpenRouter) -> Any:
    return (await _langchain(fake).ainvoke(ASKED)).content


@DRIVES.of("langchain_openrouter")
async def langchain_openrouter_async_streamed(fake: FakeOpenRouter) -> Any:
    return "".join([chunk.content async for chunk in _langchain(fake).astream(ASKED)])


def _openrouter(fake: FakeOpenRouter) -> Any:
    from openrouter import OpenRouter

    return OpenRouter(server_url=fake.base_url, api_key=KEY)


@DRIVES.of("openrouter")
def openrouter(fake: FakeOpenRouter) -> Any:
    with _openrouter(fake) as client:
        return client.chat.send(model=MODEL, messages=MESSAGES).choices[0].message.content


@DRIVES.of("openrouter")
def openrouter_streamed(fake: FakeOpenRouter) -> Any:
    with _openrouter(fake) as client, client.chat.send(model=MODEL, messages=MESSAGES, stream=True) as stream:
        return "".join(map(_text, stream))


@DRIVES.of("openrouter")
def openrouter_embeddings(fake: FakeOpenRouter) -> Any:
    with _openrouter(fake) as client:
        return len(client.embeddings.generate(model=MODEL, input=ASKED).data)


@DRIVES.of("openrouter")
def openrouter_responses(fake: FakeOpenRouter) -> Any:
    with _openrouter(fake) as client:
        return client.beta.responses.send(model=MODEL, input=ASKED).status


@DRIVES.of("openrouter")
async def openrouter_async(fake: FakeOpenRouter) -> Any:
    async with _openrouter(fake) as client:
        return (await client.chat.send_async(model=MODEL, messages=MESSAGES)).choices[0].message.content


@DRIVES.of("openrouter")
async def openrouter_async_streamed(fake: FakeOpenRouter) -> Any:
    async with _openrouter(fake) as client:
        stream = await client.chat.send_async(model=MODEL, messages=MESSAGES, stream=True)
        async with stream:
            return "".join([_text(chunk) async for chunk in stream])


def _litellm(fake: FakeOpenRouter) -> dict[str, Any]:
    return {"model": f"openrouter/{MODEL}", "api_base": fake.base_url, "api_key": KEY}


@DRIVES.of("litellm")
def litellm(fake: FakeOpenRouter) -> Any:
    from litellm import completion

    told: Any = completion(messages=MESSAGES, **_litellm(fake))
    return told.choices[0].message.content


@DRIVES.of("litellm")
def litellm_streamed(fake: FakeOpenRouter) -> Any:
    from litellm import completion

    return "".join(map(_text, completion(messages=MESSAGES, stream=True, **_litellm(fake))))


@DRIVES.of("litellm")
def litellm_embedding(fake: FakeOpenRouter) -> Any:
    from litellm import embedding

    return len(embedding(input=[ASKED], **_litellm(fake)).data)


@DRIVES.of("litellm")
def litellm_responses(fake: FakeOpenRouter) -> Any:
    from litellm import responses

    told: Any = responses(input=ASKED, **_litellm(fake))
    return told.output_text


@DRIVES.of("litellm")
async def litellm_async(fake: FakeOpenRouter) -> Any:
    from litellm import acompletion

    told: Any = await acompletion(messages=MESSAGES, **_litellm(fake))
    return told.choices[0].message.content


@DRIVES.of("litellm")
async def litellm_async_streamed(fake: FakeOpenRouter) -> Any:
    from litellm import acompletion

    stream: Any = await acompletion(messages=MESSAGES, stream=True, **_litellm(fake))
    return "".join([_text(chunk) async for chunk in stream])


@DRIVES.of("litellm")
async def litellm_async_embedding(fake: FakeOpenRouter) -> Any:
    from litellm import aembedding

    return len((await aembedding(input=[ASKED], **_litellm(fake))).data)


@DRIVES.of("litellm")
async def litellm_async_responses(fake: FakeOpenRouter) -> Any:
    from litellm import aresponses

    told: Any = await aresponses(input=ASKED, **_litellm(fake))
    return told.output_text


def _dspy(fake: FakeOpenRouter) -> Any:
    from dspy import LM

    # The engine that it takes by itself sends over sockets of its own.
    return LM(f"openrouter/{MODEL}", api_base=fake.base_url, api_key=KEY, cache=False, engine="litellm")


@DRIVES.of("dspy")
def dspy(fake: FakeOpenRouter) -> Any:
    return _dspy(fake)(ASKED)


@DRIVES.of("dspy")
async def dspy_async(fake: FakeOpenRouter) -> Any:
    return await _dspy(fake).acall(ASKED)


def _anthropic(fake: FakeOpenRouter) -> dict[str, Any]:
    return {"base_url": fake.base_url.removesuffix("/v1"), "api_key": KEY}


_MESSAGE: Final[dict[str, Any]] = {"model": MODEL, "messages": MESSAGES, "max_tokens": 100}


@DRIVES.of("anthropic")
def anthropic(fake: FakeOpenRouter) -> Any:
    from anthropic import Anthropic

    with Anthropic(**_anthropic(fake)) as client:
        return client.messages.create(**_MESSAGE).content[0].text


@DRIVES.of("anthropic")
def anthropic_streamed(fake: FakeOpenRouter) -> Any:
    from anthropic import Anthropic

    with Anthropic(**_anthropic(fake)) as client, client.messages.stream(**_MESSAGE) as stream:
        return stream.get_final_text()


@DRIVES.of("anthropic")
async def anthropic_async(fake: FakeOpenRouter) -> Any:
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(**_anthropic(fake)) as client:
        return (await client.messages.create(**_MESSAGE)).content[0].text


@DRIVES.of("anthropic")
async def anthropic_async_streamed(fake: FakeOpenRouter) -> Any:
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(**_anthropic(fake)) as client, client.messages.stream(**_MESSAGE) as stream:
        return await stream.get_final_text()
