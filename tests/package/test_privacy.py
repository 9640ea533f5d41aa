"""Nothing that the user or the model said, no key, no header and no account is in any telemetry or log."""

# ruff: noqa: D103 - the small ones' names say what they do; fixtures are arguments
from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import openai
import pytest
from in_memory import Telemetry

from or_instrument.testing import Answer, FakeOpenRouter, errors

SECRETS = (
    "PROMPT-s3cret",
    "SYSTEM-s3cret",
    "COMPLETION-s3cret",
    "REASONING-s3cret",
    "ARGUMENTS-s3cret",
    "SCHEMA-s3cret",
    "sk-or-KEY-s3cret",
    "HEADER-s3cret",
    "USER-s3cret",
    "FLAGGED-s3cret",
    "RAW-s3cret",
    "MESSAGE-s3cret",
    "METADATA-s3cret",
    "PATTERN-s3cret",
    "QUERY-s3cret",
)
SAID = Answer(
    content="COMPLETION-s3cret",
    reasoning="REASONING-s3cret",
    tool_calls=[("lookup", '{"a": "ARGUMENTS-s3cret"}')],
    headers={"X-Secret": "HEADER-s3cret"},
    chunks=3,
)
TOOL = {"type": "function", "function": {"name": "lookup", "description": "SCHEMA-s3cret", "parameters": {}}}
ERROR = {
    "code": 502,
    "message": "MESSAGE-s3cret",
    "metadata": {"raw": "RAW-s3cret", "flagged_input": "FLAGGED-s3cret", "headers": {"x": "HEADER-s3cret"}},
}
LEAKY = errors.error(
    400,
    "MESSAGE-s3cret",
    user_id="USER-s3cret",
    raw="RAW-s3cret",
    flagged_input="FLAGGED-s3cret",
    patterns=["PATTERN-s3cret"],
    error_type="MESSAGE-s3cret with blanks",
    limit_source="RAW-s3cret with blanks",
    provider_code="METADATA-s3cret",
)
ANSWERS = {
    "said": SAID,
    "leaky": LEAKY,
    "moderation": errors.moderation("FLAGGED-s3cret"),
    "guardrail": errors.guardrail("PATTERN-s3cret"),
    "raw": errors.provider_error("RAW-s3cret"),
    "rate-limit": errors.provider_rate_limit("RAW-s3cret"),
    "no-json": Answer(status=500, body=b"RAW-s3cret"),
    "good-no-json": Answer(body=b"RAW-s3cret", content_type="application/json"),
    "in-body": Answer(error=ERROR, extra={"user_id": "USER-s3cret"}),
    "choice-error": Answer(choice_error=ERROR, extra={"user_id": "USER-s3cret"}),
    "midstream": Answer(midstream_error=ERROR, chunks=2, extra={"user_id": "USER-s3cret"}),
    "text-as-code": Answer(error={"code": "MESSAGE-s3cret with blanks", "message": "MESSAGE-s3cret"}),
    "usage-of-text": Answer(usage={"prompt_tokens": "RAW-s3cret", "cost": "RAW-s3cret", "is_byok": "RAW-s3cret"}),
    "dropped": Answer(content="COMPLETION-s3cret", abort_after=1),
}
HEADERS = {"X-Secret": "HEADER-s3cret"}


def chat(client: Any, *, stream: bool) -> None:
    made = client.chat.completions.create(
        model="m",
        messages=[{"role": "system", "content": "SYSTEM-s3cret"}, {"role": "user", "content": "PROMPT-s3cret"}],
        tools=[TOOL],
        user="USER-s3cret",
        stream=stream,
        extra_body={"metadata": {"k": "METADATA-s3cret"}},
        extra_headers=HEADERS,
        extra_query={"q": "QUERY-s3cret"},
    )
    if stream:
        list(made)


def proxied(client: Any, *, stream: bool) -> None:
    create = client.chat.completions.with_streaming_response.create
    messages = [{"role": "user", "content": "PROMPT-s3cret"}]
    with create(model="m", messages=messages, stream=stream, extra_headers=HEADERS) as response:
        b"".join(response.iter_bytes())


def responses(client: Any, *, stream: bool) -> None:
    made = client.responses.create(model="m", input="PROMPT-s3cret", instructions="SYSTEM-s3cret", stream=stream)
    if stream:
        list(made)


def embeddings(client: Any, *, stream: bool) -> None:
    del stream
    client.embeddings.create(model="m", input="PROMPT-s3cret", user="USER-s3cret", extra_headers=HEADERS)


def rerank(client: Any, *, stream: bool) -> None:
    del stream
    client.post("/rerank", cast_to=object, body={"model": "m", "query": "PROMPT-s3cret", "documents": ["RAW-s3cret"]})


SHAPES = [chat, proxied, embeddings, rerank]
if hasattr(openai.OpenAI(api_key="k"), "responses"):
    SHAPES.append(responses)


def everything(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that went out, as one text."""
    told: list[str] = [span.to_json() for span in telemetry.spans()]
    told += [repr(telemetry.metrics()), repr(telemetry.calls)]
    for record in caplog.records:
        if record.name.startswith("or_instrument"):
            told += [record.getMessage(), repr(vars(record))]
    return "\n".join(told)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_secret_goes_out(
    shape: Callable[..., None],
    answer: str,
    fake: FakeOpenRouter,
    telemetry: Telemetry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is answered, streamed or not, what is exported, logged and warned holds none of the secrets."""
    monkeypatch.setattr("or_instrument._calls.shield._reported", set())
    caplog.set_level(logging.DEBUG, "or_instrument")
    fake.default = ANSWERS[answer]
    with (
        openai.DefaultHttpxClient(verify=False) as http,
        openai.OpenAI(api_key="sk-or-KEY-s3cret", base_url=fake.base_url, max_retries=0, http_client=http) as client,
        warnings.catch_warnings(record=True) as warned,
    ):
        for stream in (False, True):
            try:
                shape(client, stream=stream)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is the caller's
                del exc
    assert len(telemetry.settle().calls) == len(telemetry.spans()) == 2
    assert [str(warning.message) for warning in warned] == []

    out = everything(telemetry, caplog)
    assert "gen_ai.client.operation.duration" in out
    assert [secret for secret in SECRETS if secret in out] == []


def test_the_failure_of_a_sink_is_logged_without_its_text(
    fake: FakeOpenRouter,
    instrumented: Callable[..., Telemetry],
    client: openai.OpenAI,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an exception of a user's sink says may quote the prompt, and is not logged."""
    monkeypatch.setattr("or_instrument._calls.shield._reported", set())
    fake.default = SAID

    def bad(_call: object) -> None:
        raise ValueError("PROMPT-s3cret")

    telemetry = instrumented(sinks=[bad])
    chat(client, stream=False)

    out = everything(telemetry, caplog)
    assert "ValueError" in out
    assert "s3cret" not in out
