"""The calls of the demo, and what the fake service answers to each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from or_instrument.testing import Answer, errors

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_MINI: Final = "openai/gpt-5-mini"
_SONNET: Final = "anthropic/claude-sonnet-4.5"
_FLASH: Final = "google/gemini-2.5-flash"
_EMBEDDING: Final = "qwen/qwen3-embedding-4b"

PRICES: Final = {
    _MINI: ("0.00000025", "0.000002"),
    _SONNET: ("0.000003", "0.000015"),
    _FLASH: ("0.0000003", "0.0000025"),
    _EMBEDDING: ("0.00000002", "0"),
}
"""USD per prompt token and per completion token that the fake service charges."""

_TOOL: Final[Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Step(NamedTuple):
    """One call: what it shows, how it is made, and what the fake answers."""

    title: str
    model: str
    call: Callable[[OpenAI, str], None] | None = None
    acall: Callable[[AsyncOpenAI, str], Awaitable[None]] | None = None
    answer: Answer = Answer()


def _asked(question: str) -> Any:
    return [{"role": "user", "content": question}]


def _chat(client: OpenAI, model: str) -> None:
    client.chat.completions.create(model=model, messages=_asked("Name a moon of Saturn."))


def _stream(client: OpenAI, model: str) -> None:
    for _chunk in client.chat.completions.create(model=model, messages=_asked("Tell me about Titan."), stream=True):
        pass


def _tools(client: OpenAI, model: str) -> None:
    client.chat.completions.create(model=model, messages=_asked("Is it raining in Utrecht?"), tools=[_TOOL])


def _responses(client: OpenAI, model: str) -> None:
    client.responses.create(model=model, input="Name a moon of Jupiter.")


def _embeddings(client: OpenAI, model: str) -> None:
    client.embeddings.create(model=model, input=["Titan", "Europa"], encoding_format="float")


def _refused(client: OpenAI, model: str) -> None:
    from openai import APIStatusError  # noqa: PLC0415 - the SDK is imported where it is used

    with suppress(APIStatusError):
        _chat(client, model)


def _broken_off(client: OpenAI, model: str) -> None:
    with client.chat.completions.create(model=model, messages=_asked("Count to a million."), stream=True) as stream:
        next(stream)


async def _achat(client: AsyncOpenAI, model: str) -> None:
    await client.chat.completions.create(model=model, messages=_asked("Name a moon of Uranus."))


async def _astream(client: AsyncOpenAI, model: str) -> None:
    stream = await client.chat.completions.create(model=model, messages=_asked("Tell me about Miranda."), stream=True)
    async for _chunk in stream:
        pass


_SAID: Final = "Titan is Saturn's largest moon, and the only moon known to have a dense atmosphere."
_PACE_S: Final = 0.02

STEPS: Final = (
    Step("chat", _MINI, _chat, answer=Answer(content="Titan.", prompt_tokens=14, provider="OpenAI", delay_s=0.05)),
    Step("streamed chat", _FLASH, _stream, answer=Answer(content=_SAID, provider="Google", pause_s=_PACE_S)),
    Step(
        "own key (BYOK)",
        _SONNET,
        _chat,
        answer=Answer(content="Titan.", prompt_tokens=1200, completion_tokens=300, byok=True, provider="Anthropic"),
    ),
    Step(
        "cached prompt",
        _SONNET,
        _chat,
        answer=Answer(prompt_tokens=2500, cached_tokens=2400, cost="0.00129", provider="Amazon Bedrock"),
    ),
    Step("tool use", _MINI, _tools, answer=Answer(tool_calls=[("weather", {"city": "Utrecht"})], provider="OpenAI")),
    Step("Responses", _MINI, _responses, answer=Answer(content="Europa.", reasoning_tokens=64, completion_tokens=70)),
    Step("embeddings", _EMBEDDING, _embeddings, answer=Answer(provider="DeepInfra", byok=None)),
    Step("an error", _FLASH, _refused, answer=errors.rate_limit(retry_after_s=20)),
    Step("broken-off stream", _FLASH, _broken_off, answer=Answer(content=_SAID, provider="Google", pause_s=_PACE_S)),
    Step("async chat", _MINI, acall=_achat, answer=Answer(content="Miranda.", provider="Azure", delay_s=0.03)),
    Step("async stream", _MINI, acall=_astream, answer=Answer(content=_SAID, provider="OpenAI", pause_s=_PACE_S)),
)

_LIVE: Final = ("chat", "streamed chat", "tool use", "broken-off stream", "async chat", "async stream")


def live_steps(model: str) -> tuple[Step, ...]:
    """Return the calls that any chat model takes, for this one."""
    return tuple(step._replace(model=model) for step in STEPS if step.title in _LIVE)
