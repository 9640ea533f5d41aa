"""What the headers of a response tell."""

from __future__ import annotations

import pytest

from or_instrument._openrouter.headers import NO_HEADERS, Headers, api_key, read_headers


def test_a_cached_answer_tells_its_age_and_its_lifetime() -> None:
    """In seconds."""
    said = {
        "x-generation-id": "gen-1",
        "x-openrouter-cache-status": "HIT",
        "x-openrouter-cache-age": "12",
        "x-openrouter-cache-ttl": "300",
    }
    assert read_headers(200, said) == Headers("gen-1", "HIT", 200, 12.0, 300.0)


@pytest.mark.parametrize("age", ["soon", "-1", "", "inf", "1_0"])
def test_what_is_no_time_is_left_out(age: str) -> None:
    """The status stays."""
    said = {"x-openrouter-cache-status": "MISS", "x-openrouter-cache-age": age}
    assert read_headers(200, said) == Headers(None, "MISS", 200)


def test_a_response_without_a_cache_has_neither() -> None:
    """They are asked for only beside the status, which tells of a cache."""
    assert read_headers(429, {"x-openrouter-cache-age": "12"}) == NO_HEADERS._replace(status_code=429)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer sk-1"}, "sk-1"),
        ({"authorization": "bearer  sk-1 "}, "sk-1"),
        ({"authorization": "Basic abc", "x-api-key": "sk-2"}, "sk-2"),
        ({"authorization": "Bearer "}, None),
        ({"x-api-key": ""}, None),
        ({}, None),
    ],
)
def test_the_key_is_in_either_header(headers: dict[str, str], key: str | None) -> None:
    """The OpenAI SDK sends it as a bearer token, Anthropic's in a header of its own; nothing is no key."""
    assert api_key(headers) == key
