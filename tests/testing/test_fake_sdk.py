"""The fake through the real OpenAI SDK, sync and async, over loopback HTTP."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from or_instrument.testing import Answer, FakeOpenRouter

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "a/model"
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a served fake."""
    with FakeOpenRouter() as served:
        yield served


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio: on trio the SDK itself leaves its generators unfinished at [DONE], which warns."""
    return "asyncio"


@pytest.fixture
def client(fake: FakeOpenRouter) -> Iterator[openai.OpenAI]:
    """Return an SDK client without retries, pointed at the fake."""
    with openai.OpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0) as made:
        yield made


def chat(client: openai.OpenAI, **options: Any) -> Any:
    """Make one chat call."""
    return client.chat.completions.create(model=MODEL, messages=MESSAGES, **options)


def test_answers_come_in_the_scripted_order(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Scripted answers are used up in order, and then the default answer stands."""
    fake.default = Answer(content="default")
    fake.script(Answer(content="first"), Answer(content="second"))
    assert [chat(client).choices[0].message.content for _ in range(4)] == [
        "first",
        "second",
        "default",
        "default",
    ]


def test_requests_are_recorded(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A request is kept with its method, path, lower-case header names and parsed body."""
    chat(client, extra_headers={"X-Title": "A Test"}, extra_body={"usage": {"include": True}})
    [request] = fake.requests
    assert (request.method, request.path) == ("POST", "/api/v1/chat/completions")
    assert request.headers["x-title"] == "A Test"
    assert request.headers["authorization"] == "Bearer sk-or-test"
    assert request.json["usage"] == {"include": True}


def test_model_variant_is_stripped(client: openai.OpenAI) -> None:
    """The model of the body is the one asked for, less its variant suffix."""
    result = client.chat.completions.create(model="a/model:nitro", messages=MESSAGES)
    assert result.model == "a/model"


@pytest.mark.parametrize("byok", [True, False, None])
def test_is_byok_is_sent_as_told(fake: FakeOpenRouter, client: openai.OpenAI, byok: bool | None) -> None:
    """is_byok is true, false or not there at all."""
    fake.script(Answer(byok=byok))
    assert chat(client).usage.model_extra.get("is_byok") == byok


@pytest.mark.parametrize("raw", ["soon", {"cost": "0.1", "is_byok": 1}, [], None])
def test_a_raw_usage_is_sent_as_it_is(fake: FakeOpenRouter, client: openai.OpenAI, raw: object) -> None:
    """A scripted usage of any JSON type replaces the whole object."""
    fake.script(Answer(usage=raw))
    assert (
        client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES).http_response.json()["usage"]
        == raw
    )


def test_stream_ends_in_one_usage_chunk(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A stream carries the content in the asked number of pieces, then the finish, then the usage."""
    fake.script(Answer(content="abcdef", chunks=3, service_tier="flex"))
    chunks = list(chat(client, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["ab", "cd", "ef", "", ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop", "stop"]
    assert [chunk.usage is None for chunk in chunks] == [True] * 4 + [False]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].service_tier == "flex"


def test_usage_chunk_can_be_without_choices(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """With usage_choices off the usage chunk has no choices, as OpenAI's has."""
    fake.script(Answer(usage_choices=False))
    assert list(chat(client, stream=True))[-1].choices == []


def test_streamed_tool_call_is_whole(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A streamed tool call carries its name and arguments, and there is no content."""
    fake.script(Answer(tool_calls=[("look_up", {"word": "cost"})]))
    chunks = list(chat(client, stream=True))
    [call] = chunks[0].choices[0].delta.tool_calls
    assert (call.function.name, call.function.arguments) == ("look_up", '{"word": "cost"}')
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_choices_are_interleaved(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A stream asked for two choices sends every piece for each of them."""
    fake.script(Answer(chunks=["x", "y"]))
    chunks = list(chat(client, stream=True, n=2))
    assert [chunk.choices[0].index for chunk in chunks] == [0, 1, 0, 1, 0, 1, 0]


def test_error_chunk_carries_the_usage(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A stream that breaks off raises the SDK's APIError and is charged what its error chunk says."""
    fake.script(Answer(chunks=1, midstream_error={"code": 502, "message": "gone"}, cost=0.25))
    stream = chat(client, stream=True)
    next(stream)
    with pytest.raises(openai.APIError, match="gone") as caught:
        next(stream)
    assert caught.value.body == {"code": 502, "message": "gone"}
    assert fake.charged_usd == Decimal("0.25")
    stream.close()


def test_finish_reason_error_without_an_error(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A stream can end in the finish reason "error" with no error object and no charge."""
    fake.script(Answer(error_finish_only=True, native_finish_reason="MALFORMED_FUNCTION_CALL"))
    last = list(chat(client, stream=True))[-1]
    assert (last.choices[0].finish_reason, last.usage.cost) == ("error", 0)


@pytest.mark.parametrize("after", [0, 2])
def test_dropped_stream_breaks_the_read(fake: FakeOpenRouter, client: openai.OpenAI, after: int) -> None:
    """A dropped connection gives the client exactly the chunks before it and then an error; it is charged."""
    fake.script(Answer(chunks=4, abort_after=after, cost="0.125"))
    got = []
    stream = chat(client, stream=True)
    with pytest.raises(Exception, match=r"Connection error|incomplete chunked read"):
        got.extend(chunk.id for chunk in stream)
    assert fake.charged_usd == Decimal("0.125")
    [generation] = fake.generations.values()
    assert generation["cancelled"] is True
    stream.close()


def test_reply_is_dropped(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A reply that is not streamed can be dropped before its first byte."""
    fake.script(Answer(abort_after=0))
    with pytest.raises(openai.APIConnectionError):
        chat(client)


def test_gate_holds_a_stream(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A held stream sends the chunks before the gate, and the rest only when the gate opens."""
    gate = threading.Event()
    fake.script(Answer(chunks=["a", "b"], hold_after=1, gate=gate))
    stream = chat(client, stream=True)
    assert next(stream).choices[0].delta.content == "a"
    assert not gate.is_set()
    gate.set()
    assert next(stream).choices[0].delta.content == "b"
    assert list(stream)[-1].usage is not None


def test_closed_stream_is_cancelled(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A stream that its client closes is noted as cancelled, even while it is held."""
    fake.script(Answer(chunks=2, hold_after=1, gate=threading.Event()))
    stream = chat(client, stream=True)
    generation = fake.generations[next(stream).id]
    assert generation["cancelled"] is False
    stream.response.close()
    fake.wait_for(lambda: generation["cancelled"] is True)


def test_delay_runs_into_the_timeout(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A gated answer lets a client's timeout run out."""
    fake.script(Answer(gate=threading.Event()))
    with pytest.raises(openai.APITimeoutError):
        chat(client, timeout=0.05)


def test_events_are_sent_as_they_are(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Scripted events replace the stream, and the usage in them is what is charged."""
    event = {"id": "gen-x", "choices": [], "usage": {"cost": 0.5}}
    fake.script(Answer(events=[event, event]))
    assert [chunk.id for chunk in chat(client, stream=True)] == ["gen-x", "gen-x"]
    assert fake.charged_usd == Decimal("0.5")


def test_generation_id_is_in_the_header(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """X-Generation-Id is the id of the body, and scripted headers stand beside it."""
    fake.script(Answer(headers={"X-OpenRouter-Cache-Status": "HIT"}))
    reply = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
    assert reply.headers["X-Generation-Id"] == reply.parse().id
    assert reply.headers["X-OpenRouter-Cache-Status"] == "HIT"


def test_lookup_is_late_as_told(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """GET /generation answers 404 as often as told, then the true record."""
    result = chat(client)
    fake.lookup_404s = 1
    with pytest.raises(openai.NotFoundError):
        client.get("/generation", cast_to=object, options={"params": {"id": result.id}})
    found: Any = client.get("/generation", cast_to=object, options={"params": {"id": result.id}})
    assert found["data"] == fake.generations[result.id]


def test_speech_is_bytes_with_a_cost_in_the_books(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Speech is a binary body whose cost only GET /generation tells."""
    reply = client.audio.speech.create(model=MODEL, voice="alloy", input="Say this.")
    assert reply.content.startswith(b"ID3")
    [generation] = fake.generations.values()
    assert generation["total_cost"] == float(fake.charged_usd) > 0
    assert reply.response.headers["X-Generation-Id"] == generation["id"]


def test_transcription_takes_a_form(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A multipart transcription is answered and its model is read from the form."""
    fake.script(Answer(content="spoken", cost=0.001))
    reply: Any = client.audio.transcriptions.create(model=MODEL, file=("a.wav", b"\x00\xff"))
    assert reply.text == "spoken"
    [generation] = fake.generations.values()
    assert (generation["model"], generation["api_type"]) == (MODEL, "stt")


def test_embeddings_decode(client: openai.OpenAI) -> None:
    """The SDK's default base64 embeddings decode to the same vector as plain ones."""
    packed = client.embeddings.create(model=MODEL, input=["a", "b"])
    plain = client.embeddings.create(model=MODEL, input="a", encoding_format="float")
    assert [item.embedding for item in packed.data] == [plain.data[0].embedding] * 2


def test_legacy_completions(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Legacy completions give text, whole and streamed."""
    fake.default = Answer(content="one two")
    assert client.completions.create(model=MODEL, prompt="p").choices[0].text == "one two"
    chunks = list(client.completions.create(model=MODEL, prompt="p", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "one two"
    assert chunks[-1].usage is not None


@pytest.mark.skipif(not hasattr(openai.OpenAI, "responses"), reason="this SDK has no Responses")
def test_responses_stream_completes(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A Responses stream ends in a completed response with usage in its own spelling."""
    fake.script(Answer(reasoning="hmm", content="a b", byok=True, cost=0.05, upstream=1))
    events = list(client.responses.create(model=MODEL, input="hi", stream=True))
    last: Any = events[-1]
    assert (events[0].type, last.type) == ("response.created", "response.completed")
    assert last.response.output_text == "a b"
    assert last.response.usage.cost_details["upstream_inference_input_cost"] >= 0
    assert fake.spend_usd == Decimal("1.05")


@pytest.mark.anyio
async def test_async_stream(fake: FakeOpenRouter) -> None:
    """An async client reads the same stream as a sync one."""
    fake.script(Answer(chunks=["a", "b"], comments=2))
    async with openai.AsyncOpenAI(api_key="k", base_url=fake.base_url) as client:
        stream: Any = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        text = [chunk.choices[0].delta.content async for chunk in stream]
    assert text == ["a", "b", "", ""]


def test_retries_meet_the_next_answer(fake: FakeOpenRouter) -> None:
    """Every retry of the SDK is a request of its own and gets the next answer."""
    soon = {"Retry-After-Ms": "1"}
    fake.script(Answer(status=503, headers=soon), Answer(status=429, headers=soon), Answer(content="at last"))
    with openai.OpenAI(api_key="k", base_url=fake.base_url, max_retries=2) as client:
        assert chat(client).choices[0].message.content == "at last"
    assert len(fake.requests) == 3
