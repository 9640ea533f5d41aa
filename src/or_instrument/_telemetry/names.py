"""Every attribute, metric name, unit and bucket boundary, as constants.

The `gen_ai.*` names are those of the OpenTelemetry GenAI conventions, but for those that `docs/semconv` adds;
`openrouter.*` follows the rule that a system's own attributes live under the value of its provider name. Nothing
numeric but tokens and `gen_ai.usage.cost` lives under `gen_ai.usage.*`: backends add such keys up as tokens.
"""

from __future__ import annotations

from typing import Final

from or_instrument._calls.own_names import is_ours

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a kind of token, not a secret
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_STATUS: Final = "http.response.status_code"

CLIENT: Final = "openrouter.client"
SERVED_BY: Final = "openrouter.provider.name"
NATIVE_FINISH_REASONS: Final = "openrouter.response.native_finish_reasons"
SERVICE_TIER: Final = "openrouter.response.service_tier"
CACHE_ATTRIBUTES: Final = ("openrouter.cache.status", "openrouter.cache.age", "openrouter.cache.ttl")
GENERATION_ID: Final = "openrouter.generation.id"
STREAM_OUTCOME: Final = "openrouter.stream.outcome"
PROVIDER_SWITCHED: Final = "openrouter.session.provider_switched"
IS_BYOK: Final = "openrouter.usage.is_byok"
ESTIMATED_COST: Final = "openrouter.usage.estimated_cost"
SPEND: Final = "openrouter.usage.spend"
SPEND_ALIAS: Final = "gen_ai.usage.cost"
USAGE_SOURCE: Final = "openrouter.usage.source"
LOWER_BOUND: Final = "openrouter.usage.lower_bound"

REPLY_ATTRIBUTES: Final = (RESPONSE_ID, RESPONSE_MODEL, SERVED_BY, FINISH_REASONS, NATIVE_FINISH_REASONS, SERVICE_TIER)
"""In the order of the first fields of `Reply`."""

USAGE_ATTRIBUTES: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "openrouter.usage.cost",
    IS_BYOK,
    "openrouter.usage.cost_details.upstream_inference_cost",
    "openrouter.usage.cost_details.upstream_inference_input_cost",
    "openrouter.usage.cost_details.upstream_inference_output_cost",
    "openrouter.usage.cost_details.server_tool_cost",
)
"""In the order of the fields of `Usage`."""

ROUTING_ATTRIBUTES: Final = (
    "openrouter.routing.strategy",
    "openrouter.routing.region",
    "openrouter.routing.attempt",
    "openrouter.routing.attempts",
    "openrouter.routing.pipeline",
    "openrouter.routing.pipeline_cost",
    "openrouter.routing.generation_time",
)

FAILURE_ATTRIBUTES: Final = (
    ERROR_TYPE,
    "openrouter.error.code",
    "openrouter.error.type",
    "openrouter.error.limit_source",
    "openrouter.error.provider_name",
    "openrouter.error.retry_after",
    HTTP_STATUS,
)
"""In the order of the fields of `Failure`."""

CONTENT_ATTRIBUTES: Final = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
)
"""In the order of the fields of `Content`."""
CONTENT_EVENT: Final = "gen_ai.client.inference.operation.details"

LABELS_OF_OURS: Final = (CLIENT, SERVICE_TIER)
"""Attributes of ours that become metric labels where `metric_attributes` names them."""
_CONVERSATION: Final = "gen_ai.conversation.id"

DURATION: Final = "gen_ai.client.operation.duration"
TOKENS: Final = "gen_ai.client.token.usage"
FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
COST: Final = "gen_ai.usage.cost"
UPSTREAM_COST: Final = "openrouter.usage.upstream_cost"
CACHE_READ_TOKENS: Final = "openrouter.usage.cache_read_tokens"
PROVIDER_SWITCHES: Final = "openrouter.session.provider_switches"
MISSING: Final = "openrouter.usage.missing"
MISSING_REASON: Final = "openrouter.missing.reason"
ACCOUNT: Final = "openrouter.account"
BUDGET: Final = "openrouter.account.budget"
BUDGET_SCOPE: Final = "openrouter.account.budget.scope"
BUDGET_RESET_INTERVAL: Final = "openrouter.account.budget.reset_interval"
BUDGET_ID: Final = "openrouter.account.budget.id"

SECONDS_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
TOKEN_BUCKETS: Final = tuple(float(4**power) for power in range(14))
USD_BUCKETS: Final = (
    *(float(f"{digits}e{power}") for power in range(-6, 2) for digits in ("1", "2.5", "5")),
    100.0,
)


def is_taken(name: str) -> bool:
    """Return whether we write something under this name, or keep it for ourselves, that is not the spend."""
    if name.startswith("gen_ai.usage."):
        # Some backends read their own names for a cost there.
        return name in USAGE_ATTRIBUTES
    return (is_ours(name) or name == _CONVERSATION) and name != SPEND
