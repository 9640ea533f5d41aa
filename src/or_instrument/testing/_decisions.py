"""The body of the decision endpoints: one answer a question, of the kind that the question asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._exchange import Exchange


def decisions(exchange: Exchange) -> dict[str, object]:
    """Return the decisions, without their usage."""
    asked = exchange.request.get("questions")
    questions = asked if isinstance(asked, dict) else {}
    named = {"id": exchange.id, "model": exchange.model}
    provider = {} if exchange.answer.provider is None else {"provider": exchange.answer.provider}
    return {**named, **provider, "answers": {name: _answer(question) for name, question in questions.items()}}


def _answer(question: object) -> dict[str, object]:
    held = question if isinstance(question, dict) else {}
    kind, criteria = held.get("type"), held.get("criteria")
    if kind == "choice":
        first = next(iter(criteria), "") if isinstance(criteria, dict) else ""
        return {"type": "choice", "choice": first, "confidence": 0.75}
    if kind == "score":
        return {"type": "score", "score": 0.5, "confidence": 0.75}
    if kind == "box":
        return {"type": "box", "box": {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0}}
    return {"type": "noul", "noul": 0.75}
