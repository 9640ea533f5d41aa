"""Where a session went to another provider and lost its prompt cache."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest
from in_memory import Telemetry

from or_instrument import Call, Reply, Request, Usage
from or_instrument._money.sessions import Sessions
from or_instrument.testing import Answer, FakeOpenRouter

SWITCHES = "openrouter.session.provider_switches"
SWITCHED = "openrouter.session.provider_switched"


def served(provider: str | None, read: int | None, session: str | None = "s", **fields: Any) -> Call:
    """Return a call of a session."""
    parameters = {} if session is None else {"gen_ai.conversation.id": session}
    reply = Reply(model="m", provider=provider, usage=Usage(cache_read_tokens=read, cost=1.0))._replace(**fields)
    return Call(1, Request("chat", "openrouter", "m", "h", 443, parameters=parameters), reply, "complete", 0, 1.0)


def by_cache_key(call: Call) -> Call:
    """Return the call of a session that is named by `prompt_cache_key`."""
    return call._replace(request=call.request._replace(prompt_cache_key="s"))


def at(host: str, port: int, call: Call) -> Call:
    """Return the call as made to another service."""
    return call._replace(request=call.request._replace(host=host, port=port))


def judged(*calls: Call) -> list[bool | None]:
    """Return what is said of each of these calls."""
    sessions = Sessions()
    return [sessions.judge(call).provider_switched for call in calls]


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([served("A", 0), served("A", 900), served("B", 0)], [None, False, True]),
        ([served("A", 900), served("A", 0)], [None, False]),
        ([served("A", 900), served("B", 900)], [None, False]),
        ([served("A", 0), served("B", 0)], [None, False]),
        ([served("A", 900), served("B", 0), served("B", 0), served("A", 0)], [None, True, False, False]),
        ([served("A", 900), served("B", None), served("B", 0)], [None, None, None]),
        ([served("A", 900), served(None, 0), served("A", 900)], [None, None, False]),
        ([served("A", 900), served("B", 0, usage=None), served("A", 800)], [None, None, False]),
        ([served("A", 900), served("B", 0, cache_status="HIT"), served("A", 900)], [None, None, False]),
        ([served("A", 900), served("B", 0, model="other")], [None, None]),
        ([served("A", 900), served("B", 0, "another")], [None, None]),
        ([served("A", 900, None), served("B", 0, None)], [None, None]),
        ([served("A", 900), by_cache_key(served("B", 0, None))], [None, None]),
        ([by_cache_key(served("A", 900, None)), by_cache_key(served("B", 0, None))], [None, True]),
        ([served("A", 900), at("elsewhere", 443, served("B", 0))], [None, None]),
        ([served("A", 900), at("h", 8443, served("B", 0))], [None, None]),
    ],
    ids=[
        "lost",
        "same provider",
        "cached there too",
        "never cached",
        "told once",
        "not told",
        "provider unknown",
        "no usage",
        "response cache",
        "another model",
        "another session",
        "no session",
        "a cache key of that name",
        "cache keys",
        "another host",
        "another port",
    ],
)
def test_a_switch_is_another_provider_and_reads_that_fell_to_nothing(
    calls: list[Call], said: list[bool | None]
) -> None:
    """What is not known is not judged, and is no call before either where no provider is named."""
    assert judged(*calls) == said


def test_memory_is_bounded() -> None:
    """The sessions that were last used are kept."""
    sessions = Sessions(capacity=3)
    for number in range(10):
        sessions.judge(served("A", 900, f"s-{number}"))
        sessions.judge(served("A", 900, "in use"))
        assert len(sessions._last) <= 3
    assert sessions.judge(served("B", 0, "in use")).provider_switched is True
    assert sessions.judge(served("B", 0, "s-0")).provider_switched is None


def test_any_thread_may_use_it() -> None:
    """Of many at once none fails, and the bound holds."""
    sessions, failed = Sessions(capacity=8), []

    def work(name: str) -> None:
        try:
            for number in range(500):
                sessions.judge(served(name, number, f"s-{number % 16}"))
        except Exception as exc:  # noqa: BLE001 - told to the test
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ABCD"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(sessions._last) <= 8 + len(threads)


@pytest.mark.parametrize("key", ["session_id", "prompt_cache_key"])
def test_a_switch_is_on_the_span_and_counted(
    telemetry: Telemetry, client: openai.OpenAI, fake: FakeOpenRouter, key: str
) -> None:
    """By either name of a session; the key itself is in no telemetry."""
    fake.script(
        Answer(provider="A", cached_tokens=900),
        Answer(provider="A", cached_tokens=900),
        Answer(provider="B", cached_tokens=0),
    )
    for _ in range(3):
        client.chat.completions.create(
            model="a/model", messages=[{"role": "user", "content": "hi"}], extra_body={key: "chat-7"}
        )
    assert [(span.attributes or {}).get(SWITCHED) for span in telemetry.spans()] == [None, False, True]
    (point,) = telemetry.metrics()[SWITCHES]
    assert (point.value, point.attributes["openrouter.provider.name"]) == (1, "B")
    assert telemetry.calls[2].provider_switched is True
    if key == "prompt_cache_key":
        assert "chat-7" not in repr([span.attributes for span in telemetry.spans()])


def test_it_is_judged_beside_look_ups(
    instrumented: Callable[..., Telemetry], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Both are told of one call."""
    telemetry = instrumented(lookup="missing")
    fake.script(Answer(provider="A", cached_tokens=900), Answer(provider="B"))
    for _ in range(2):
        client.chat.completions.create(
            model="a/model", messages=[{"role": "user", "content": "hi"}], extra_body={"session_id": "s"}
        )
    assert [call.provider_switched for call in telemetry.calls] == [None, True]
