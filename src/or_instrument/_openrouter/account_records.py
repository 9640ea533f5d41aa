"""What OpenRouter's account endpoints answer, as frozen records.

The fields are those of the service's OpenAPI document (`GET /generation`, `GET /key`, `GET /credits`, `GET /activity`).
A field that is absent, null or not what it is documented to be is `None`; what is not documented, or cannot be read, is
in `extra` as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from or_instrument._amounts import add
from or_instrument._field_docs import with_field_docs

_NOTHING: Final[Mapping[str, Any]] = {}


@with_field_docs
class Generation(NamedTuple):
    """One generation, as `GET /generation` tells of it afterwards. Amounts are USD, times milliseconds."""

    id: str
    """The generation id, `gen-...`."""
    request_id: str | None = None
    """The request that this generation is a part of, `req-...`."""
    session_id: str | None = None
    """The session that groups several generations."""
    upstream_id: str | None = None
    """The provider's own id."""
    app_id: int | None = None
    """The id of the application that made the request."""
    external_user: str | None = None
    """The `user` that the request named."""
    preset_id: str | None = None
    """The preset that the request used."""
    workspace_id: str | None = None
    """The workspace that it is counted for."""
    response_cache_source_id: str | None = None
    """The generation whose answer was served again from the response cache."""
    created_at: str | None = None
    """ISO 8601."""
    model: str | None = None
    """The model's permanent slug, with its date."""
    origin: str | None = None
    """The URL that the request came from."""
    api_type: str | None = None
    """`completions`, `embeddings`, `rerank`, `tts`, `stt`, `video`, `image`, ..."""
    data_region: str | None = None
    """`global`, `europe` or `us`."""
    provider_name: str | None = None
    """The provider that served it."""
    provider_responses: tuple[Mapping[str, Any], ...] | None = None
    """Every provider that was tried: `provider_name`, `status`, `latency` in milliseconds, ..."""
    router: str | None = None
    """The router that was used, such as `openrouter/auto`."""
    service_tier: str | None = None
    """The tier that the provider says it ran on."""
    latency: float | None = None
    """Milliseconds in all."""
    moderation_latency: float | None = None
    """Milliseconds that moderation took."""
    generation_time: float | None = None
    """Milliseconds that the generation took."""
    streamed: bool | None = None
    """Live, also true for calls that were not."""
    cancelled: bool | None = None
    """Whether the client broke the stream off."""
    finish_reason: str | None = None
    """Why it ended."""
    native_finish_reason: str | None = None
    """The same as the provider spells it."""
    tokens_prompt: int | None = None
    """Tokens by OpenRouter's own normalised estimate, not what is billed."""
    tokens_completion: int | None = None
    """Tokens, likewise an estimate."""
    native_tokens_prompt: int | None = None
    """Tokens by the model's own tokenizer: what is billed. Cached tokens included."""
    native_tokens_completion: int | None = None
    """Tokens that are billed. Those of reasoning included."""
    native_tokens_completion_images: int | None = None
    """Tokens of images in the answer."""
    native_tokens_reasoning: int | None = None
    """Tokens that the model thought with."""
    native_tokens_cached: int | None = None
    """Tokens that were read from the provider's prompt cache."""
    num_media_prompt: int | None = None
    """How many media the prompt had."""
    num_input_audio_prompt: int | None = None
    """How many audio inputs the prompt had."""
    num_media_completion: int | None = None
    """How many media the answer had."""
    num_search_results: int | None = None
    """How many search results were included."""
    num_fetches: int | None = None
    """How many pages were fetched from the web."""
    web_search_engine: str | None = None
    """The engine that searched."""
    usage: Decimal | None = None
    """USD, charged to the account."""
    total_cost: Decimal | None = None
    """USD, charged to the account."""
    is_byok: bool | None = None
    """Whether the provider billed the inference to the user's own key."""
    upstream_inference_cost: Decimal | None = None
    """USD, the provider's bill. Meaningful for BYOK only; 0 or null otherwise."""
    cache_discount: Decimal | None = None
    """USD; negative where writing the cache cost more."""
    http_referer: str | None = None
    """The request's `HTTP-Referer` header."""
    user_agent: str | None = None
    """The request's `User-Agent` header."""
    extra: Mapping[str, Any] = _NOTHING
    """Undocumented fields, and those that could not be read."""


@with_field_docs
class KeyStatus(NamedTuple):
    """What `GET /key` tells of the key that asks. Amounts are USD; days, weeks (from Monday) and months are UTC."""

    label: str | None = None
    """The key with its middle left out."""
    limit: Decimal | None = None
    """USD; `None`: no limit."""
    limit_remaining: Decimal | None = None
    """USD; `None`: no limit. Negative where it was overspent."""
    limit_reset: str | None = None
    """`daily`, `weekly`, `monthly`; `None`: never."""
    include_byok_in_limit: bool | None = None
    """Whether what providers bill counts against the limit."""
    usage: Decimal | None = None
    """USD, charged to the account through this key, ever."""
    usage_daily: Decimal | None = None
    """USD, the same for this day."""
    usage_weekly: Decimal | None = None
    """USD, the same for this week."""
    usage_monthly: Decimal | None = None
    """USD, the same for this month."""
    byok_usage: Decimal | None = None
    """USD, billed by providers to the user's own keys, ever."""
    byok_usage_daily: Decimal | None = None
    """USD, the same for this day."""
    byok_usage_weekly: Decimal | None = None
    """USD, the same for this week."""
    byok_usage_monthly: Decimal | None = None
    """USD, the same for this month."""
    is_free_tier: bool | None = None
    """Whether this is a key of the free tier."""
    is_management_key: bool | None = None
    """Whether this is a management key, which makes no calls."""
    is_provisioning_key: bool | None = None
    """Deprecated: the older name of `is_management_key`."""
    creator_user_id: str | None = None
    """Who made the key."""
    organization_id: str | None = None
    """The organisation that owns it; `None`: a single account does."""
    workspace_id: str | None = None
    """The workspace that it spends in."""
    expires_at: str | None = None
    """ISO 8601; `None`: never."""
    allowed_data_regions: tuple[str, ...] | None = None
    """The data regions that the key may use."""
    budgets: tuple[Mapping[str, Any], ...] | None = None
    """Every budget that a request with this key is held against, in that order."""
    effective_budget: Mapping[str, Any] | None = None
    """The one of them that blocks requests first."""
    free_model_daily_requests: Mapping[str, Any] | None = None
    """`used`, `limit` and `remaining` requests to free models on this day."""
    rate_limit: Mapping[str, Any] | None = None
    """Deprecated by the service, which says to ignore it."""
    extra: Mapping[str, Any] = _NOTHING
    """Undocumented fields, and those that could not be read."""


class Activity(NamedTuple):
    """One row of `GET /activity`: what was charged on one UTC day for one endpoint. Amounts are USD."""

    date: str | None = None
    """ISO 8601."""
    model: str | None = None
    model_permaslug: str | None = None
    """The model's permanent slug, with its date."""
    endpoint_id: str | None = None
    provider_name: str | None = None
    usage: Decimal | None = None
    """USD, charged to the account."""
    byok_usage_inference: Decimal | None = None
    """USD, what OpenRouter believes that the provider billed to the user's own key."""
    requests: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    extra: Mapping[str, Any] = _NOTHING
    """Undocumented fields, and those that could not be read."""


@with_field_docs
class Credits(NamedTuple):
    """What `GET /credits` tells of the account. Amounts are USD."""

    total_credits: Decimal | None = None
    """USD, ever bought."""
    total_usage: Decimal | None = None
    """USD, ever used."""
    extra: Mapping[str, Any] = _NOTHING
    """Undocumented fields, and those that could not be read."""

    @property
    def remaining(self) -> Decimal | None:
        """USD left, `None` where either total is unknown. Negative where it was overspent."""
        if self.total_credits is None or self.total_usage is None:
            return None
        return add(self.total_credits, self.total_usage.copy_negate())
