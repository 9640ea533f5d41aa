"""Reads what the headers of a response tell besides its body (https://openrouter.ai/docs, "Response Caching")."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from or_instrument._openrouter.values import label, seconds

_GENERATION_ID: Final = "x-generation-id"
_CACHE_STATUS: Final = "x-openrouter-cache-status"
_CACHE_AGE: Final = "x-openrouter-cache-age"
_CACHE_TTL: Final = "x-openrouter-cache-ttl"


class Named(Protocol):
    """Headers of any client."""

    def get(self, name: str, /) -> str | None:
        """Return the value of a header, `None` where there is none."""

    def __contains__(self, name: object, /) -> bool:
        """Return whether there is such a header."""


class Headers(NamedTuple):
    """In the order in which a `Reply` has them."""

    generation_id: str | None = None
    cache_status: str | None = None
    status_code: int | None = None
    cache_age_s: float | None = None
    cache_ttl_s: float | None = None


NO_HEADERS: Final = Headers()


def read_headers(status_code: int, headers: Named) -> Headers:
    """Return what a response's status and headers say; the names are asked for in lower case."""
    generation_id = label(headers.get(_GENERATION_ID))
    # Few answers have it, and httpx raises an exception inside to find that one has not.
    if _CACHE_STATUS not in headers:
        return Headers(generation_id, None, status_code)
    cache_status = label(headers.get(_CACHE_STATUS))
    age, ttl = seconds(headers.get(_CACHE_AGE)), seconds(headers.get(_CACHE_TTL))
    return Headers(generation_id, cache_status, status_code, age, ttl)


def api_key(headers: Named) -> str | None:
    """Return the key that a request's headers carry, `None` where they carry none."""
    scheme, _, key = (headers.get("authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key") or None
