"""Other instrumentations: how each is switched on and off, and what it cannot give.

Their code runs in beside.py, whose names it may use.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Other(NamedTuple):
    """An instrumentation of the OpenAI SDK whose spans are OpenTelemetry's, made while the call runs."""

    module: str
    code: str
    scope: str
    off: str = ""
    has_metrics: bool = False
    ended_early: tuple[str, ...] = ()
    """Kinds of calls whose span has ended when their cost is known."""
    made_late: tuple[str, ...] = ()
    """Kinds of calls whose span is made when they are over, so that nobody else sees it."""
    asks_for_one_span: tuple[bool, ...] = ()
    """Whether it asks others to make none: when ours was switched on first, when it was not, or both."""
    takes_ours_along: bool = False
    """Whether its end takes off what was switched on after it too."""


class Apart(NamedTuple):
    """What leaves no span that anybody else could write on: one of its own kind, or one that is not the current one."""

    module: str
    code: str
    off: str = ""
    """Empty where it cannot be taken off."""
    takes_ours_along: bool = False


class Beneath(NamedTuple):
    """What sees calls of other clients than the OpenAI SDK, and the kinds of these."""

    module: str
    code: str
    kinds: tuple[str, ...]


INSTRUMENTOR: Final = "from {} import OpenAIInstrumentor; OpenAIInstrumentor().{}()"
LOGFIRE: Final = (
    "import logfire; logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[processor]); "
    "undo = logfire.instrument_openai({})"
)
LOGFIRE_OFF: Final = "with undo: pass"
STREAMS: Final = ("stream", "helper", "raw_stream", "astream", "responses_stream")
OTHERS: Final = {
    "genai": Other(
        "opentelemetry.instrumentation.genai.openai",
        INSTRUMENTOR.format("opentelemetry.instrumentation.genai.openai", "instrument"),
        "opentelemetry.instrumentation.genai.openai",
        INSTRUMENTOR.format("opentelemetry.instrumentation.genai.openai", "uninstrument"),
        has_metrics=True,
        ended_early=("responses_stream",),
        asks_for_one_span=(True, False),
    ),
    "openllmetry": Other(
        "opentelemetry.instrumentation.openai.v1",
        INSTRUMENTOR.format("opentelemetry.instrumentation.openai", "instrument"),
        "opentelemetry.instrumentation.openai.v1",
        INSTRUMENTOR.format("opentelemetry.instrumentation.openai", "uninstrument"),
        has_metrics=True,
        ended_early=("raw_stream",),
        made_late=("responses", "responses_stream"),
    ),
    "openinference": Other(
        "openinference.instrumentation.openai",
        INSTRUMENTOR.format("openinference.instrumentation.openai", "instrument"),
        "openinference.instrumentation.openai",
        INSTRUMENTOR.format("openinference.instrumentation.openai", "uninstrument"),
        takes_ours_along=True,
    ),
    "logfire": Other(
        "logfire",
        LOGFIRE.format("suppress_other_instrumentation=False"),
        "logfire.openai",
        LOGFIRE_OFF,
        ended_early=STREAMS,
        takes_ours_along=True,
    ),
    "logfire, suppressing": Other(
        "logfire",
        LOGFIRE.format(""),
        "logfire.openai",
        LOGFIRE_OFF,
        ended_early=STREAMS,
        asks_for_one_span=(True,),
        takes_ours_along=True,
    ),
}

LAMINAR: Final = """
import os
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"
from lmnr import Instruments, Laminar, get_laminar_tracer_provider
Laminar.initialize(
    project_api_key="any", base_url="http://127.0.0.1", http_port=port, force_http=True,
    set_global_tracer_provider=False, instruments={Instruments.OPENAI, Instruments.ANTHROPIC},
)
get_laminar_tracer_provider().add_span_processor(processor)
"""
APART: Final = {
    "langfuse": Apart(
        "langfuse",
        """
from langfuse import Langfuse
Langfuse(public_key="any", secret_key="any", tracer_provider=tracers, span_exporter=InMemorySpanExporter())
import langfuse.openai
""",
    ),
    "sentry": Apart(
        "sentry_sdk",
        """
import sentry_sdk
from sentry_sdk.integrations.openai import OpenAIIntegration
sentry_sdk.init(f"http://any@127.0.0.1:{port}/1", traces_sample_rate=1.0, integrations=[OpenAIIntegration()])
""",
    ),
    "ddtrace": Apart(
        "ddtrace",
        """
import os
os.environ.update(DD_TRACE_AGENT_URL=sink, DD_INSTRUMENTATION_TELEMETRY_ENABLED="false")
os.environ.update(DD_REMOTE_CONFIGURATION_ENABLED="false")
import ddtrace
ddtrace.patch(openai=True)
""",
        "from ddtrace.contrib.internal.openai.patch import unpatch; unpatch()",
    ),
    "mlflow": Apart(
        "mlflow",
        """
import mlflow
from mlflow.entities.trace_location import MlflowExperimentLocation
mlflow.set_tracking_uri(sink)
mlflow.tracing.set_destination(MlflowExperimentLocation("0"))
mlflow.openai.autolog()
""",
        "mlflow.openai.autolog(disable=True)",
    ),
    "langsmith": Apart(
        "langsmith",
        """
import os
os.environ.update(LANGSMITH_TRACING="true", LANGSMITH_ENDPOINT=sink, LANGSMITH_API_KEY="any")
from langsmith.wrappers import wrap_openai
wrap.append(wrap_openai)
""",
    ),
    "braintrust": Apart(
        "braintrust",
        """
from braintrust import logger
from braintrust.integrations.openai import OpenAIIntegration
from braintrust.test_helpers import init_test_logger
memory = logger._internal_with_memory_background_logger()
memory.__enter__()
init_test_logger("any")
OpenAIIntegration.setup()
""",
    ),
    "weave": Apart(
        "weave",
        """
import os
os.environ.update(WF_TRACE_SERVER_URL=sink, WANDB_BASE_URL=sink, WANDB_API_KEY="a" * 40)
from weave.trace import weave_client, weave_init
from weave.trace.context import weave_client_context
server = weave_init.init_weave_get_server()
made = weave_client.WeaveClient("any", "any", server, ensure_project_exists=False)
weave_client_context.set_weave_client_global(made)
weave_init.implicit_patch()
""",
        "from weave.integrations.openai.openai_sdk import get_openai_patcher; get_openai_patcher().undo_patch()",
    ),
    "laminar": Apart(
        "lmnr",
        LAMINAR,
        INSTRUMENTOR.format("lmnr.opentelemetry_lib.opentelemetry.instrumentation.openai", "uninstrument"),
    ),
}
"""Of Weave, which asks for an account, what its `init` does after it has logged in."""

CONTRIB: Final = "from opentelemetry.instrumentation.{0} import {1}; {1}().instrument()"
BENEATH: Final = {
    "httpx": Beneath(
        "opentelemetry.instrumentation.httpx",
        CONTRIB.format("httpx", "HTTPXClientInstrumentor"),
        ("httpx", "anthropic", "anthropic_stream"),
    ),
    "requests": Beneath(
        "opentelemetry.instrumentation.requests", CONTRIB.format("requests", "RequestsInstrumentor"), ("requests",)
    ),
    "aiohttp": Beneath(
        "opentelemetry.instrumentation.aiohttp_client",
        CONTRIB.format("aiohttp_client", "AioHttpClientInstrumentor"),
        ("aiohttp",),
    ),
    "openinference for anthropic": Beneath(
        "openinference.instrumentation.anthropic",
        "from openinference.instrumentation import anthropic; anthropic.AnthropicInstrumentor().instrument()",
        ("anthropic", "anthropic_stream"),
    ),
    "laminar": Beneath("lmnr", LAMINAR, ("anthropic", "anthropic_stream")),
    "litellm": Beneath(
        "litellm",
        """
import os
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="true", LITELLM_OTEL_INTEGRATION_ENABLE_METRICS="true")
import litellm as their_litellm
from litellm.integrations.opentelemetry import OpenTelemetry
from litellm.litellm_core_utils.thread_pool_executor import executor
their_litellm.callbacks = [OpenTelemetry()]
submit, written = executor.submit, []  # it tells its callbacks of a call in a thread
executor.submit = lambda *given, **named: written.append(submit(*given, **named)) or written[-1]
settle.append(lambda: [future.result() for future in written])
""",
        ("litellm", "litellm_stream"),
    ),
}
