"""Facts about failures: codes and names of every error shape, and never the service's free text."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import Failure
from or_instrument._openrouter.failure import class_name, failure_of, failure_of_exception, refusal_of, with_refusal

SECRET = "the prompt was: SECRET"  # noqa: S105 - stands for a prompt


class Response:
    """What is read of an HTTP response."""

    def __init__(self, headers: object) -> None:
        self.headers = headers


class Status(Exception):  # noqa: N818 - named like what it stands for
    """Looks like the SDK's `APIStatusError`."""

    def __init__(self, status: object, body: object, headers: object = None) -> None:
        super().__init__(SECRET)
        self.status_code, self.body, self.response = status, body, Response(headers)


def error(code: object = 429, **metadata: object) -> dict[str, object]:
    """Return a chat error object."""
    return {"code": code, "message": SECRET, "metadata": {"raw": SECRET, "flagged_input": SECRET, **metadata}}


def test_the_type_is_the_error_type_of_openrouter_where_it_was_sent() -> None:
    """It says more than a status does."""
    assert failure_of(error(error_type="provider_overloaded")) == Failure(
        "provider_overloaded", "429", "provider_overloaded"
    )


def test_the_error_type_of_responses_stands_beside_the_error() -> None:
    """Responses put it at the top of the response."""
    assert failure_of({"code": "server_error"}, "timeout") == Failure("timeout", "server_error", "timeout")
    assert failure_of(None, "timeout") == Failure("timeout", None, "timeout")


def test_the_error_type_may_stand_directly_in_the_error() -> None:
    """So it does on messages, and did in older docs."""
    assert failure_of({"code": 404, "error_type": "not_found"}).type == "not_found"


def test_the_metadata_has_the_first_word_on_the_error_type() -> None:
    """Three places, one order."""
    sent = {**error(error_type="refusal"), "error_type": "server"}
    assert failure_of(sent, "timeout").error_type == "refusal"
    assert failure_of({"error_type": "server"}, "timeout").error_type == "server"


@pytest.mark.parametrize(("code", "expected"), [(429, "429"), ("server_error", "server_error")])
def test_without_an_error_type_the_code_is_the_type(code: object, expected: str) -> None:
    """A number or a word."""
    assert failure_of(error(code)) == Failure(expected, expected)


def test_an_error_without_codes_has_a_type_of_its_own() -> None:
    """Anthropic's errors have a type where others have a code; OpenRouter's own type goes before it."""
    sent = {"type": "rate_limit_error", "message": SECRET}
    assert failure_of(sent) == Failure("rate_limit_error")
    assert failure_of_exception(Status(429, sent)).type == "rate_limit_error"
    assert failure_of({**sent, "error_type": "rate_limit_exceeded"}).type == "rate_limit_exceeded"
    assert failure_of_exception(Status(429, {**sent, "type": SECRET})).type == "429"


def test_a_code_that_is_null_leaves_the_status() -> None:
    """An error that could have had a code has no type of Anthropic's kind."""
    assert failure_of_exception(Status(400, {"type": "invalid_request_error", "code": None})).type == "400"


def test_without_type_and_code_a_failure_is_just_an_error() -> None:
    """A message alone tells nothing that may be told."""
    assert failure_of({"message": SECRET}) == Failure("error")
    assert failure_of(SECRET) == Failure("error")


@pytest.mark.parametrize("nothing", [None, {}, "", 0, []], ids=repr)
def test_no_error_is_no_failure(nothing: object) -> None:
    """`error: null` is sent with good replies too."""
    assert failure_of(nothing) is None


def test_limit_source_and_provider_are_kept() -> None:
    """They tell an empty account from a busy provider."""
    failure = failure_of(error(402, limit_source="openrouter_in_flight_budget", provider_name="Acme AI"))
    assert (failure.limit_source, failure.provider_name) == ("openrouter_in_flight_budget", "Acme AI")


@pytest.mark.parametrize("field", ["message", "user_id", "raw", "flagged_input", "patterns", "reasons"])
def test_no_free_text_is_kept(field: str) -> None:
    """The service's texts may quote the prompt, and `user_id` is the account."""
    sent: dict[str, Any] = {"code": 403, field: SECRET, "metadata": {field: SECRET}, "user_id": SECRET}
    assert "SECRET" not in repr(failure_of(sent))
    assert "SECRET" not in repr(failure_of_exception(Status(403, sent)))


def test_free_text_in_the_place_of_a_code_is_refused() -> None:
    """A code is an identifier, wherever the sentence was put."""
    sent = {"code": SECRET, "error_type": SECRET, "metadata": {"error_type": SECRET, "limit_source": SECRET}}
    assert failure_of(sent, SECRET) == Failure("error")


def test_an_http_error_carries_its_status() -> None:
    """The status is the type where the body says nothing."""
    assert failure_of_exception(Status(502, None)) == Failure("502", status_code=502)
    assert failure_of_exception(Status(502, "<html>")) == Failure("502", status_code=502)


def test_the_body_of_an_http_error_says_more_than_its_status() -> None:
    """Code and error type come from the body."""
    failure = failure_of_exception(Status(429, error(429, error_type="rate_limit_exceeded")))
    assert failure == Failure("rate_limit_exceeded", "429", "rate_limit_exceeded", status_code=429)


def test_an_exception_without_a_body_is_named_by_its_class() -> None:
    """A timeout or a refused connection has no status."""
    assert failure_of_exception(TimeoutError(SECRET)) == Failure("TimeoutError")
    assert failure_of_exception(Status("502", None)).type == f"{__name__}.Status"


def test_class_names_are_full_but_for_builtins() -> None:
    """As the conventions want `error.type`."""
    assert class_name(KeyError()) == "KeyError"
    assert class_name(asyncio.CancelledError()) == "asyncio.exceptions.CancelledError"
    assert class_name(openai.OpenAIError()) == "openai.OpenAIError"


@pytest.mark.parametrize(
    "sent",
    [
        Status(429, error(), {"Retry-After": "7"}),
        Status(429, error(headers={"retry-after": "7"}), {}),
        Status(429, {**error(), "availability": {"retry_after": 7}}, None),
        Status(429, error(headers={"Retry-After": 9}), {"retry-after": "7.0"}),
        Status(429, error(headers={3: "x", "Retry-After": 7}), {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    ],
    ids=["header", "metadata", "availability", "header first", "date is passed over"],
)
def test_retry_after_is_read_wherever_it_stands(sent: Status) -> None:
    """In the header, in its copy in the body, or in the error's availability."""
    assert failure_of_exception(sent).retry_after == 7.0


@pytest.mark.parametrize(("header", "wait"), [({"retry-after": "7"}, 7.0), ({}, 9.0)], ids=["header", "body"])
def test_the_wait_in_a_header_goes_before_the_bodys_for_every_client(header: dict[str, str], wait: float) -> None:
    """A client without exceptions for statuses tells the same of a refusal as the SDK, which makes one of it."""
    body = error(headers={"retry-after": "9"})
    told = with_refusal(failure_of(body), refusal_of(429, header))
    assert told.retry_after == failure_of_exception(Status(429, body, header)).retry_after == wait


@pytest.mark.parametrize(
    "wait", ["soon", "-1", -1, True, math.nan, math.inf, 10**400, None, [3]], ids=lambda w: repr(w)[:9]
)
def test_a_wait_that_is_no_number_of_seconds_is_dropped(wait: object) -> None:
    """No date, bool, infinity or negative is a wait."""
    assert failure_of_exception(Status(429, error(), {"retry-after": wait})).retry_after is None


def test_a_wait_of_zero_is_kept() -> None:
    """0 means at once; it is not absent."""
    assert failure_of_exception(Status(429, error(), {"retry-after": "0"})).retry_after == 0.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["code", "metadata", "error_type", "headers", "retry-after", "availability", "retry_after"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
@settings(max_examples=100, deadline=None)
def test_any_json_gives_a_failure_of_short_codes(sent: object, kind: object, headers: object) -> None:
    """No error body raises, and what comes out are identifiers and finite seconds."""
    for failure in (failure_of(sent, kind), failure_of_exception(Status(500, sent, headers))):
        if failure is None:
            assert not sent
            assert not kind
            continue
        assert all(text is None or " " not in text for text in (failure.type, failure.code, failure.limit_source))
        assert failure.type
        assert failure.retry_after is None or 0 <= failure.retry_after < math.inf


def test_the_error_type_beside_the_error_of_an_http_body_is_taken() -> None:
    """The SDK's exception shows the inner object only, so it is handed in."""
    failure = failure_of_exception(Status(400, {"code": "invalid_prompt"}), "invalid_request")
    assert failure == Failure("invalid_request", "invalid_prompt", "invalid_request", status_code=400)
