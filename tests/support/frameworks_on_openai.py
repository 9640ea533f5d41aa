"""Frameworks that call through the OpenAI SDK, each driven as its own documentation has it."""

# ruff: noqa: D103 - their names say what they do
# ruff: noqa: PLC0415 - whatever is not installed is not imported
from __future__ import annotations

from typing import Any, Final

from framework import ASKED, KEY, MESSAGES, MODEL, MOON, TOOL_ANSWER, Drives

from or_instrument.testing import Answer, FakeOpenRouter

DRIVES: Final = Drives()
_SCHEMA: Final = {
    "title": "Moon",
    "description": "A moon",
    "type": "object",
    "properties": {"name": {"type": "string"}, "diameter_km": {"type": "integer"}},
    "required": ["name", "diameter_km"],
}


def _langchain(fake: FakeOpenRouter) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=MODEL, base_url=fake.base_url, api_key=KEY, max_retries=0)


@DRIVES.of("langchain_openai")
def langchain_openai(fake: FakeOpenRouter) -> Any:
    return _langchain(fake).invoke(ASKED).content


@DRIVES.of("langchain_openai")
def langchain_openai_streamed(fake: FakeOpenRouter) -> Any:
    return "".join(chunk.content for chunk in _langchain(fake).stream(ASKED))


@DRIVES.of("langchain_openai")
def langchain_openai_structured(fake: FakeOpenRouter) -> Any:
    fake.script(Answer(content='{"name": "Titan", "diameter_km": 5149}', cost="0.0003"))
    return _langchain(fake).with_structured_output(_SCHEMA, method="json_schema").invoke(ASKED)


@DRIVES.of("langchain_openai")
def langchain_openai_tool(fake: FakeOpenRouter) -> Any:
    fake.script(TOOL_ANSWER)
    return _langchain(fake).with_structured_output(_SCHEMA, method="function_calling").invoke(ASKED)


@DRIVES.of("langchain_openai")
async def langchain_openai_async(fake: FakeOpenRouter) -> Any:
    return (await _langchain(fake).ainvoke(ASKED)).content


@DRIVES.of("langchain_openai")
async def langchain_openai_async_streamed(fake: FakeOpenRouter) -> Any:
    return "".join([chunk.content async for chunk in _langchain(fake).astream(ASKED)])


def _pydantic_agent(fake: FakeOpenRouter) -> Any:
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.models.openrouter import OpenRouterModel
    from pydantic_ai.providers.openrouter import OpenRouterProvider

    provider = OpenRouterProvider(openai_client=AsyncOpenAI(base_url=fake.base_url, api_key=KEY))
    return Agent(OpenRouterModel(MODEL, provider=provider))


@DRIVES.of("pydantic_ai")
def pydantic_ai(fake: FakeOpenRouter) -> Any:
    return _pydantic_agent(fake).run_sync(ASKED).output


@DRIVES.of("pydantic_ai")
async def pydantic_ai_async(fake: FakeOpenRouter) -> Any:
    return (await _pydantic_agent(fake).run(ASKED)).output


@DRIVES.of("pydantic_ai")
async def pydantic_ai_async_streamed(fake: FakeOpenRouter) -> Any:
    async with _pydantic_agent(fake).run_stream(ASKED) as result:
        return await result.get_output()


async def _run_agent(fake: FakeOpenRouter, kind: str, *, stream: bool = False) -> Any:
    import agents
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(disabled=True)
    async with AsyncOpenAI(base_url=fake.base_url, api_key=KEY) as client:
        agent = agents.Agent(name="astronomer", model=getattr(agents, kind)(model=MODEL, openai_client=client))
        if not stream:
            return (await agents.Runner.run(agent, ASKED)).final_output
        streamed = agents.Runner.run_streamed(agent, ASKED)
        async for _ in streamed.stream_events():
            pass
        return streamed.final_output


@DRIVES.of("agents")
async def openai_agents(fake: FakeOpenRouter) -> Any:
    return await _run_agent(fake, "OpenAIChatCompletionsModel")


@DRIVES.of("agents")
async def openai_agents_streamed(fake: FakeOpenRouter) -> Any:
    return await _run_agent(fake, "OpenAIChatCompletionsModel", stream=True)


@DRIVES.of("agents")
async def openai_agents_responses(fake: FakeOpenRouter) -> Any:
    return await _run_agent(fake, "OpenAIResponsesModel")


@DRIVES.of("agents")
async def openai_agents_responses_streamed(fake: FakeOpenRouter) -> Any:
    return await _run_agent(fake, "OpenAIResponsesModel", stream=True)


def _smolagents(fake: FakeOpenRouter) -> Any:
    from smolagents import OpenAIModel

    return OpenAIModel(MODEL, api_base=fake.base_url, api_key=KEY)


@DRIVES.of("smolagents")
def smolagents(fake: FakeOpenRouter) -> Any:
    from smolagents import ToolCallingAgent

    fake.script(Answer(tool_calls=[("final_answer", {"answer": "Titan"})]))
    return ToolCallingAgent(tools=[], model=_smolagents(fake), verbosity_level=0).run(ASKED)


@DRIVES.of("smolagents")
def smolagents_streamed(fake: FakeOpenRouter) -> Any:
    return "".join(delta.content or "" for delta in _smolagents(fake).generate_stream(MESSAGES))


def _agno(fake: FakeOpenRouter) -> Any:
    from agno.agent import Agent
    from agno.models.openrouter import OpenRouter

    return Agent(model=OpenRouter(id=MODEL, api_key=KEY, base_url=fake.base_url), telemetry=False)


@DRIVES.of("agno")
def agno(fake: FakeOpenRouter) -> Any:
    return _agno(fake).run(ASKED).content


@DRIVES.of("agno")
def agno_streamed(fake: FakeOpenRouter) -> Any:
    return "".join(event.content for event in _agno(fake).run(ASKED, stream=True) if event.event == "RunContent")


@DRIVES.of("agno")
async def agno_async(fake: FakeOpenRouter) -> Any:
    return (await _agno(fake).arun(ASKED)).content


@DRIVES.of("agno")
async def agno_async_streamed(fake: FakeOpenRouter) -> Any:
    events = _agno(fake).arun(ASKED, stream=True)
    return "".join([event.content async for event in events if event.event == "RunContent"])


def _llama_index(fake: FakeOpenRouter) -> Any:
    from llama_index.llms.openrouter import OpenRouter

    return OpenRouter(model=MODEL, api_base=fake.base_url, api_key=KEY, max_retries=0)


@DRIVES.of("llama_index.llms.openrouter")
def llama_index(fake: FakeOpenRouter) -> Any:
    return str(_llama_index(fake).complete(ASKED))


@DRIVES.of("llama_index.llms.openrouter")
def llama_index_streamed(fake: FakeOpenRouter) -> Any:
    return "".join(chunk.delta or "" for chunk in _llama_index(fake).stream_complete(ASKED))


@DRIVES.of("llama_index.llms.openrouter")
async def llama_index_async(fake: FakeOpenRouter) -> Any:
    return str(await _llama_index(fake).acomplete(ASKED))


@DRIVES.of("llama_index.llms.openrouter")
async def llama_index_async_streamed(fake: FakeOpenRouter) -> Any:
    return "".join([chunk.delta or "" async for chunk in await _llama_index(fake).astream_complete(ASKED)])


def _haystack(fake: FakeOpenRouter, **options: Any) -> Any:
    from haystack.utils import Secret
    from haystack_integrations.components.generators.openrouter import OpenRouterChatGenerator

    key = Secret.from_token(KEY)
    return OpenRouterChatGenerator(api_key=key, model=MODEL, api_base_url=fake.base_url, **options)


def _haystack_asked() -> Any:
    from haystack.dataclasses import ChatMessage

    return [ChatMessage.from_user(ASKED)]


@DRIVES.of("haystack_integrations.components.generators.openrouter")
def haystack(fake: FakeOpenRouter) -> Any:
    return _haystack(fake).run(_haystack_asked())["replies"][0].text


@DRIVES.of("haystack_integrations.components.generators.openrouter")
def haystack_streamed(fake: FakeOpenRouter) -> Any:
    said: list[str] = []
    _haystack(fake, streaming_callback=lambda chunk: said.append(chunk.content)).run(_haystack_asked())
    return "".join(said)


@DRIVES.of("haystack_integrations.components.generators.openrouter")
async def haystack_async(fake: FakeOpenRouter) -> Any:
    return (await _haystack(fake).run_async(_haystack_asked()))["replies"][0].text


def _autogen(fake: FakeOpenRouter, **options: Any) -> Any:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    able = dict.fromkeys(("vision", "function_calling", "json_output", "structured_output"), False)
    model = OpenAIChatCompletionClient(
        model=MODEL, base_url=fake.base_url, api_key=KEY, model_info={**able, "family": "unknown"}
    )
    return AssistantAgent("astronomer", model, **options)


@DRIVES.of("autogen_agentchat")
async def autogen(fake: FakeOpenRouter) -> Any:
    return (await _autogen(fake).run(task=ASKED)).messages[-1].content


@DRIVES.of("autogen_agentchat")
async def autogen_streamed(fake: FakeOpenRouter) -> Any:
    said = [message async for message in _autogen(fake, model_client_stream=True).run_stream(task=ASKED)]
    return said[-1].messages[-1].content


def _crewai(fake: FakeOpenRouter, **options: Any) -> Any:
    from crewai import LLM

    return LLM(model=f"openrouter/{MODEL}", base_url=fake.base_url, api_key=KEY, **options)


@DRIVES.of("crewai")
def crewai(fake: FakeOpenRouter) -> Any:
    from crewai import Agent

    agent = Agent(role="astronomer", goal="to name moons", backstory="none", llm=_crewai(fake))
    return agent.kickoff(ASKED).raw


@DRIVES.of("crewai")
def crewai_streamed(fake: FakeOpenRouter) -> Any:
    return _crewai(fake, stream=True).call(ASKED)


def _instructor(fake: FakeOpenRouter) -> tuple[Any, Any]:
    import instructor
    from openai import OpenAI
    from pydantic import create_model

    fake.script(TOOL_ANSWER)
    client = instructor.from_openai(OpenAI(base_url=fake.base_url, api_key=KEY))
    return client, create_model("Moon", **{name: (type(value), ...) for name, value in MOON.items()})


@DRIVES.of("instructor")
def instructor(fake: FakeOpenRouter) -> Any:
    client, moon = _instructor(fake)
    return client.create(model=MODEL, response_model=moon, messages=MESSAGES).model_dump()


@DRIVES.of("instructor")
def instructor_streamed(fake: FakeOpenRouter) -> Any:
    client, moon = _instructor(fake)
    return [*client.create_partial(model=MODEL, response_model=moon, messages=MESSAGES)][-1].model_dump()


def _strands(fake: FakeOpenRouter) -> Any:
    from strands import Agent
    from strands.models.openai import OpenAIModel

    model = OpenAIModel(client_args={"api_key": KEY, "base_url": fake.base_url}, model_id=MODEL)
    return Agent(model=model, callback_handler=None)


@DRIVES.of("strands")
def strands(fake: FakeOpenRouter) -> Any:
    return str(_strands(fake)(ASKED))


@DRIVES.of("strands")
async def strands_async_streamed(fake: FakeOpenRouter) -> Any:
    return "".join([event["data"] async for event in _strands(fake).stream_async(ASKED) if "data" in event])


@DRIVES.of("browser_use")
async def browser_use(fake: FakeOpenRouter) -> Any:
    from browser_use.llm import ChatOpenRouter
    from browser_use.llm.messages import UserMessage

    model = ChatOpenRouter(model=MODEL, base_url=fake.base_url, api_key=KEY)
    return (await model.ainvoke([UserMessage(content=ASKED)])).completion


@DRIVES.of("aisuite")
def aisuite(fake: FakeOpenRouter) -> Any:
    from aisuite import Client

    client = Client({"openai": {"api_key": KEY, "base_url": fake.base_url}})
    completion: Any = client.chat.completions.create(model=f"openai:{MODEL}", messages=MESSAGES)
    return completion.choices[0].message.content


@DRIVES.of("litellm")
def litellm_openai(fake: FakeOpenRouter) -> Any:
    from litellm import completion

    told: Any = completion(f"openai/{MODEL}", MESSAGES, api_base=fake.base_url, api_key=KEY)
    return told.choices[0].message.content
