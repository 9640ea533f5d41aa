"""The ``openrouter_metadata`` of a request that asks for it."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._answer import Answer
    from ._exchange import Kind

_KINDS: Final = frozenset({"chat", "responses", "messages", "completions"})
_HEADERS: Final = ("x-openrouter-metadata", "x-openrouter-experimental-metadata")


def with_metadata(kind: Kind, asked: str, headers: Mapping[str, str], answer: Answer) -> Answer:
    """Return the answer with the metadata of a request for the model `asked`, unless its own `extra` has some.

    The service sends none from its response cache, and none with its own failures.
    """
    wanted = kind in _KINDS and any(headers.get(name, "").lower() == "enabled" for name in _HEADERS)
    cached = answer.headers.get("X-OpenRouter-Cache-Status") == "HIT"
    if not wanted or cached or answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer
    return replace(answer, extra={"openrouter_metadata": _metadata(asked, answer), **answer.extra})


def _metadata(asked: str, answer: Answer) -> dict[str, object]:
    model = answer.model or asked.partition(":")[0]
    served = not answer.refused and answer.provider is not None
    endpoint = {"provider": answer.provider, "model": model}
    return {
        "requested": asked,
        "strategy": "direct",
        "region": "iad",
        "summary": f"{asked} direct",
        "attempt": int(served),
        "is_byok": answer.byok is True,
        "endpoints": {"total": int(served), "available": [{**endpoint, "selected": True}] if served else []},
        "attempts": [{**endpoint, "status": 200}] if served else [],
    }
