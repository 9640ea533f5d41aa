"""The named errors have the documented status, body and headers."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from or_instrument.testing import Answer, FakeOpenRouter, Received, errors

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = [
    maker
    for name, maker in inspect.getmembers(errors, inspect.isfunction)
    if maker.__module__ == errors.__name__ and name != "error"
]


def serve(answer: Answer, path: str = "chat/completions") -> tuple[int, dict[str, str], Any]:
    """Return status, headers and JSON body of a reply with that answer."""
    fake = FakeOpenRouter()
    fake.script(answer)
    body = json.dumps({"model": "a/model", "messages": []}).encode()
    reply = fake.reply(Received.of("POST", f"/api/v1/{path}", {}, body))
    return reply.status, dict(reply.headers), json.loads(reply.steps[0].data)


@pytest.mark.parametrize("make", NAMED, ids=lambda make: make.__name__)
def test_every_named_error_has_code_and_message(make: Callable[[], Answer]) -> None:
    """Every named error answers with its code as status (in-body ones with 200) and a message."""
    status, _, body = serve(make())
    error = body["error"] if "error" in body else body["choices"][0]["error"]
    assert status in (200, error["code"])
    assert error["message"]


@pytest.mark.parametrize(
    ("make", "raised"),
    [
        (errors.invalid_request, "BadRequestError"),
        (errors.authentication, "AuthenticationError"),
        (errors.insufficient_credits, "APIStatusError"),
        (errors.moderation, "PermissionDeniedError"),
        (errors.no_providers, "NotFoundError"),
        (errors.unprocessable, "UnprocessableEntityError"),
        (errors.rate_limit, "RateLimitError"),
        (errors.provider_error, "InternalServerError"),
        (errors.overloaded, "InternalServerError"),
    ],
)
def test_openai_sdk_raises_its_own_class(make: Callable[[], Answer], raised: str) -> None:
    """The OpenAI SDK maps each error to its exception, whose body is the inner error object."""
    with FakeOpenRouter() as fake, openai.OpenAI(api_key="k", base_url=fake.base_url, max_retries=0) as client:
        fake.script(make())
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="a/model", messages=[])
    assert type(caught.value).__name__ == raised
    assert caught.value.body == make().error
    assert fake.charged_usd == 0


def test_in_flight_budget_is_transient() -> None:
    """The in-flight 402 tells its limit source and when to retry."""
    status, headers, body = serve(errors.in_flight_budget(7))
    assert (status, headers["Retry-After"]) == (402, "7")
    assert body["error"]["metadata"]["limit_source"] == "openrouter_in_flight_budget"


def test_rate_limit_headers_are_copied_into_the_body() -> None:
    """The X-RateLimit headers of a 429 stand in its body too, as strings."""
    _, headers, body = serve(errors.rate_limit(3))
    copied = body["error"]["metadata"]["headers"]
    assert copied.items() <= headers.items()
    assert set(copied) == {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
    assert headers["Retry-After"] == "3"


def test_moderation_quotes_the_prompt_and_names_the_account() -> None:
    """A moderation error carries at most 100 characters of the prompt, and the account id."""
    _, _, body = serve(errors.moderation("x" * 200))
    assert body["error"]["metadata"]["flagged_input"] == "x" * 100
    assert body["user_id"] == errors.USER_ID


def test_error_type_stands_at_the_top_in_responses() -> None:
    """In Responses the error type is a key of the body, not of the metadata."""
    _, _, body = serve(errors.provider_error(), "responses")
    assert body["error_type"] == "provider_unavailable"
    assert "error_type" not in body["error"]["metadata"]


def test_in_body_error_has_no_choices() -> None:
    """An error within a 200 has an id, an error and no choices, and is no stream even where asked."""
    status, _, body = serve(errors.in_body())
    assert status == 200
    assert set(body) == {"id", "error"}


def test_unknown_path_is_a_404_body() -> None:
    """What OpenRouter does not have is a 404 with an error body."""
    status, _, body = serve(Answer(), "moderations")
    assert (status, body["error"]["code"]) == (404, 404)


def test_body_that_is_no_object_is_a_400() -> None:
    """A POST whose body is no JSON object is refused and uses up no scripted answer."""
    fake = FakeOpenRouter()
    fake.script(Answer(content="kept"))
    assert fake.reply(Received.of("POST", "/api/v1/responses", {}, b"[1]")).status == 400
    good = fake.reply(Received.of("POST", "/api/v1/chat/completions", {}, b"{}"))
    assert b"kept" in good.steps[0].data
