"""Reads what the headers of a response tell besides its body (https://openrouter.ai/docs, "Response Caching")."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from or_instrument._openrouter.values import label

_GENERATION_ID: Final = "x-generation-id"
_CACHE_STATUS: Final = "x-openrouter-cache-status"


class _Named(Protocol):
    def get(self, name: str, /) -> str | None: ...


class Headers(NamedTuple):
    """In the order in which a `Reply` has them."""

    generation_id: str | None = None
    cache_status: str | None = None
    status_code: int | None = None


NO_HEADERS: Final = Headers()


def read_headers(status_code: int, headers: _Named) -> Headers:
    """Return what a response's status and headers say; the names are asked for in lower case."""
    return Headers(label(headers.get(_GENERATION_ID)), label(headers.get(_CACHE_STATUS)), status_code)
