"""Content capture through real clients: off by default, and where it goes when asked for."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import openai
import opentelemetry._logs
import pytest
from in_memory import Telemetry
from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import set_span_in_context

import or_instrument
from or_instrument._calls import shield as _shield
from or_instrument.testing import Answer, FakeOpenRouter

pytestmark = pytest.mark.anyio

Instrumented = Callable[..., Telemetry]
VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
SYSTEM, TOOLS = "gen_ai.system_instructions", "gen_ai.tool.definitions"
BYTES = base64.b64encode(b"never to be seen").decode()
FUNCTION = {"name": "weather", "parameters": {"type": "object"}}
CHAT: dict[str, Any] = {
    "model": "a/b",
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BYTES}"}},
            ],
        },
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
}
ASKED = [
    {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
    {
        "role": "user",
        "parts": [
            {"type": "text", "content": "look"},
            {"type": "blob", "mime_type": "image/png", "modality": "image", "size": 16},
        ],
    },
]
RESPONSES: dict[str, Any] = {"model": "a/b", "input": "hi", "instructions": "be brief"}
ANSWER = Answer(reasoning="let me see", content="It is sunny.", tool_calls=[("weather", {"city": "Bonn"})])
LONG = " ".join(map(str, range(100)))


class Logs:
    """The log events so far, on a provider of its own."""

    def __init__(self) -> None:
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self._exporter = InMemoryLogRecordExporter()
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    def records(self) -> list[Any]:
        """Return them, oldest first."""
        return [data.log_record for data in self._exporter.get_finished_logs()]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Return log events kept in memory."""
    made = Logs()
    yield made
    made.provider.shutdown()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test see its own log lines, and no variable of the environment's."""
    monkeypatch.setattr(_shield, "_reported", set())
    monkeypatch.delenv(VARIABLE, raising=False)


def told(*, reason: str = "tool_call") -> list[dict[str, Any]]:
    """Return the output messages of `ANSWER`, without the id of its tool call."""
    parts = [
        {"type": "reasoning", "content": "let me see"},
        {"type": "text", "content": "It is sunny."},
        {"type": "tool_call", "name": "weather", "arguments": {"city": "Bonn"}},
    ]
    return [{"role": "assistant", "parts": parts, "finish_reason": reason}]


def output(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Return the output messages of the only span, without the ids of tool calls."""
    messages: list[dict[str, Any]] = json.loads(telemetry.span()[OUTPUT])
    for message in messages:
        for part in message["parts"]:
            part.pop("id", None)
    return messages


def asked(telemetry: Telemetry) -> Any:
    """Return the input messages of the only span."""
    return json.loads(telemetry.span()[INPUT])


def texts(message: dict[str, Any]) -> list[str]:
    """Return the texts of a message."""
    return [part["content"] for part in message["parts"]]


async def test_nothing_is_captured_by_default(
    telemetry: Telemetry, fake: FakeOpenRouter, client: openai.OpenAI, logs: Logs
) -> None:
    """Without being asked for, no content is on the span, in the call or in an event."""
    opentelemetry._logs.get_logger("probe", logger_provider=logs.provider)
    fake.script(ANSWER)
    client.chat.completions.create(**CHAT)

    assert not {INPUT, OUTPUT, SYSTEM, TOOLS} & telemetry.span().keys()
    assert telemetry.calls[0].content is None
    assert logs.records() == []


async def test_whole_reply_on_the_span(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, aclient: openai.AsyncOpenAI
) -> None:
    """A chat's content is on its span as JSON texts and in the call as records; sync and async alike."""
    for is_async in (False, True):
        telemetry = instrumented(content="span_only")
        fake.script(ANSWER)
        if is_async:
            await aclient.chat.completions.create(**CHAT)
        else:
            client.chat.completions.create(**CHAT)

        assert asked(telemetry) == ASKED
        assert output(telemetry) == told()
        assert json.loads(telemetry.span()[TOOLS]) == [{"type": "function", **FUNCTION}]
        assert SYSTEM not in telemetry.span()
        content = telemetry.calls[0].content
        assert content is not None
        assert list(content.input_messages) == ASKED
        assert BYTES not in str(telemetry.span())
        or_instrument.uninstrument()


async def test_stream_is_put_together(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, aclient: openai.AsyncOpenAI
) -> None:
    """A stream shows the same content as a whole reply, for each of its choices; sync and async alike."""
    for is_async in (False, True):
        telemetry = instrumented(content="span_only")
        fake.script(ANSWER)
        if is_async:
            async for _ in await aclient.chat.completions.create(**CHAT, n=2, stream=True):
                pass
        else:
            for _ in client.chat.completions.create(**CHAT, n=2, stream=True):
                pass

        assert output(telemetry) == told() * 2
        or_instrument.uninstrument()


async def test_raw_stream_is_put_together(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, aclient: openai.AsyncOpenAI
) -> None:
    """A stream whose bytes a proxy reads raw shows its content too; sync and async alike."""
    for is_async in (False, True):
        telemetry = instrumented(content="span_only")
        fake.script(Answer(content=LONG))
        if is_async:
            async with aclient.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
                async for _ in response.iter_bytes():
                    pass
        else:
            with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
                for _ in response.iter_lines():
                    pass

        assert texts(output(telemetry)[0]) == [LONG]
        or_instrument.uninstrument()


async def test_raw_reply(instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A raw response shows its content, parsed or not."""
    telemetry = instrumented(content="span_only")
    fake.script(ANSWER)
    client.chat.completions.with_raw_response.create(**CHAT)

    assert output(telemetry) == told()


async def test_stream_helper(instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """The SDK's `.stream()` helper shows its content."""
    telemetry = instrumented(content="span_only")
    fake.script(Answer(content="hi"))
    chat = client.chat if hasattr(client.chat.completions, "stream") else client.beta.chat
    with chat.completions.stream(model="a/b", messages=[{"role": "user", "content": "x"}]) as stream:
        stream.get_final_completion()

    assert texts(output(telemetry)[0]) == ["hi"]


async def test_stream_broken_off_shows_what_came(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A stream that the user closes shows what had come, without a finish reason."""
    telemetry = instrumented(content="span_only")
    fake.script(Answer(chunks=["one ", "two ", "three"]))
    with client.chat.completions.create(**CHAT, stream=True) as stream:
        next(stream)
        next(stream)

    assert output(telemetry) == [{"role": "assistant", "parts": [{"type": "text", "content": "one two "}]}]


async def test_stream_that_fails_shows_what_came(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A stream that breaks shows what had come, finished by `error`."""
    telemetry = instrumented(content="span_only")
    fake.script(Answer(content="half", chunks=1, midstream_error={"code": 502, "message": "broken"}))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(**CHAT, stream=True))

    assert output(telemetry) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "half"}], "finish_reason": "error"}
    ]


async def test_refused_call_shows_what_was_asked(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A call that the service refuses shows what was asked and no answer."""
    telemetry = instrumented(content="span_only")
    fake.script(Answer(status=402, error={"code": 402, "message": "no money"}))
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(**CHAT)

    assert asked(telemetry) == ASKED
    assert OUTPUT not in telemetry.span()


async def test_responses(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, aclient: openai.AsyncOpenAI
) -> None:
    """The Responses API shows instructions, input and output, whole or streamed."""
    for shape in ("whole", "stream", "async stream"):
        telemetry = instrumented(content="span_only")
        fake.script(ANSWER)
        if shape == "whole":
            client.responses.create(**RESPONSES)
        elif shape == "stream":
            list(client.responses.create(**RESPONSES, stream=True))
        else:
            async for _ in await aclient.responses.create(**RESPONSES, stream=True):
                pass

        assert json.loads(telemetry.span()[SYSTEM]) == [{"type": "text", "content": "be brief"}]
        assert asked(telemetry) == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
        assert output(telemetry) == told(reason="stop")
        or_instrument.uninstrument()


async def test_responses_stream_broken_off(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A Responses stream that is closed before its last event shows the deltas that came."""
    telemetry = instrumented(content="span_only")
    fake.script(Answer(reasoning="so", chunks=["one ", "two ", "three"]))
    with client.responses.create(**RESPONSES, stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta" and event.delta == "two ":
                break

    assert texts(output(telemetry)[0]) == ["so", "one two "]


async def test_legacy_completions(instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A legacy completion shows its prompt as a user message and a message a choice."""
    telemetry = instrumented(content="span_only")
    fake.script(Answer(content="hi", n=2))
    client.completions.create(model="a/b", prompt="say hi", n=2)

    assert asked(telemetry) == [{"role": "user", "parts": [{"type": "text", "content": "say hi"}]}]
    assert [texts(message) for message in output(telemetry)] == [["hi"], ["hi"]]


async def test_embeddings(instrumented: Instrumented, client: openai.OpenAI) -> None:
    """An embeddings call shows its inputs, and no vectors."""
    telemetry = instrumented(content="span_only")
    client.embeddings.create(model="a/b", input=["one", "two"])

    assert [texts(message) for message in asked(telemetry)] == [["one"], ["two"]]
    assert OUTPUT not in telemetry.span()


async def test_event(instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, logs: Logs) -> None:
    """The event holds the content as structure and the attributes of the span, whose context it has."""
    telemetry = instrumented(content="EVENT_ONLY", logger_provider=logs.provider)
    fake.script(ANSWER)
    list(client.chat.completions.create(**CHAT, stream=True))
    (record,) = logs.records()
    (span,) = telemetry.spans()

    assert record.event_name == "gen_ai.client.inference.operation.details"
    assert record.severity_number is opentelemetry._logs.SeverityNumber.DEBUG
    assert (record.trace_id, record.span_id) == (span.context.trace_id, span.context.span_id)
    assert record.timestamp == span.end_time
    assert json.loads(json.dumps(record.attributes[INPUT], default=dict)) == ASKED
    assert record.attributes[OUTPUT][0]["parts"][2]["arguments"] == {"city": "Bonn"}
    assert dict(span.attributes).items() <= dict(record.attributes).items()
    assert not {INPUT, OUTPUT, TOOLS} & span.attributes.keys()


async def test_span_and_event(
    instrumented: Instrumented, client: openai.OpenAI, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable asks for both, in whatever case it is written."""
    monkeypatch.setenv(VARIABLE, "Span_And_Event")
    telemetry = instrumented(logger_provider=logs.provider)
    client.chat.completions.create(**CHAT)

    assert asked(telemetry) == ASKED
    assert INPUT in logs.records()[0].attributes


async def test_flush_reaches_the_events(instrumented: Instrumented, logs: Logs) -> None:
    """`flush()` has the log provider export as well."""
    flushed: list[int] = []
    logs.provider.force_flush = lambda timeout_millis: flushed.append(timeout_millis) or True  # type: ignore[method-assign, func-returns-value, assignment]
    instrumented(content="event_only", logger_provider=logs.provider)

    assert or_instrument.flush()
    assert len(flushed) == 1


async def test_without_log_events_a_warning(
    instrumented: Instrumented,
    client: openai.OpenAI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On an OpenTelemetry whose log records take no event name, one warning says so and spans still have content."""

    class OldLogRecord:
        def __init__(self, timestamp: int | None = None) -> None:
            pass

    monkeypatch.setattr(opentelemetry._logs, "LogRecord", OldLogRecord)
    telemetry = instrumented(content="span_and_event")
    client.chat.completions.create(**CHAT)

    assert [r.getMessage().partition(":")[0] for r in caplog.records] == ["content cannot be sent as events"]
    assert asked(telemetry) == ASKED


@pytest.mark.parametrize("spans", ["off", "enrich"])
async def test_no_span_of_the_users_gets_content(
    instrumented: Instrumented, client: openai.OpenAI, users: Telemetry, spans: str
) -> None:
    """Where there is no span of the call, the span around it, which is the user's own, gets no content."""
    telemetry = instrumented(content="span_only", spans=spans)
    with users.tracer_provider.get_tracer("user").start_as_current_span("mine"):
        client.chat.completions.create(**CHAT)

    assert not users.spans()[0].attributes
    assert telemetry.calls[0].content is not None


async def test_span_of_another_instrumentation_gets_content(
    instrumented: Instrumented, client: openai.OpenAI, users: Telemetry
) -> None:
    """With `spans="enrich"` the content is written on the span that another instrumentation made of the call."""
    instrumented(content="span_only", spans="enrich")
    attributes = {"gen_ai.operation.name": "chat"}
    with users.tracer_provider.get_tracer("other").start_as_current_span("theirs", attributes=attributes):
        client.chat.completions.create(**CHAT)

    assert asked(users) == ASKED


async def test_content_is_not_shown_twice(
    instrumented: Instrumented, client: openai.OpenAI, users: Telemetry, logs: Logs
) -> None:
    """Where OpenTelemetry's own instrumentation records the call, content is left to it: the variable is the same."""
    telemetry = instrumented(content="span_and_event", logger_provider=logs.provider)
    data = SimpleNamespace(attributes={})
    context = set_value("opentelemetry.genai.client.inference.context", data)
    with users.tracer_provider.get_tracer("other").start_as_current_span("theirs", context) as span:
        token = attach(set_span_in_context(span, context))
        client.chat.completions.create(**CHAT)
        detach(token)

    assert INPUT not in {**data.attributes, **(users.spans()[0].attributes or {})}
    assert logs.records() == []
    assert telemetry.calls[0].content is not None


@pytest.fixture
def users() -> Iterator[Telemetry]:
    """Return telemetry of the user's own."""
    made = Telemetry()
    yield made
    made.tracer_provider.shutdown()
    made.meter_provider.shutdown()


async def test_redact_sees_all_that_is_shown(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, logs: Logs
) -> None:
    """`redact` changes texts of the request and of the reply before span, event or sink gets them."""

    def redact(text: str) -> str | None:
        return None if text == "look" else text.replace("sunny", "***").replace("Bonn", "***")

    telemetry = instrumented(content="span_and_event", redact=redact, logger_provider=logs.provider)
    fake.script(ANSWER)
    client.chat.completions.create(**CHAT)

    everything = str([telemetry.span(), dict(logs.records()[0].attributes), telemetry.calls])
    assert "look" not in everything
    assert "sunny" not in everything
    assert "Bonn" not in everything
    assert "It is ***." in everything


async def test_redact_that_raises_keeps_content_from_being_shown(
    instrumented: Instrumented, client: openai.OpenAI, logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    """Where `redact` raises, the call is recorded without content, with one log line that quotes none."""

    def redact(text: str) -> str:
        raise LookupError(text)

    caplog.set_level(logging.WARNING)
    telemetry = instrumented(content="span_and_event", redact=redact, logger_provider=logs.provider)
    client.chat.completions.create(**CHAT)
    client.chat.completions.create(**CHAT)

    assert [call.content for call in telemetry.calls] == [None, None]
    assert all(call.spend for call in telemetry.calls)
    assert not any(INPUT in (span.attributes or {}) for span in telemetry.spans())
    assert logs.records() == []
    (record,) = caplog.records
    assert "redact" in record.getMessage()
    assert "be brief" not in caplog.text


async def test_failure_of_capture_loses_no_call(
    instrumented: Instrumented, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of ours while a stream's content is captured reach neither the caller nor the call's record."""
    telemetry = instrumented(content="span_only")
    monkeypatch.setattr("or_instrument._content.answered.Answer.see", lambda *_: 1 / 0)
    chunks = list(client.chat.completions.create(**CHAT, stream=True))
    client.chat.completions.create(**CHAT)
    monkeypatch.setattr("or_instrument._content.capture.asked", lambda *_: 1 / 0)
    client.chat.completions.create(**CHAT)

    assert len(chunks) > 2
    assert [call.outcome for call in telemetry.calls] == ["complete"] * 3
    assert all(call.spend for call in telemetry.calls)


async def test_limit_cuts_what_is_captured(
    instrumented: Instrumented, fake: FakeOpenRouter, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attribute has more characters than the limit, and what was cut says so and is still JSON."""
    monkeypatch.setenv("OR_INSTRUMENT_CONTENT_LIMIT", "500")
    telemetry = instrumented(content="span_only")
    fake.script(Answer(content="y" * 2000))
    client.chat.completions.create(model="a/b", messages=[{"role": "user", "content": "x" * 2000}])

    assert len(telemetry.span()[INPUT]) <= 500
    assert len(telemetry.span()[OUTPUT]) <= 500
    assert texts(asked(telemetry)[0])[0].endswith(" more characters]")
    assert texts(output(telemetry)[0])[0].startswith("yyy")


@pytest.mark.parametrize(
    "options",
    [{"content": "true"}, {"content": True}, {"content_limit": 10}, {"content_limit": "many"}, {"redact": "x"}],
)
def test_wrong_option_is_refused(options: dict[str, Any]) -> None:
    """A wrong keyword raises `ConfigError`, which names it, before anything is patched."""
    with pytest.raises(or_instrument.ConfigError, match=next(iter(options))):
        or_instrument.instrument(**options)

    assert not or_instrument.is_instrumented()


def test_wrong_variable_is_one_warning(
    instrumented: Instrumented,
    client: openai.OpenAI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wrong variable, such as the `true` of old versions, is one warning and captures nothing."""
    monkeypatch.setenv(VARIABLE, "true")
    telemetry = instrumented()
    client.chat.completions.create(**CHAT)

    assert [VARIABLE in record.getMessage() for record in caplog.records] == [True]
    assert telemetry.calls[0].content is None
