"""Generations, keys and credits are read through the user's own client, exactly, and failures say what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import odd_account
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_account import OddAccount

import or_instrument
from or_instrument import ConfigError, Reply, Usage
from or_instrument._money import account_requests as _requests
from or_instrument._money.account import generation_question
from or_instrument._money.account_requests import Attempts
from or_instrument._openrouter.account import (
    UnreadableError,
    read_activity,
    read_credits,
    read_generation,
    read_key,
    recovered_reply,
    usage_of,
)
from or_instrument.testing import Answer

NOON = 1_795_694_400.0  # 2026-11-26


@pytest.fixture
def fake() -> Iterator[OddAccount]:
    """Return a running service with odd answers."""
    with OddAccount() as service:
        yield service  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_requests, "FIRST_WAIT_S", 0.0)


def ask(client: openai.OpenAI) -> str:
    """Return the id of a call."""
    return client.chat.completions.create(model="a/model", messages=[{"role": "user", "content": "hi"}]).id


def test_generation_tells_the_exact_bill(fake: OddAccount, client: openai.OpenAI) -> None:
    """A fetched generation has the charge to the last digit, and native token counts."""
    fake.script(Answer(cost=0.1234567891234, prompt_tokens=1000, completion_tokens=7))
    generation = or_instrument.fetch_generation(client, ask(client))
    assert generation.total_cost == Decimal("0.1234567891234") == fake.charged_usd
    assert (generation.native_tokens_prompt, generation.native_tokens_completion) == (1000, 7)
    assert (generation.is_byok, generation.provider_name, generation.extra) == (False, "Fake Provider", {})


def test_generation_is_asked_for_until_it_is_filed(fake: OddAccount, client: openai.OpenAI) -> None:
    """As long as the service answers 404 it is asked again."""
    generation_id = ask(client)
    fake.lookup_404s = 3
    assert or_instrument.fetch_generation(client, generation_id).id == generation_id
    assert len(fake.lookups()) == 4


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_async_twins_do_the_same(fake: OddAccount, aclient: openai.AsyncOpenAI) -> None:
    """The async functions read the same, on asyncio and on trio."""
    fake.management_key, fake.lookup_404s, fake.key_limit_usd = True, 1, 2.5
    reply = await aclient.chat.completions.create(model="a/model", messages=[{"role": "user", "content": "hi"}])
    assert (await or_instrument.afetch_generation(aclient, reply.id)).total_cost == fake.charged_usd
    assert (await or_instrument.afetch_key(aclient)).limit == Decimal("2.5")
    assert (await or_instrument.afetch_credits(aclient)).total_usage == fake.charged_usd


def test_key_and_credits_are_exact(fake: OddAccount, client: openai.OpenAI) -> None:
    """Limits and usage are decimals; what is left is their exact difference."""
    fake.management_key, fake.key_limit_usd, fake.now = True, 0.3, lambda: NOON  # the day, or the month, may end
    fake.script(Answer(cost=0.1))
    ask(client)
    key, credit = or_instrument.fetch_key(client), or_instrument.fetch_credits(client)
    assert (key.limit, key.limit_remaining, key.usage_daily) == (Decimal("0.3"), Decimal("0.2"), Decimal("0.1"))
    assert (credit.total_credits, credit.remaining) == (Decimal("100.0"), Decimal("99.9"))
    assert key.extra == credit.extra == {}


def test_key_that_may_not_read_credits_is_told_so(client: openai.OpenAI) -> None:
    """A 403 for credits says which keys may read them."""
    with pytest.raises(or_instrument.LookupFailed, match=r"GET /credits was asked once; .*HTTP 403.*management keys"):
        or_instrument.fetch_credits(client)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 529])
def test_passing_failures_are_asked_again(code: int, fake: OddAccount, client: openai.OpenAI) -> None:
    """Server errors and rate limits are asked again; the answer then counts."""
    generation_id = ask(client)
    fake.answers = [odd_account.status(code), odd_account.status(code)]
    assert or_instrument.fetch_generation(client, generation_id).id == generation_id
    assert len(fake.lookups()) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (odd_account.status(401, metadata={"error_type": "authentication"}), "HTTP 401 authentication"),
        (odd_account.status(402), "HTTP 402"),
        (odd_account.html(), "a text body, not JSON, without data"),
        (odd_account.body([1]), "a body of type list without data"),
        (odd_account.body({"data": {"id": None}}), "a body whose data has no id"),
        (odd_account.raw(b'{"data": {"id"'), r"none \(json.decoder.JSONDecodeError\)"),
    ],
)
def test_lasting_failures_are_told_at_once(answer: Any, said: str, fake: OddAccount, client: openai.OpenAI) -> None:
    """What asking again does not change is a LookupFailed after one answer, which quotes none of the service's text."""
    fake.answers = [answer] * 3
    with pytest.raises(
        or_instrument.LookupFailed, match=rf"id=gen-1 was asked once; the last answer was {said}"
    ) as told:
        or_instrument.fetch_generation(client, "gen-1")
    assert "secret" not in str(told.value)
    assert (told.value.attempts, len(fake.lookups())) == (1, 1)


def test_server_that_hangs_is_left_in_time(fake: OddAccount, client: openai.OpenAI) -> None:
    """A server that never answers costs no more than the time that was allowed."""
    fake.answers = [fake.hanging(), fake.hanging()]
    with pytest.raises(or_instrument.LookupFailed, match=r"none \(openai.APITimeoutError\)"):
        or_instrument.fetch_generation(client, "gen-1", timeout_s=0.2)


@pytest.mark.anyio
async def test_answer_that_trickles_in_is_left_in_time(fake: OddAccount, aclient: openai.AsyncOpenAI) -> None:
    """An async look-up ends in time even where the server never falls silent for long."""
    fake.answers = [odd_account.trickling()]
    with pytest.raises(or_instrument.LookupFailed, match=r"none \(TimeoutError\)"):
        await or_instrument.afetch_generation(aclient, "gen-1", timeout_s=0.3)


def test_server_that_is_gone_is_a_failed_lookup(fake: OddAccount, client: openai.OpenAI) -> None:
    """No connection is asked again until the time is up, and then told."""
    fake.stop()
    with pytest.raises(or_instrument.LookupFailed, match=r"none \(openai.APIConnectionError: .*refused\)"):
        or_instrument.fetch_generation(client, "gen-1", timeout_s=0.1)


def test_unknown_id_fails_when_the_time_is_up(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that does not exist ends as LookupFailed with the number of times it was asked for."""
    monkeypatch.setattr(_requests, "FIRST_WAIT_S", 20.0)
    monkeypatch.setattr(_requests, "LONGEST_WAIT_S", 60.0)
    waits: list[float] = []
    monkeypatch.setattr(_requests, "sleep", waits.append)
    with pytest.raises(or_instrument.LookupFailed, match=r"asked 2 times; the last answer was HTTP 404"):
        or_instrument.fetch_generation(client, "gen-none", timeout_s=30)
    assert waits == [20]  # the time is up before the next one, of 40


@pytest.mark.parametrize("generation_id", ["", "  ", None, 7])
def test_what_is_no_id_is_refused(generation_id: Any, client: openai.OpenAI) -> None:
    """An empty id is an error before anything is sent."""
    with pytest.raises(ValueError, match="allowed: an id such as"):
        or_instrument.fetch_generation(client, generation_id)


@pytest.mark.anyio
async def test_the_wrong_kind_of_client_is_told(client: openai.OpenAI, aclient: openai.AsyncOpenAI) -> None:
    """A sync function given an async client says so, and the other way round."""
    with pytest.raises(TypeError, match="afetch_"):
        or_instrument.fetch_key(aclient)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sync client"):
        await or_instrument.afetch_key(client)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [None, "sk-or-secret", 5, {}, openai.OpenAI, openai.AsyncOpenAI], ids=str)
async def test_what_is_no_client_is_refused(wrong: Any) -> None:
    """The error says what is wanted, and tells nothing of what may be a key."""
    for ask_sync in (or_instrument.fetch_key, or_instrument.fetch_credits, or_instrument.observe_account):
        with pytest.raises(ConfigError, match=r"the client is .*; allowed: an openai\.OpenAI") as caught:
            ask_sync(wrong)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"allowed: an openai\.OpenAI, made for"):
        or_instrument.fetch_generation(wrong, "gen-1")
    with pytest.raises(ConfigError, match=r"allowed: an openai\.AsyncOpenAI, made for"):
        await or_instrument.afetch_generation(wrong, "gen-1")
    for ask_async in (or_instrument.afetch_key, or_instrument.afetch_credits):
        with pytest.raises(ConfigError, match=r"allowed: an openai\.AsyncOpenAI, made for"):
            await ask_async(wrong)


def test_no_client_is_none(client: openai.OpenAI) -> None:
    """What was forgotten is named."""
    with pytest.raises(ConfigError, match=r"^the client is None; allowed: an openai\.OpenAI, "):
        or_instrument.fetch_key(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"meter_provider=5 is not allowed"):
        or_instrument.observe_account(client, meter_provider=5)  # type: ignore[arg-type]


def test_waits_grow_and_honour_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits double up to a limit, are no shorter than the service asks for, and never go past the deadline."""
    monkeypatch.setattr(_requests, "FIRST_WAIT_S", 0.25)
    now = 0.0
    attempts = Attempts(generation_question("gen-1"), 60.0, lambda: now)
    waits = [attempts.wait_after(ToldError(404)) for _ in range(7)]
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert attempts.wait_after(ToldError(429, {"retry-after": "17"})) == 17.0
    now = 56.0
    with pytest.raises(or_instrument.LookupFailed, match="asked 9 times"):
        attempts.wait_after(ToldError(404))


class ToldError(Exception):
    """What the SDK raises for a status."""

    def __init__(self, code: int, headers: dict[str, str] | None = None) -> None:
        self.status_code, self.response = code, SimpleNamespace(headers=headers or {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(or_instrument.Generation._fields) | st.text(max_size=5), JSON, max_size=8))
def test_nothing_in_a_body_is_lost_or_misread(data: dict[str, Any]) -> None:
    """Whatever the service sends, a field is what it is documented to be, or else in `extra` as it came."""
    generation = read_generation({"data": {**data, "id": "gen-1"}})
    for name, value in data.items():
        kept = generation.extra.get(name, value)
        assert kept is value or name == "id"
        if name in generation._fields and name not in ("id", "extra") and value is not None:
            assert (getattr(generation, name) is None) == (name in generation.extra)
    cost = generation.total_cost
    assert cost is None or cost.is_finite()
    assert usage_of(generation).source == "generation"


@given(JSON)
def test_what_is_no_body_is_unreadable(body: Any) -> None:
    """A body without an object under `data` is refused, whatever it is."""
    if not (isinstance(body, dict) and isinstance(body.get("data"), dict)):
        with pytest.raises(UnreadableError):
            read_key(body)


def test_negative_amounts_are_kept_where_they_mean_something() -> None:
    """An overspent limit and a costly cache write are negative, and stay so."""
    key = read_key(json.loads('{"data": {"limit_remaining": -0.25, "limit": null}}'))
    assert (key.limit_remaining, key.limit) == (Decimal("-0.25"), None)
    assert read_generation({"data": {"id": "g", "cache_discount": -1}}).cache_discount == Decimal(-1)


@pytest.mark.parametrize(
    ("told", "is_lower_bound"),
    [
        ({"is_byok": True, "cancelled": True}, True),
        ({"is_byok": True, "cancelled": False}, False),
        ({"is_byok": True}, False),
        ({"is_byok": False, "cancelled": True}, False),
        ({"cancelled": True}, False),
    ],
)
def test_a_cancelled_byok_generation_is_a_lower_bound(told: dict[str, Any], is_lower_bound: bool) -> None:
    """Whether or not this process has seen how it ended."""
    generation = read_generation({"data": {"id": "g", "total_cost": 0.05, **told}})
    assert usage_of(generation).lower_bound is is_lower_bound


def test_a_look_up_adds_to_what_a_reply_told() -> None:
    """Tokens and details that only the reply knows stay; the bill is that of the look-up."""
    told = Usage(input_tokens=3, cache_creation_tokens=2, details={"openrouter.usage.seconds": 1.5}, estimated_cost=9.0)
    filed = read_generation({"data": {"id": "g", "total_cost": 0.5, "native_tokens_prompt": 4}})
    usage = recovered_reply(Reply(usage=told), filed).usage
    expected = Usage(input_tokens=4, cache_creation_tokens=2, cost=0.5, details=told.details, source="generation")
    assert usage == expected


def test_upstream_cost_counts_for_byok_only() -> None:
    """The bill of a BYOK generation is both charges; otherwise the upstream figure is no part of it."""
    data = {"id": "g", "total_cost": 0.05, "upstream_inference_cost": 0.95}
    assert usage_of(read_generation({"data": {**data, "is_byok": True}})).spend_exact == Decimal("1.00")
    plain = usage_of(read_generation({"data": {**data, "is_byok": False}}))
    assert (plain.spend_exact, plain.upstream_cost) == (Decimal("0.05"), None)
    assert usage_of(read_generation({"data": {"id": "g", "usage": "0.5"}})).spend_exact == Decimal("0.5")


@pytest.mark.parametrize("total", [{"total_credits": None, "total_usage": 1.0}, {"total_credits": 1.0}])
def test_what_is_left_of_unknown_credits_is_unknown(total: dict[str, Any]) -> None:
    """Never 0."""
    assert read_credits({"data": total}).remaining is None


def test_activity_is_a_list_of_rows() -> None:
    """Anything else cannot be read, and says so."""
    (row,) = read_activity({"data": [{"date": "2026-11-25", "model": "a/m", "usage": 0.5}]})
    assert (row.model, row.usage) == ("a/m", Decimal("0.5"))
    for body in ({}, {"data": {}}, {"data": [1]}):
        with pytest.raises(UnreadableError, match="no list of rows"):
            read_activity(body)


def test_an_amount_that_is_no_number_is_unknown() -> None:
    """JSON of some services has NaN; it is no money."""
    assert read_credits({"data": {"total_credits": float("nan"), "total_usage": 1.0}}).total_credits is None
