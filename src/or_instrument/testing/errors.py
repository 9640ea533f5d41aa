"""The errors that OpenRouter documents, each as an `Answer`: ``fake.script(errors.rate_limit(2))``."""

from __future__ import annotations

from ._answer import Answer, JsonObject

USER_ID = "user_2fakeFAKEfakeFAKEfakeFAKE00"
"""The account id that error bodies carry."""


def error(
    status: int,
    message: str,
    *,
    error_type: str | None = None,
    retry_after_s: int | None = None,
    user_id: str | None = USER_ID,
    **metadata: object,
) -> Answer:
    """Return an error of any kind: its HTTP status is also its code, other keywords go to ``metadata``."""
    if error_type is not None:
        metadata["error_type"] = error_type
    inner: dict[str, object] = {"code": status, "message": message}
    if metadata:
        inner["metadata"] = metadata
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    extra = {} if user_id is None else {"user_id": user_id}
    return Answer(status=status, error=inner, headers=headers, extra=extra)


def invalid_request(message: str = "Invalid request parameters") -> Answer:
    """400: a parameter is wrong."""
    return error(400, message, error_type="invalid_request")


def context_length() -> Answer:
    """400: the prompt does not fit the model."""
    message = "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens."
    return error(400, message, error_type="context_length_exceeded", provider_name="Fake Provider")


def authentication() -> Answer:
    """401: the key is missing, wrong or disabled. No account is known, so there is no ``user_id``."""
    return error(401, "User not found.", error_type="authentication", user_id=None)


def insufficient_credits() -> Answer:
    """402: the account is out of credits."""
    return error(
        402,
        "Insufficient credits. Add more using https://openrouter.ai/credits",
        error_type="payment_required",
        limit_source="openrouter_credits",
        remedy_hint="Add credits at https://openrouter.ai/settings/credits.",
    )


def in_flight_budget(retry_after_s: int = 1) -> Answer:
    """402, transient: the requests in flight have reserved what credits there are."""
    return error(
        402,
        "This request would exceed your available credits given your current in-flight requests.",
        retry_after_s=retry_after_s,
        reason="in_flight_budget_exhausted",
        limit_source="openrouter_in_flight_budget",
        remedy_hint="Retry after your in-flight requests settle (see the Retry-After header).",
    )


def key_limit() -> Answer:
    """403: the key has spent its own limit."""
    return error(
        403,
        "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys",
        error_type="permission_denied",
        limit_source="openrouter_key_limit",
        remedy_hint="Raise the limit of this key.",
    )


def management_only() -> Answer:
    """403: the endpoint wants a management key."""
    return error(403, "Only management keys can perform this operation", user_id=None)


def moderation(flagged_input: str = "some flagged words", *, model: str = "openai/gpt-4o") -> Answer:
    """403: the prompt was flagged; the body quotes it."""
    return error(
        403,
        f"{model} requires moderation. Your input was flagged.",
        error_type="content_policy_violation",
        reasons=["violence"],
        flagged_input=flagged_input[:100],
        provider_name="Fake Provider",
        model_slug=model,
    )


def guardrail(pattern: str = "ignore all previous instructions") -> Answer:
    """403: a guardrail blocked the prompt."""
    return error(403, "Request blocked: prompt injection patterns detected", patterns=[pattern])


def not_found(message: str = "Resource not found") -> Answer:
    """404: no such path, generation or model."""
    return error(404, message, user_id=None)


def no_providers(model: str = "openai/gpt-4o-mini") -> Answer:
    """404: no provider of the model is allowed; ``openrouter_metadata`` lacks its otherwise required keys."""
    inner: JsonObject = {"code": 404, "message": "No allowed providers are available for the selected model."}
    endpoint = {"provider": "OpenAI", "model": model, "selected": False}
    metadata = {
        "requested": model,
        "strategy": "direct",
        "attempt": 0,
        "endpoints": {"total": 1, "available": [endpoint]},
    }
    return Answer(status=404, error=inner, extra={"openrouter_metadata": metadata})


def timed_out() -> Answer:
    """408: the operation took too long."""
    return error(408, "Operation timed out. Please try again later.", error_type="timeout")


def payload_too_large() -> Answer:
    """413: the request is too big."""
    return error(413, "Request payload too large", error_type="payload_too_large")


def unprocessable() -> Answer:
    """422: an argument has a good form and a bad meaning."""
    return error(422, "Invalid argument", error_type="unprocessable")


def rate_limit(retry_after_s: int | None = None, *, reset_ms: int = 1_790_000_000_000) -> Answer:
    """429 of OpenRouter's own: with the ``X-RateLimit-*`` headers, and a copy of them in the body."""
    limits = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset_ms)}
    made = error(
        429,
        "Rate limit exceeded: free-models-per-min. ",
        error_type="rate_limit_exceeded",
        limit_source="openrouter_free_tier_daily",
        headers=limits,
    )
    retry = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return Answer(status=429, error=made.error, extra=made.extra, headers={**limits, **retry})


def provider_rate_limit(raw: str = "the model is temporarily rate-limited upstream") -> Answer:
    """429 of the provider's: no rate limit headers."""
    return error(429, "Provider returned error", provider_name="Fake Provider", raw=raw)


def server_error() -> Answer:
    """500: masked."""
    return error(500, "Internal Server Error", error_type="server", user_id=None)


def provider_error(raw: str = "upstream connect error", *, status: int = 502) -> Answer:
    """502: the provider failed; ``raw`` is its own message and may quote content."""
    return error(
        status,
        "Provider returned error",
        error_type="provider_unavailable",
        provider_name="Fake Provider",
        raw=raw,
        is_byok=False,
        previous_errors=[{"provider": "Other Provider", "code": "provider_unavailable", "status": 502}],
    )


def unavailable(retry_after_s: int = 1) -> Answer:
    """503: no provider can take the request now."""
    return error(503, "Service temporarily unavailable", error_type="provider_unavailable", retry_after_s=retry_after_s)


def overloaded() -> Answer:
    """529: the provider is overloaded."""
    return error(529, "Provider returned error", error_type="provider_overloaded", provider_name="Fake Provider")


def in_body(message: str = "Upstream error", *, code: int | str = 502) -> Answer:
    """200: the body is an error without choices."""
    inner: JsonObject = {"code": code, "message": message, "metadata": {"error_type": "provider_unavailable"}}
    return Answer(error=inner)


def midstream(
    message: str = "Provider disconnected unexpectedly", *, code: int | str = "server_error", chunks: int = 2
) -> Answer:
    """200: the stream ends, after `chunks` chunks, in an error chunk; unstreamed, a choice has it."""
    inner: JsonObject = {"code": code, "message": message, "metadata": {"error_type": "provider_unavailable"}}
    return Answer(midstream_error=inner, chunks=chunks)
