"""Every shape in which OpenRouter reports an error: the caller sees the SDK's own, the record says which it was."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from in_memory import Telemetry
from opentelemetry.trace import StatusCode

from or_instrument.testing import Answer, FakeOpenRouter, errors

pytestmark = pytest.mark.anyio

CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
HAS_RESPONSES = hasattr(openai.OpenAI(api_key="k"), "responses")
PATHS = ["chat", "responses"] if HAS_RESPONSES else ["chat"]
TRANSIENT, EMPTY = "openrouter_in_flight_budget", "openrouter_credits"

REFUSALS = {
    "invalid_request": (errors.invalid_request(), "invalid_request", {}),
    "context_length": (
        errors.context_length(),
        "context_length_exceeded",
        {"openrouter.error.provider_name": "Fake Provider"},
    ),
    "authentication": (errors.authentication(), "authentication", {}),
    "no_credits": (errors.insufficient_credits(), "payment_required", {"openrouter.error.limit_source": EMPTY}),
    "in_flight": (
        errors.in_flight_budget(1),
        "402",
        {"openrouter.error.limit_source": TRANSIENT, "openrouter.error.retry_after": 1.0},
    ),
    "key_limit": (
        errors.key_limit(),
        "permission_denied",
        {"openrouter.error.limit_source": "openrouter_key_limit"},
    ),
    "moderation": (
        errors.moderation(),
        "content_policy_violation",
        {"openrouter.error.provider_name": "Fake Provider"},
    ),
    "guardrail": (errors.guardrail(), "403", {}),
    "not_found": (errors.not_found(), "404", {}),
    "no_providers": (errors.no_providers(), "404", {}),
    "timed_out": (errors.timed_out(), "timeout", {}),
    "too_large": (errors.payload_too_large(), "payload_too_large", {}),
    "unprocessable": (errors.unprocessable(), "unprocessable", {}),
    "rate_limit": (errors.rate_limit(2), "rate_limit_exceeded", {"openrouter.error.retry_after": 2.0}),
    "provider_rate_limit": (errors.provider_rate_limit(), "429", {"openrouter.error.provider_name": "Fake Provider"}),
    "server_error": (errors.server_error(), "server", {}),
    "provider_error": (errors.provider_error(), "provider_unavailable", {}),
    "unavailable": (errors.unavailable(3), "provider_unavailable", {"openrouter.error.retry_after": 3.0}),
    "overloaded": (errors.overloaded(), "provider_overloaded", {}),
    "no_json": (Answer(status=502, body=b"<html>Bad gateway</html>"), "502", {}),
    "empty": (Answer(status=504, body=b""), "504", {}),
}


@pytest.fixture(params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"])
async def either(request: pytest.FixtureRequest, fake: FakeOpenRouter) -> AsyncIterator[Any]:
    """Return a sync client, then an async one, which do not retry."""
    # Reading the system's certificates takes longer than most of the tests, which need none.
    is_sync = request.param is openai.OpenAI
    transport = (openai.DefaultHttpxClient if is_sync else openai.DefaultAsyncHttpxClient)(verify=False)
    made = request.param(api_key="sk-or-test", base_url=fake.base_url, max_retries=0, http_client=transport)
    yield made
    await settled(made.close())


async def settled(value: Any) -> Any:
    """Return the value, awaited where it is to be."""
    return await value if inspect.isawaitable(value) else value


async def ask(client: Any, path: str = "chat", *, stream: bool = False) -> Any:
    """Make one call, drain it if it is a stream, and return the reply or the exception."""
    try:
        if path == "responses":
            reply = await settled(client.responses.create(model="m", input="hi", stream=stream))
        else:
            reply = await settled(client.chat.completions.create(stream=stream, **CHAT))
        if not stream:
            return reply
        return [item async for item in reply] if hasattr(reply, "__aiter__") else list(reply)
    except openai.APIError as exc:
        return exc


def check(telemetry: Telemetry, error_type: str, **expected: Any) -> dict[str, Any]:
    """Return the only span's attributes, having seen that span and duration tell of this one error."""
    (call,) = telemetry.settle().calls
    assert call.outcome == "error"
    (span,) = telemetry.spans()
    attributes = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()
    assert {key: attributes.get(key) for key in ("error.type", *expected)} == {"error.type": error_type, **expected}
    (point,) = telemetry.metrics()["gen_ai.client.operation.duration"]
    assert (point.count, point.attributes["error.type"]) == (1, error_type)
    return attributes


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", REFUSALS)
async def test_refused(name: str, path: str, fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """An HTTP error is told by OpenRouter's error type, else by its code, with what else it says of its cause."""
    fake.default, error_type, said = REFUSALS[name]
    caught = await ask(either, path, stream=path == "responses")

    assert isinstance(caught, openai.APIStatusError)
    if path == "responses" and error_type.isdigit() and "metadata" in (fake.default.error or {}):
        error_type = "unmapped"
    expected = {**said, "http.response.status_code": fake.default.status}
    if fake.default.error is not None:
        expected["openrouter.error.code"] = str(fake.default.status)
    attributes = check(telemetry, error_type, **expected)
    assert attributes["openrouter.generation.id"] == caught.response.headers["x-generation-id"]
    assert telemetry.total("openrouter.usage.missing", openrouter__missing__reason="rejected") == 1


@pytest.mark.parametrize("path", PATHS)
async def test_an_error_in_a_good_response(path: str, fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """A body of status 200 that is an error is one, though the SDK raises nothing."""
    fake.default = errors.in_body(code=502)
    reply = await ask(either, path)

    assert not isinstance(reply, Exception)
    check(telemetry, "provider_unavailable", **{"openrouter.error.code": "502"})


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_in_a_choice(stream: bool, fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """A choice that ends in an error fails the call, whose usage is recorded all the same."""
    error = {"code": 502, "message": "gone", "metadata": {"error_type": "provider_unavailable"}}
    fake.default = Answer(choice_error=error, cost=0.25)
    await ask(either, stream=stream)

    check(telemetry, "provider_unavailable", **{"openrouter.error.code": "502", "openrouter.usage.cost": 0.25})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_finish_reason_of_error(stream: bool, fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """A finish reason of `error` without an error object fails the call."""
    fake.default = Answer(error_finish_only=True, cost=0.25)
    await ask(either, stream=stream)

    check(telemetry, "error", **{"gen_ai.response.finish_reasons": ("error",), "openrouter.usage.cost": 0.25})


@pytest.mark.parametrize("choices", [True, False])
async def test_an_error_chunk(choices: bool, fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """The chunk that breaks a stream off raises in the SDK; its usage, the bill, is recorded."""
    error = {"code": 502, "message": "gone", "metadata": {"error_type": "provider_unavailable"}}
    fake.default = Answer(midstream_error=error, chunks=3, cost=0.25, usage_choices=choices)
    caught = await ask(either, stream=True)

    assert type(caught) is openai.APIError
    attributes = check(telemetry, "provider_unavailable", **{"openrouter.usage.cost": 0.25})
    assert attributes["openrouter.stream.outcome"] == "error"
    assert telemetry.total("gen_ai.usage.cost") == 0.25
    assert telemetry.total("openrouter.usage.missing") == 0


if HAS_RESPONSES:

    @pytest.mark.parametrize("event", ["response.failed", "response.error", "error"])
    async def test_a_responses_stream_that_fails(
        event: Any, fake: FakeOpenRouter, either: Any, telemetry: Telemetry
    ) -> None:
        """Whichever event tells of it, a Responses stream that fails is an error."""
        error = {"code": "server_error", "message": "gone", "metadata": {"error_type": "provider_unavailable"}}
        fake.default = Answer(midstream_error=error, chunks=3, cost=0.25, responses_error=event)
        await ask(either, "responses", stream=True)

        (call,) = telemetry.calls
        assert call.failure is not None
        check(telemetry, call.failure.type)
        assert call.failure.type in ("server_error", "provider_unavailable")
        if event == "response.failed":
            assert call.spend == 0.25

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(("reason", "told"), [("length", "length"), ("content_filter", "content_filter")])
    async def test_an_incomplete_response(
        reason: str, told: str, stream: bool, fake: FakeOpenRouter, either: Any, telemetry: Telemetry
    ) -> None:
        """A response cut short is no error: its finish reason says why."""
        fake.default = Answer(finish_reason=reason, cost=0.25)
        await ask(either, "responses", stream=stream)

        (call,) = telemetry.calls
        assert (call.outcome, call.failure, call.spend) == ("complete", None, 0.25)
        assert call.reply.finish_reasons == (told,)
        assert telemetry.spans()[0].status.status_code is StatusCode.UNSET


async def test_the_exception_is_the_sdks_own(fake: FakeOpenRouter, either: Any, telemetry: Telemetry) -> None:
    """Its cause, its context and the place it was raised at are those without us."""
    fake.default = errors.rate_limit()
    ours = await ask(either)
    telemetry.settle()
    telemetry.tracer_provider.shutdown()

    assert type(ours) is openai.RateLimitError
    assert (ours.__cause__, ours.__context__ is None or ours.__suppress_context__) == (None, True)
