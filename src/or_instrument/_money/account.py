"""What OpenRouter's account endpoints tell: a generation, a key, the credits, the activity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from or_instrument._errors import ConfigError
from or_instrument._money.account_requests import Question, aask, ask
from or_instrument._openrouter.account import read_activity, read_credits, read_generation, read_key
from or_instrument._openrouter.account_records import Activity, Credits, Generation, KeyStatus

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_KEY_TIMEOUT_S: Final = 10.0


def fetch_generation(client: OpenAI, generation_id: str, *, timeout_s: float = 30.0) -> Generation:
    """Return what OpenRouter has on file of a generation, its cost above all.

    The service files it a moment after the answer: as long as it says "not found" it is asked again, for at most about
    `timeout_s` seconds in all; likewise after server errors and lost connections.

    Raises:
        ConfigError: this is no client, or no generation id.
        LookupFailed: there was no answer in time, or one that asking again does not change.

    """
    return ask(client, generation_question(generation_id), timeout_s)


async def afetch_generation(client: AsyncOpenAI, generation_id: str, *, timeout_s: float = 30.0) -> Generation:
    """`fetch_generation` with an async client."""
    return await aask(client, generation_question(generation_id), timeout_s)


def fetch_key(client: OpenAI) -> KeyStatus:
    """Return limit, usage and more of the key that the client uses, within about 10 seconds.

    Raises:
        ConfigError: this is no client.
        LookupFailed: there was no such answer.

    """
    return ask(client, _KEY, _KEY_TIMEOUT_S)


async def afetch_key(client: AsyncOpenAI) -> KeyStatus:
    """`fetch_key` with an async client."""
    return await aask(client, _KEY, _KEY_TIMEOUT_S)


def fetch_credits(client: OpenAI) -> Credits:
    """Return what the account has bought and used, within about 10 seconds. Only management keys may read it.

    Raises:
        ConfigError: this is no client.
        LookupFailed: there was no such answer; it says so where the key may not read credits.

    """
    return ask(client, _CREDITS, _KEY_TIMEOUT_S)


async def afetch_credits(client: AsyncOpenAI) -> Credits:
    """`fetch_credits` with an async client."""
    return await aask(client, _CREDITS, _KEY_TIMEOUT_S)


def generation_question(generation_id: str) -> Question[Generation]:
    """Return the question for a generation. Raises `ConfigError` for what cannot be an id."""
    if not isinstance(generation_id, str) or not generation_id.strip():
        raise ConfigError(f"generation_id is {generation_id!r}; allowed: an id such as 'gen-...', as in response.id")
    return Question("/generation", {"id": generation_id}, read_generation, may_come=True)


def filed_question(generation_id: str) -> Question[Generation]:
    """Return the question for a generation of long ago: where it is not on file by now, it never will be."""
    return replace(generation_question(generation_id), may_come=False)


def activity_question(api_key_hash: str | None = None) -> Question[tuple[Activity, ...]]:
    """Return the question for the last 30 completed UTC days, of the whole account or of one key."""
    params = {} if api_key_hash is None else {"api_key_hash": api_key_hash}
    return Question("/activity", params, read_activity, when_forbidden="Only management keys may read the activity.")


_KEY: Final = Question("/key", {}, read_key)
_CREDITS: Final = Question(
    "/credits",
    {},
    read_credits,
    when_forbidden="This key may not read credits: only management keys may, which cannot make calls.",
)
