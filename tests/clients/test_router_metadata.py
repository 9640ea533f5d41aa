"""The header that asks OpenRouter how it routed a call, and what it tells then, over a real connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import openai
import pytest
from in_memory import Telemetry

from or_instrument import Routing
from or_instrument.testing import Answer, FakeOpenRouter, errors

Instrumented = Callable[..., Telemetry]
MESSAGES: Any = [{"role": "user", "content": "hi"}]
ASKED = "x-openrouter-metadata"
PATHS = ["chat", "completions", *(["responses"] if hasattr(openai.OpenAI, "responses") else [])]


def ask(client: openai.OpenAI, **options: Any) -> Any:
    """Make a chat call."""
    return client.chat.completions.create(model="acme/large:nitro", messages=MESSAGES, **options)


def told(fake: FakeOpenRouter) -> str | None:
    """Return what the last request's header said."""
    return fake.requests[-1].headers.get(ASKED)


def test_it_is_asked_for_where_the_option_is_on(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """By one header; the rest of the request is the same."""
    telemetry = instrumented(router_metadata=True)
    fake.script(Answer(provider="Acme AI", byok=True))
    ask(client, extra_headers={"X-Title": "app"})
    assert (told(fake), fake.requests[-1].headers["x-title"]) == ("enabled", "app")
    (call,) = telemetry.calls
    assert isinstance(call.routing, Routing)
    assert call.routing.provider == "Acme AI"
    assert (call.routing.requested, call.routing.attempt, call.routing.is_byok) == ("acme/large:nitro", 1, True)
    span = telemetry.span()
    assert (span["openrouter.routing.strategy"], span["openrouter.routing.attempts"]) == ("direct", ("Acme AI 200",))


def test_by_default_it_is_not_asked_for(telemetry: Telemetry, fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """And what was not told is not there."""
    ask(client)
    assert told(fake) is None
    assert telemetry.calls[0].routing is None
    assert not [name for name in telemetry.span() if name.startswith("openrouter.routing.")]


def test_what_the_user_asked_for_is_read_in_any_case(telemetry: Telemetry, client: openai.OpenAI) -> None:
    """The option only asks."""
    ask(client, extra_headers={"X-OpenRouter-Metadata": "enabled"})
    assert telemetry.calls[0].routing is not None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_every_endpoint_that_tells_is_asked(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, path: str, stream: bool
) -> None:
    """Streams tell in their last event; Responses name their provider in it alone."""
    telemetry = instrumented(router_metadata=True)
    fake.default = Answer(provider="Acme AI")
    create: Mapping[str, Callable[..., Any]] = {
        "chat": lambda: ask(client, stream=stream),
        "responses": lambda: client.responses.create(model="acme/large", input="hi", stream=stream),
        "completions": lambda: client.completions.create(model="acme/large", prompt="hi", stream=stream),
    }
    answer = create[path]()
    if stream:
        list(answer)
    (call,) = telemetry.settle().calls
    assert call.routing is not None
    assert (call.routing.strategy, call.reply.provider) == ("direct", "Acme AI")


def test_errors_tell_it_too(instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Beside the error; nobody served the call."""
    telemetry = instrumented(router_metadata=True)
    fake.script(errors.rate_limit(2))
    with pytest.raises(openai.RateLimitError):
        ask(client)
    (call,) = telemetry.calls
    assert call.routing is not None
    assert (call.routing.attempt, call.reply.provider) == (0, None)


@pytest.mark.parametrize(
    "name", ["X-OpenRouter-Metadata", "x-openrouter-metadata", "X-OpenRouter-Experimental-Metadata"]
)
@pytest.mark.parametrize("where", ["call", "client", "http"])
def test_the_user_s_own_header_wins(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, name: str, where: str
) -> None:
    """In either case and under its older name, wherever it was set."""
    instrumented(router_metadata=True)
    own = {name: "disabled"}
    if where == "http":
        client._client.headers[name] = "disabled"
        ask(client)
    else:
        asking = client.with_options(default_headers=own) if where == "client" else client
        ask(asking, extra_headers=own if where == "call" else None)
    sent = fake.requests[-1].headers
    assert {said for header, said in sent.items() if header.endswith("metadata")} == {"disabled"}


def test_the_user_s_headers_are_not_touched(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A dict that is used for many calls stays as it was."""
    instrumented(router_metadata=True)
    own = {"X-Title": "app"}
    ask(client, extra_headers=own)
    assert own == {"X-Title": "app"}
    assert told(fake) == "enabled"


def test_endpoints_that_tell_nothing_are_not_asked(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """Embeddings have no routing metadata."""
    instrumented(router_metadata=True)
    client.embeddings.create(model="acme/small", input="hi")
    assert told(fake) is None


def test_hosts_that_are_not_named_are_not_asked(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """Another service gets what the user sent."""
    instrumented(router_metadata=True, hosts="*")
    ask(client)
    assert told(fake) is None
