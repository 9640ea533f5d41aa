"""What an answer is charged, in exact decimals: pure functions that make a `Bill`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from ._answer import UNSET, Amount, Answer, JsonObject

Price = tuple[Amount | Decimal, Amount | Decimal]
"""USD per prompt and per completion token. Write small ones as strings: ``("0.0000025", "0.00001")``."""
Prices = Mapping[str, Price]

DEFAULT_PRICE: Final[Price] = ("0.000001", "0.000004")
BYOK_FEE: Final = Decimal("0.05")
_ASKED: Final = ("messages", "input", "prompt", "query", "documents", "system", "state", "questions", "requests")
_ZERO: Final = Decimal(0)
_NO_COMPLETION: Final = frozenset({"embeddings", "rerank", "speech", "videos"})


@dataclass(frozen=True)
class Bill:
    """Tokens and USD of one answer; `spend` is what the user pays in all."""

    prompt_tokens: int
    completion_tokens: int
    cost: Decimal
    upstream: Decimal | None
    input_cost: Decimal
    byok: bool | None

    @property
    def output_cost(self) -> Decimal:
        """The part of the upstream cost that is not the input's."""
        return (self.upstream or _ZERO) - self.input_cost

    @property
    def byok_cost(self) -> Decimal:
        """What the provider bills the user directly."""
        return (self.upstream or _ZERO) if self.byok else _ZERO

    @property
    def spend(self) -> Decimal:
        """`cost`, and the provider's own bill where the user brought the key."""
        return self.cost + self.byok_cost


def make_bill(kind: str, request: JsonObject, answer: Answer, price: Price) -> Bill:
    """Return what `answer` is charged: as its scripted usage says, else its fields, else the price."""
    scripted = scripted_usage(answer)
    if scripted is not UNSET:
        return _bill_of(scripted)
    prompt = _prompt_tokens(request) if answer.prompt_tokens is None else answer.prompt_tokens
    completion = _completion_tokens(kind, request, answer)
    listed_input, listed_output = (
        _ZERO if answer.failed else amount(per_token) * tokens
        for per_token, tokens in zip(price, (prompt, completion), strict=True)
    )
    listed = _as_sent(listed_input + listed_output)
    default = _as_sent(listed * BYOK_FEE) if answer.byok else listed
    cost = default if answer.cost is UNSET else amount(answer.cost)
    upstream = answer.upstream
    if upstream is UNSET:
        billed = listed if answer.byok else None if answer.cost is None else cost
    else:
        billed = None if upstream is None else amount(upstream)
    return Bill(prompt, completion, cost, billed, min(listed_input, billed or _ZERO), answer.byok)


def price_of(prices: Prices, asked: str, answered: str) -> Price:
    """Return the price of the model asked for, else of the one that answered, else `DEFAULT_PRICE`."""
    return prices.get(asked) or prices.get(answered) or DEFAULT_PRICE


def amount(value: object) -> Decimal:
    """Return `value` as exact USD; what is no amount is 0: it charges nobody."""
    return exact(value) or _ZERO


def exact(value: object) -> Decimal | None:
    """Return `value` as exact USD, `None` where it is no amount (a bool, NaN, a negative)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        parsed = Decimal(str(value))
    except InvalidOperation:
        return None
    return parsed if parsed.is_finite() and parsed >= 0 else None


def _as_sent(value: Decimal) -> Decimal:
    """Round to what a JSON number can carry, so that the books hold what the client was told."""
    return amount(number(value))


def number(value: Decimal) -> int | float:
    """Return `value` as the shortest JSON number: 0 rather than 0.0."""
    return int(value) if value == value.to_integral_value() else float(value)


def scripted_usage(answer: Answer) -> object:
    """Return the usage of an answer whose usage, body or events are scripted, else `UNSET`."""
    if answer.usage is not UNSET:
        return answer.usage
    if answer.json_body is not UNSET:
        return _usage_in(answer.json_body)
    if answer.events is not None:
        found = [usage for event in answer.events if (usage := _usage_in(event)) is not None]
        return found[-1] if found else None
    return UNSET


def _usage_in(payload: object) -> object:
    if not isinstance(payload, Mapping):
        return None
    inner = payload.get("response")
    return payload.get("usage") or (inner.get("usage") if isinstance(inner, Mapping) else None)


def _bill_of(usage: object) -> Bill:
    if not isinstance(usage, Mapping):
        return Bill(0, 0, _ZERO, None, _ZERO, None)
    details = usage.get("cost_details")
    details = details if isinstance(details, Mapping) else {}
    upstream = details.get("upstream_inference_cost")
    byok = usage.get("is_byok")
    return Bill(
        prompt_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        completion_tokens=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
        cost=amount(usage.get("cost")),
        upstream=None if upstream is None else amount(upstream),
        input_cost=_ZERO,
        byok=byok if isinstance(byok, bool) else None,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _prompt_tokens(request: JsonObject) -> int:
    asked = [request[key] for key in _ASKED if key in request]
    return 1 + len(json.dumps(asked)) // 4


def _completion_tokens(kind: str, request: JsonObject, answer: Answer) -> int:
    if answer.completion_tokens is not None:
        return answer.completion_tokens
    if kind in _NO_COMPLETION:
        return 0
    said = (answer.text or "") + "".join(f"{name}{arguments}" for name, arguments in answer.tool_calls)
    n = answer.n or _count(request.get("n")) or 1
    return (1 + len(said) // 4) * n + answer.reasoning_tokens
