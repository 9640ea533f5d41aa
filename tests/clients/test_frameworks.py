"""Frameworks that sit on the SDK: the same result with and without us, and one record for each model call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

# The frameworks leave it to the garbage collector to close their clients, and warn of their own deprecations.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODEL = "openai/gpt-5-mini"
JSON_ANSWER = Answer(content='{"name": "Titan", "diameter_km": 5149}', cost="0.0003")
TOOL_ANSWER = Answer(tool_calls=[("Moon", {"name": "Titan", "diameter_km": 5149})], cost="0.0003")
SCHEMA = {
    "title": "Moon",
    "description": "A moon",
    "type": "object",
    "properties": {"name": {"type": "string"}, "diameter_km": {"type": "integer"}},
    "required": ["name", "diameter_km"],
}


def _langchain(fake: FakeOpenRouter) -> Any:
    langchain_openai = pytest.importorskip("langchain_openai")
    return langchain_openai.ChatOpenAI(model=MODEL, base_url=fake.base_url, api_key="sk-or-test", max_retries=0)


def _langchain_invoke(fake: FakeOpenRouter) -> str:
    return str(_langchain(fake).invoke("Name a moon.").content)


def _langchain_stream(fake: FakeOpenRouter) -> str:
    return "".join(str(chunk.content) for chunk in _langchain(fake).stream("Name a moon."))


def _langchain_structured(fake: FakeOpenRouter) -> Any:
    fake.script(JSON_ANSWER)
    return _langchain(fake).with_structured_output(SCHEMA, method="json_schema").invoke("A moon?")


def _langchain_tool(fake: FakeOpenRouter) -> Any:
    fake.script(TOOL_ANSWER)
    return _langchain(fake).with_structured_output(SCHEMA, method="function_calling").invoke("A moon?")


def _instructor(fake: FakeOpenRouter) -> Any:
    instructor = pytest.importorskip("instructor")
    pydantic = pytest.importorskip("pydantic")
    openai = pytest.importorskip("openai")

    Moon = pydantic.create_model("Moon", name=(str, ...), diameter_km=(int, ...))  # noqa: N806 - a class
    fake.script(TOOL_ANSWER)
    client = instructor.from_openai(openai.OpenAI(base_url=fake.base_url, api_key="sk-or-test"))
    moon = client.chat.completions.create(
        model=MODEL, response_model=Moon, messages=[{"role": "user", "content": "A moon?"}]
    )
    return moon.model_dump()


def _llama_index(fake: FakeOpenRouter) -> str:
    llms = pytest.importorskip("llama_index.llms.openai")
    llm = llms.OpenAI(model="gpt-4o-mini", api_base=fake.base_url, api_key="sk-or-test", max_retries=0)
    return str(llm.complete("Name a moon."))


@pytest.mark.parametrize(
    "work",
    [_langchain_invoke, _langchain_stream, _langchain_structured, _langchain_tool, _instructor, _llama_index],
    ids=lambda work: work.__name__.strip("_"),
)
def test_a_framework_gives_the_same_result_and_one_record(
    fake: FakeOpenRouter, instrumented: Callable[..., Any], work: Callable[[FakeOpenRouter], Any]
) -> None:
    """A framework's result does not depend on us, and each model call is recorded once with its cost."""
    without = work(fake)
    charged = fake.charged_usd
    telemetry = instrumented()

    assert work(fake) == without
    assert len(telemetry.calls) == len(telemetry.spans()) == len(fake.requests) // 2
    assert telemetry.total("gen_ai.usage.cost") == float(fake.charged_usd - charged)


async def _alangchain(fake: FakeOpenRouter) -> str:
    return str((await _langchain(fake).ainvoke("Name a moon.")).content)


async def _alangchain_stream(fake: FakeOpenRouter) -> str:
    return "".join([str(chunk.content) async for chunk in _langchain(fake).astream("Name a moon.")])


async def _pydantic_ai(fake: FakeOpenRouter) -> str:
    return str((await _pydantic_agent(fake).run("Name a moon.")).output)


async def _pydantic_ai_stream(fake: FakeOpenRouter) -> str:
    async with _pydantic_agent(fake).run_stream("Name a moon.") as result:
        return str(await result.get_output())


def _pydantic_agent(fake: FakeOpenRouter) -> Any:
    pydantic_ai = pytest.importorskip("pydantic_ai")
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    provider = providers.OpenAIProvider(base_url=fake.base_url, api_key="sk-or-test")
    return pydantic_ai.Agent(models.OpenAIChatModel(MODEL, provider=provider))


async def _openai_agents(fake: FakeOpenRouter) -> str:
    return str((await _run_agent(fake, "OpenAIChatCompletionsModel")).final_output)


async def _openai_agents_responses(fake: FakeOpenRouter) -> str:
    return str((await _run_agent(fake, "OpenAIResponsesModel")).final_output)


async def _run_agent(fake: FakeOpenRouter, kind: str) -> Any:
    agents = pytest.importorskip("agents")
    openai = pytest.importorskip("openai")
    agents.set_tracing_disabled(disabled=True)
    async with openai.AsyncOpenAI(base_url=fake.base_url, api_key="sk-or-test") as client:
        model = getattr(agents, kind)(model=MODEL, openai_client=client)
        return await agents.Runner.run(agents.Agent(name="astronomer", model=model), "Name a moon.")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "work",
    [
        _alangchain,
        _alangchain_stream,
        _pydantic_ai,
        _pydantic_ai_stream,
        _openai_agents,
        _openai_agents_responses,
    ],
    ids=lambda work: work.__name__.strip("_"),
)
async def test_an_async_framework_gives_the_same_result_and_one_record(
    fake: FakeOpenRouter, instrumented: Callable[..., Any], work: Callable[[FakeOpenRouter], Any]
) -> None:
    """An async framework's result does not depend on us, and each model call is recorded once with its cost."""
    without = await work(fake)
    charged = fake.charged_usd
    telemetry = instrumented()

    assert await work(fake) == without
    or_instrument.flush()
    assert len(telemetry.calls) == len(telemetry.spans()) == len(fake.requests) // 2
    assert telemetry.total("gen_ai.usage.cost") == float(fake.charged_usd - charged)
