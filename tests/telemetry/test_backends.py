"""What each backend gets to read of a call, by the names that its own code reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import openai
import pytest
from opentelemetry.trace import use_span

import or_instrument
from or_instrument import Call, Reply, Request, Usage
from or_instrument._records import PENDING, Content
from or_instrument._telemetry.backends import BACKENDS, NO_SPEND, together
from or_instrument.testing import Answer, FakeOpenRouter

REQUEST: Final = Request("chat", "openrouter", "a/model", "openrouter.ai", 443)
BYOK: Final = Usage(100, 20, cost=0.05, is_byok=True, upstream_cost=0.95, upstream_input_cost=0.6)
ASK: Any = {
    "model": "a/model",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}],
}


def call(usage: Usage | None = BYOK, **fields: Any) -> Call:
    """Return a finished call."""
    return Call(1, REQUEST, Reply(provider="Azure", usage=usage), "complete", 1_700_000_000_250_000_000, 2.0)._replace(
        **fields
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlflow", {"mlflow.llm.cost": '{"input_cost":0.6,"total_cost":1.0}'}),
        ("phoenix", {"metadata": '{"cost_usd":1.0,"is_byok":true,"served_by":"Azure"}'}),
        ("signoz", {"signoz.gen_ai.usage.tokens.cost": 1.0, "_signoz.gen_ai.total_cost": 1.0}),
        ("langwatch", {"langwatch.span.cost": 1.0}),
        ("posthog", {"$ai_total_cost_usd": 1.0}),
        ("openlit", {"gen_ai.usage.total_tokens": 120}),
        ("langfuse", {"langfuse.observation.completion_start_time": "2023-11-14T22:13:20.750000+00:00"}),
    ],
)
def test_a_backend_gets_its_own_names(name: str, expected: dict[str, object]) -> None:
    """With the spend, which for a BYOK call is OpenRouter's charge and the provider's bill."""
    assert BACKENDS[name].of_call(call(time_to_first_chunk_s=0.5)) == expected
    assert together([name]).of_call(call(time_to_first_chunk_s=0.5)) == expected


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("usage", [None, Usage(input_tokens=3), Usage(cost=0.1, is_byok=True)], ids=repr)
def test_a_cost_that_is_not_known_is_told_to_nobody(name: str, usage: Usage | None) -> None:
    """Neither as 0 nor as null, for which MLflow refuses the batch."""
    told = BACKENDS[name].of_call(call(usage, missing="no_cost"))
    assert not any("cost" in f"{attribute}{value}" for attribute, value in told.items())


def test_a_cost_of_0_is_told() -> None:
    """A free call is not one of unknown cost."""
    told = together(list(BACKENDS)).of_call(call(Usage(cost=0.0)))
    assert json.loads(str(told["mlflow.llm.cost"])) == {"total_cost": 0.0}
    assert told["$ai_total_cost_usd"] == told["langwatch.span.cost"] == 0.0


def test_langfuse_prices_a_call_once_that_is_looked_up() -> None:
    """The pending call is no generation, what the look-up found is; an ordinary call says nothing, Langfuse sees it."""
    kind = "langfuse.observation.type"
    langfuse = BACKENDS["langfuse"]
    assert langfuse.of_call(call(None, missing=PENDING)) == {kind: "span"}
    assert langfuse.of_call(call(recovers=1)) == {kind: "generation"}
    assert langfuse.of_call(call()) == {}


def test_a_name_that_must_hold_something_else_is_known_as_such() -> None:
    """An alias of the spend under that name would be a number of USD."""
    assert (NO_SPEND["mlflow.llm.cost"], NO_SPEND["gen_ai.usage.total_tokens"]) == ("mlflow", "openlit")
    assert NO_SPEND.keys().isdisjoint(name for told in ("posthog", "signoz") for name in BACKENDS[told].numbers)


def test_several_backends_get_all_their_names() -> None:
    """`backend="mlflow,signoz"` writes the rows of both."""
    told = together(["mlflow", "signoz"]).of_call(call())
    assert told == BACKENDS["mlflow"].of_call(call()) | BACKENDS["signoz"].of_call(call())


def test_what_is_shown_of_messages_is_their_text() -> None:
    """Phoenix's list shows the last question and the answers; a tool call without text is shown as JSON."""
    text = {"type": "text", "content": "A moon?"}
    tool = {"type": "tool_call", "name": "look_up"}
    asked = ({"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}, {"role": "user", "parts": [text]})
    content = Content(asked, ({"role": "assistant", "parts": [tool]},))
    assert BACKENDS["phoenix"].of_content(content) == {
        "input.value": "A moon?",
        "input.mime_type": "text/plain",
        "output.value": '[{"type":"tool_call","name":"look_up"}]',
        "output.mime_type": "application/json",
    }
    assert BACKENDS["phoenix"].of_content(Content()) == {}


def test_the_option_writes_them_on_the_span(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Beside all that the span has anyway; without the option there is none of them."""
    fake.script(Answer(cost=0.123456), Answer())
    telemetry = instrumented(backend="mlflow,phoenix")
    client.chat.completions.create(**ASK)
    told = telemetry.span()
    assert json.loads(told["mlflow.llm.cost"])["total_cost"] == told["openrouter.usage.spend"] == 0.123456
    assert json.loads(told["metadata"])["cost_usd"] == 0.123456
    assert "input.value" not in told

    or_instrument.uninstrument()
    plain = instrumented()
    client.chat.completions.create(**ASK)
    assert not {"mlflow.llm.cost", "metadata"} & plain.span().keys()


@pytest.mark.parametrize(
    ("content", "is_there"), [("SPAN_ONLY", True), ("SPAN_AND_EVENT", True), ("EVENT_ONLY", False)]
)
def test_content_is_on_the_span_where_it_was_asked_for(
    content: str, is_there: bool, instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """A backend gets no prompt that the content option does not put on spans."""
    fake.script(Answer(content="Titan."))
    telemetry = instrumented(backend="phoenix", content=content)
    client.chat.completions.create(**ASK)
    shown = {key: value for key, value in telemetry.span().items() if key in ("input.value", "output.value")}
    assert shown == ({"input.value": "?", "output.value": "Titan."} if is_there else {})


def test_what_somebody_else_wrote_for_a_backend_stays(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """On a span of others their keys stay as they are, and only those that are not there are added."""
    fake.script(Answer(content="Titan.", cost=0.25))
    telemetry = instrumented(backend="phoenix,langwatch", spans="enrich", content="SPAN_ONLY")
    attributes = {"gen_ai.operation.name": "chat", "metadata": "theirs", "input.value": "theirs"}
    theirs = telemetry.tracer_provider.get_tracer("somebody").start_span("theirs", attributes=attributes)
    with use_span(theirs, end_on_exit=True):
        client.chat.completions.create(**ASK)
    told = telemetry.span()
    assert (told["metadata"], told["input.value"], told["output.value"]) == ("theirs", "theirs", "Titan.")
    assert told["langwatch.span.cost"] == told["openrouter.usage.spend"] == 0.25


def test_a_cost_that_was_looked_up_is_told_too(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """The span of the look-up is the generation that Langfuse prices, and has MLflow's cost."""
    telemetry = instrumented(backend="mlflow,langfuse", lookup="missing")
    stream = client.chat.completions.create(**ASK, stream=True)
    next(iter(stream))
    stream.close()
    telemetry.settle()
    pending, found = sorted(telemetry.spans(), key=lambda span: span.name)
    assert (pending.name, found.name) == ("chat a/model", "generation a/model")
    assert pending.attributes["langfuse.observation.type"] == "span"
    assert found.attributes["langfuse.observation.type"] == "generation"
    assert json.loads(found.attributes["mlflow.llm.cost"])["total_cost"] == float(fake.charged_usd)
