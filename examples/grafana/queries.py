"""The PromQL of the dashboard: pure functions that return expressions."""

from __future__ import annotations

SPEND = "gen_ai_usage_cost_USD_sum"
PRICED = "gen_ai_usage_cost_USD_count"
UPSTREAM = "openrouter_usage_upstream_cost_USD_total"
CALLS = "gen_ai_client_operation_duration_seconds_count"
SECONDS = "gen_ai_client_operation_duration_seconds_sum"
SECONDS_BUCKETS = "gen_ai_client_operation_duration_seconds_bucket"
STREAMS = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds_sum"
TOKENS = "gen_ai_client_token_usage_sum"
CACHED = "openrouter_usage_cache_read_tokens_total"
MISSING = "openrouter_usage_missing_total"
SWITCHES = "openrouter_session_provider_switches_total"
BUDGET_LEFT = "openrouter_account_budget_remaining_USD"
CREDITS_LEFT = "openrouter_account_limit_remaining_USD"
UNATTRIBUTED = "openrouter_account_unattributed_USD"
CLIENT = "openrouter_client"
TIER = "openrouter_response_service_tier"

CHOSEN = 'job=~"$job",gen_ai_request_model=~"$model"'
BYOK = 'openrouter_usage_is_byok="true"'
CREDITS = 'openrouter_usage_is_byok="false"'
INPUT = 'gen_ai_token_type="input"'
FAILED = 'error_type!=""'
REASON = "openrouter_missing_reason"
UNKNOWN = f'{REASON}!="rejected"'
"""A call that the service refused costs nothing, so its cost is not unknown."""
LOOK_BACK = "1h"


def grown(metric: str, window: str, by: str = "", *, only: str = "") -> str:
    """Return by how much a counter grew within `window`, summed by the labels in `by`.

    `increase` alone would be wrong at low traffic: it guesses beyond the first and last scrape, and it never sees the
    call with which a series is born. So each series gives its last value less its value before the window (looked for
    as far back as an hour); a counter that was reset within the window gives its `increase`; and one that was not there
    before gives all it holds.
    """
    series = f"{metric}{{{CHOSEN}{',' if only else ''}{only}}}"
    now = f"last_over_time({series}[{window}])"
    before = f"last_over_time({series}[{LOOK_BACK}] offset {window})"
    reset = f"resets({series}[{window}]) > 0"
    summed = f"sum by ({by})" if by else "sum"
    return f"{summed} (({now} - {before} >= 0 unless {reset}) or (increase({series}[{window}]) and {reset}) or {now})"


def or_zero(expression: str, present: str) -> str:
    """Return 0 instead of nothing where `present` has a value: nothing is left to mean "no data"."""
    return f"{expression} or 0 * {present}"


def ratio(part: str, whole: str) -> str:
    """Return `part` over `whole`, and nothing rather than NaN where `whole` is 0."""
    return f"({part}) / ({whole} > 0)"


def spend(window: str, by: str = "") -> str:
    """Return USD spent."""
    return grown(SPEND, window, by)


def billed_by_provider(window: str) -> str:
    """Return the USD that providers bill for calls on the user's own keys."""
    return or_zero(grown(UPSTREAM, window), spend(window))


def billed_by_openrouter(window: str) -> str:
    """Return the USD that OpenRouter bills."""
    return f"{spend(window)} - ({billed_by_provider(window)})"


def byok_bypassed(window: str) -> str:
    """Return USD billed to credits by providers that were billed to the user's own key within a day, by provider."""
    by = "openrouter_provider_name"
    on_own_key = f"sum by ({by}) (last_over_time({SPEND}{{{CHOSEN},{BYOK}}}[1d]))"
    billed = grown(SPEND, window, by, only=CREDITS)
    return or_zero(f"({billed} and {on_own_key})", on_own_key)


def cost_per_call(window: str, by: str = "") -> str:
    """Return the mean USD of a call whose cost is known."""
    return ratio(spend(window, by), grown(PRICED, window, by))


def cost_per_1000_tokens(window: str, by: str = "") -> str:
    """Return USD per 1,000 tokens, of input and output together."""
    return ratio(f"1000 * {spend(window, by)}", grown(TOKENS, window, by))


def cache_hit_share(window: str) -> str:
    """Return the part of the input tokens that was read from a prompt cache, 0 to 1."""
    asked = grown(TOKENS, window, only=INPUT)
    return ratio(or_zero(grown(CACHED, window), asked), asked)


def error_share(window: str) -> str:
    """Return the part of the calls that failed, 0 to 1."""
    calls = grown(CALLS, window)
    return ratio(or_zero(grown(CALLS, window, only=FAILED), calls), calls)


def unknown(window: str) -> str:
    """Return how many calls ended without a known cost."""
    return or_zero(grown(MISSING, window, only=UNKNOWN), grown(CALLS, window))


def unattributed() -> str:
    """Return the USD that no recorded call explains of what a key was charged, which services may share."""
    return f'max by (job) ({UNATTRIBUTED}{{job=~"$job"}})'


def provider_switches(window: str) -> str:
    """Return how many calls lost the prompt cache of their session to another provider, by the one that answered."""
    by = "openrouter_provider_name"
    return or_zero(grown(SWITCHES, window, by), grown(CALLS, window, by, only=f'{by}!=""'))


def credits_left() -> str:
    """Return the USD that are left of a key's limit; services that share the key report the same."""
    return f'min by (job) ({CREDITS_LEFT}{{job=~"$job"}})'


def budgets_left() -> str:
    """Return the USD that are left of each budget of a key; services that share the key report the same."""
    labels = ", ".join(f"openrouter_account_budget_{name}" for name in ("scope", "reset_interval", "id"))
    return f'min by ({labels}) ({BUDGET_LEFT}{{job=~"$job"}})'


def data_check() -> str:
    """Return 1 where the cost metric is found, 2: under another name or unit, 3: calls without any cost, 0: nothing."""
    found = f"count(last_over_time({PRICED}[$__range]))"
    other = 'count({__name__=~"gen_ai.usage.cost.*"})'
    calls = f"count(last_over_time({CALLS}[$__range]))"
    return f"0 * {found} + 1 or 0 * {other} + 2 or 0 * {calls} + 3 or vector(0)"
