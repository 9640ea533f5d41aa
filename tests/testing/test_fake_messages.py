"""The fake's Anthropic-shaped endpoint through the real `anthropic` SDK, whose own models read what it sends."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from or_instrument.testing import Answer, FakeOpenRouter, errors

anthropic = pytest.importorskip("anthropic")

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED: Any = {"model": "a/model", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
RICH = Answer(
    reasoning="Let me think.",
    content="Looking.",
    tool_calls=[("look_up", {"word": "cost"})],
    prompt_tokens=20,
    cached_tokens=3,
    cache_write_tokens=2,
    reasoning_tokens=5,
    byok=True,
)


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a served fake."""
    with FakeOpenRouter() as served:
        yield served


@pytest.fixture
def client(fake: FakeOpenRouter) -> Iterator[Any]:
    """Return the anthropic SDK, pointed at the fake as one points it at OpenRouter."""
    base_url = fake.base_url.removesuffix("/v1")
    with anthropic.Anthropic(api_key="sk-or-test", base_url=base_url, max_retries=0) as made:
        yield made


def test_message_has_the_scripted_blocks(fake: FakeOpenRouter, client: Any) -> None:
    """The anthropic SDK sees thinking, text and tool use as blocks, and a stop reason in its own words."""
    fake.script(RICH)
    message = client.messages.create(**ASKED)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert (message.content[2].name, message.content[2].input) == ("look_up", {"word": "cost"})
    assert message.stop_reason == "tool_use"


def test_input_leaves_the_cache_out(fake: FakeOpenRouter, client: Any) -> None:
    """Input tokens leave out both cache counters, which stand beside them; the cost is what is charged."""
    fake.script(RICH)
    usage = client.messages.create(**ASKED).usage
    counted = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    assert counted == (15, 3, 2)
    assert Decimal(str(usage.cost)) == fake.charged_usd > 0
    assert usage.is_byok is True


@pytest.mark.parametrize("answer", [Answer(), RICH], ids=["plain", "rich"])
def test_stream_adds_up_to_the_message(fake: FakeOpenRouter, client: Any, answer: Answer) -> None:
    """A stream's events add up, in the anthropic SDK's own hands, to the message that is answered unstreamed."""
    fake.script(answer, answer)
    whole = client.messages.create(**ASKED)
    with client.messages.stream(**ASKED) as stream:
        added = stream.get_final_message()
    own = {"id", "parsed_output"}
    told = [[block.model_dump(exclude=own) for block in message.content] for message in (added, whole)]
    assert told[0] == told[1]
    assert (added.stop_reason, added.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


def test_bill_is_in_message_delta(fake: FakeOpenRouter, client: Any) -> None:
    """The first event knows the input only; the whole bill comes with `message_delta`."""
    events = list(client.messages.create(**ASKED, stream=True))
    assert [event.type for event in events if event.type.startswith("message_")] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert not hasattr(events[0].message.usage, "cost")
    billed = next(event.usage for event in events if event.type == "message_delta")
    assert Decimal(str(billed.cost)) == fake.charged_usd


def test_error_has_both_types(fake: FakeOpenRouter, client: Any) -> None:
    """A refusal is the anthropic SDK's own exception, and tells OpenRouter's type beside Anthropic's."""
    fake.script(errors.rate_limit(2))
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**ASKED)
    inner = caught.value.body["error"]
    assert (inner["type"], inner["error_type"]) == ("rate_limit_error", "rate_limit_exceeded")


def test_error_event_ends_a_stream(fake: FakeOpenRouter, client: Any) -> None:
    """An error inside a stream raises in the anthropic SDK, after the chunks before it."""
    fake.script(errors.midstream(chunks=2))
    said = []
    with pytest.raises(anthropic.APIStatusError, match="Provider disconnected"):
        said.extend(client.messages.create(**ASKED, stream=True))
    assert [event.type for event in said].count("content_block_delta") == 2
