"""What the fake sends is what the official `openrouter` SDK's own models expect."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from or_instrument.testing import Answer, FakeOpenRouter, errors

pytest.importorskip("openrouter")

from openrouter import OpenRouter, components, operations
from openrouter.errors import OpenRouterError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The official SDK warns of its own deprecated fields, and a library of its own warns when imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MESSAGES = [{"role": "user", "content": "hi"}]
RICH = Answer(
    reasoning="Let me think.",
    tool_calls=[("look_up", {"word": "cost"}), ("add", '{"a": 1}')],
    content="Looking.",
    cached_tokens=3,
    cache_write_tokens=2,
    reasoning_tokens=5,
    service_tier="flex",
    byok=True,
)


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a served fake."""
    with FakeOpenRouter(prices={"a/model": ("0.0000015", "0.000006")}) as served:
        yield served


@pytest.fixture
def client(fake: FakeOpenRouter) -> Iterator[OpenRouter]:
    """Return the official SDK, pointed at the fake."""
    with OpenRouter(api_key="sk-or-test", server_url=fake.base_url) as made:
        yield made


def raw(fake: FakeOpenRouter, path: str, **body: Any) -> Any:
    """Return the JSON body, or the list of JSON events, that a POST gets."""
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{fake.base_url}/{path}", data, headers)  # noqa: S310
    with urllib.request.urlopen(request) as response:  # noqa: S310
        text = response.read().decode()
    if not body.get("stream"):
        return json.loads(text)
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        RICH,
        Answer(n=3, finish_reason="length"),
        Answer(cost=None, upstream=None),
        Answer(omit_usage=True),
        Answer(choice_error={"code": 502, "message": "broke off"}),
    ],
    ids=["plain", "rich", "choices", "nulls", "no usage", "choice error"],
)
def test_chat_body_is_a_chat_result(fake: FakeOpenRouter, answer: Answer) -> None:
    """Every kind of chat body parses as a ChatResult with its own usage."""
    fake.script(answer)
    result = components.ChatResult.model_validate(raw(fake, "chat/completions", model="a/model", messages=MESSAGES))
    assert (result.usage is None) == answer.omit_usage
    assert all(choice.finish_reason == answer.reason for choice in result.choices)


def test_sdk_reads_the_chat_body(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK sees the content, tool calls and money that were scripted."""
    fake.script(RICH)
    result = client.chat.send(model="a/model", messages=MESSAGES)
    message = result.choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["look_up", "add"]
    assert message.reasoning == "Let me think."
    assert result.usage.is_byok is True
    assert result.usage.cost_details.upstream_inference_cost == float(fake.byok_usd)


@pytest.mark.parametrize("answer", [Answer(), RICH, Answer(n=2), Answer(usage_choices=False)])
def test_chat_stream_is_made_of_chat_chunks(fake: FakeOpenRouter, answer: Answer) -> None:
    """Every event of a chat stream parses as a ChatStreamChunk, and only the last has the usage."""
    fake.script(answer)
    events = raw(fake, "chat/completions", model="a/model", messages=MESSAGES, stream=True)
    chunks = [components.ChatStreamChunk.model_validate(event) for event in events]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_sdk_reads_the_error_chunk(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK sees the error of a stream that breaks off, on its last chunk."""
    fake.script(errors.midstream(code=502))
    with client.chat.send(model="a/model", messages=MESSAGES, stream=True) as stream:
        *_, last = list(stream)
    assert (last.error.code, last.choices[0].finish_reason) == (502, "error")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(), "completed"),
        (RICH, "completed"),
        (Answer(finish_reason="length"), "incomplete"),
        (errors.midstream(), "failed"),
    ],
)
def test_responses_body_is_a_result(fake: FakeOpenRouter, answer: Answer, status: str) -> None:
    """Every kind of Responses body parses as an OpenResponsesResult with the status it should have."""
    fake.script(answer)
    result = components.OpenResponsesResult.model_validate(raw(fake, "responses", model="a/model", input="hi"))
    assert result.status == status
    assert not any(type(item).__name__.startswith("Unknown") for item in result.output)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        RICH,
        Answer(finish_reason="length"),
        errors.midstream(),
        Answer(midstream_error={"code": "server_error", "message": "oh"}, responses_error="error"),
    ],
)
def test_responses_stream_is_made_of_known_events(fake: FakeOpenRouter, answer: Answer) -> None:
    """Every event of a Responses stream parses as an event that the official SDK knows, numbered from 0."""
    fake.script(answer)
    events = raw(fake, "responses", model="a/model", input="hi", stream=True)
    envelope = components.ResponsesStreamingResponse
    parsed = [envelope.model_validate({"data": event}).data for event in events]
    assert not [event.type for event in parsed if type(event).__name__.startswith("Unknown")]
    assert [event.sequence_number for event in parsed] == list(range(len(parsed)))


def test_sdk_reads_embeddings(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK sees one vector for each input, and the cost."""
    result = client.embeddings.generate(model="a/model", input=["one", "two"])
    assert [item.index for item in result.data] == [0, 1]
    assert result.usage.cost == float(fake.charged_usd) > 0


def test_embeddings_body_is_a_result(fake: FakeOpenRouter) -> None:
    """The embeddings body has an id of its own kind and parses whole."""
    body = raw(fake, "embeddings", model="a/model", input="one")
    assert operations.CreateEmbeddingsResponseBody.model_validate(body).id.startswith("gen-emb-")


def test_sdk_reads_rerank(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK sees each document ranked, and the cost."""
    result = client.rerank.rerank(model="a/model", query="q", documents=["one", "two"])
    assert [item.document.text for item in result.results] == ["one", "two"]
    assert result.usage.cost == float(fake.charged_usd) > 0
    assert result.id.startswith("gen-rerank-")


def test_transcription_body_is_a_result(fake: FakeOpenRouter) -> None:
    """The transcription body parses as an STTResponse with a cost and no is_byok."""
    body = raw(fake, "audio/transcriptions", model="a/model", input_audio={"data": "", "format": "wav"})
    result = components.STTResponse.model_validate(body)
    assert result.usage.cost == float(fake.charged_usd)
    assert "is_byok" not in body["usage"]


def test_image_body_is_a_result(fake: FakeOpenRouter) -> None:
    """The image body parses as an ImageGenerationResponse."""
    body = raw(fake, "images", model="a/model", prompt="a cat")
    assert components.ImageGenerationResponse.model_validate(body).usage.cost == float(fake.charged_usd)


@pytest.mark.parametrize("answer", [Answer(), RICH], ids=["plain", "byok"])
def test_sdk_reads_the_generation(fake: FakeOpenRouter, client: OpenRouter, answer: Answer) -> None:
    """The official SDK sees in GET /generation the tokens and money that the body reported."""
    fake.script(answer)
    result = client.chat.send(model="a/model", messages=MESSAGES)
    data = client.generations.get_generation(id=result.id).data
    assert (data.total_cost, data.is_byok) == (result.usage.cost, result.usage.is_byok)
    assert data.native_tokens_prompt == result.usage.prompt_tokens
    assert data.native_tokens_completion == result.usage.completion_tokens
    assert data.upstream_inference_cost == float(fake.byok_usd)
    assert data.cancelled is False


def test_sdk_reads_the_key(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK sees in GET /key what was charged and what is left of the limit."""
    fake.key_limit_usd, fake.now = 2.5, lambda: 1_795_694_400.0  # the month may end meanwhile
    fake.script(Answer(cost=0.5, byok=True, upstream=1.25))
    client.chat.send(model="a/model", messages=MESSAGES)
    data = client.api_keys.get_current_key_metadata().data
    assert (data.usage, data.byok_usage, data.limit, data.limit_remaining) == (0.5, 1.25, 2.5, 2.0)


def test_sdk_reads_the_credits(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """GET /credits is refused to an inference key and answered to a management key."""
    with pytest.raises(OpenRouterError, match="Only management keys") as caught:
        client.credits.get_credits()
    assert caught.value.status_code == 403
    fake.management_key = True
    assert client.credits.get_credits().data.total_credits == 100


def test_models_body_is_a_list(fake: FakeOpenRouter) -> None:
    """GET /models lists the priced models with exact prices, and parses as the official list."""
    with urllib.request.urlopen(f"{fake.base_url}/models") as response:  # noqa: S310
        listed = components.ModelsListResponse.model_validate(json.load(response))
    assert [(model.id, model.pricing.prompt) for model in listed.data] == [("a/model", "0.0000015")]


def test_sdk_reads_an_error(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK maps a scripted error to its own exception and reads its metadata."""
    fake.script(errors.insufficient_credits())
    with pytest.raises(OpenRouterError, match="Insufficient credits") as caught:
        client.chat.send(model="a/model", messages=MESSAGES)
    assert type(caught.value).__name__ == "PaymentRequiredResponseError"
    assert json.loads(caught.value.body)["error"]["metadata"]["limit_source"] == "openrouter_credits"


QUESTIONS = {
    "kind": {"type": "choice", "instructions": "Which?", "criteria": {"spam": None, "ham": None}},
    "good": {"type": "score", "instructions": "How good?", "criteria": ["bad", "fine"]},
    "safe": {"type": "noul", "instructions": "Safe?", "criteria": {"true": "yes", "false": "no"}},
    "where": {"type": "box", "instructions": "Where?"},
}


def test_sdk_reads_decisions(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The official SDK sees one answer of the right kind for each question, and the cost, on both of its paths."""
    asked: Any = {"model": "a/model", "questions": QUESTIONS, "state": "Buy now!"}
    root = fake.base_url.removesuffix("/api/v1")
    told = [client.system_one.create(**asked), client.alpha.decisions.create(**asked, server_url=root)]
    assert [{name: answer.type for name, answer in one.answers.items()} for one in told] == [
        {"kind": "choice", "good": "score", "safe": "noul", "where": "box"}
    ] * 2
    assert sum(Decimal(str(one.usage.cost)) for one in told) == fake.charged_usd > 0
    assert told[0].id.startswith("gen-dec-")


@pytest.mark.parametrize("answer", [Answer(), RICH], ids=["plain", "rich"])
def test_message_body_is_a_message(fake: FakeOpenRouter, answer: Answer) -> None:
    """The Anthropic-shaped body parses as the message that the official SDK knows from batches, in known blocks."""
    fake.script(answer)
    body = components.BodyMessage.model_validate(raw(fake, "messages", model="a/model", messages=MESSAGES))
    assert not [block for block in body.content if type(block).__name__.startswith("Unknown")]
    assert body.usage.cache_read_input_tokens == answer.cached_tokens
