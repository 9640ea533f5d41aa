"""The books of the account: what was charged, by key, UTC day, model and provider."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ._money import Bill, amount, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ._answer import JsonObject
    from ._exchange import Exchange, Received

_SCHEME: Final = "bearer "
_DAYS: Final = 30


@dataclass(frozen=True)
class Charge:
    """What one exchange was charged, in USD, to which key and when."""

    day: date
    key: str
    exchange: Exchange


@dataclass(frozen=True)
class KeyBook:
    """What one key was charged, as GET /key tells it; `budgeted` are budgets beside the key's own limit."""

    charges: Sequence[Charge]
    key: str
    today: date
    limit_usd: float | None
    budgeted: Sequence[JsonObject] = ()

    def charged(self, interval: str | None = None) -> Decimal:
        """Return what the key was charged in the current window, in USD."""
        return sum((bill.cost for bill in self._bills(interval)), Decimal(0))

    def byok(self, interval: str | None = None) -> Decimal:
        """Return what providers bill directly for the key's calls in the current window, in USD."""
        return sum((bill.byok_cost for bill in self._bills(interval)), Decimal(0))

    def budgets(self) -> list[dict[str, object]]:
        """Return every budget that holds for the key, its own limit last."""
        own = [] if self.limit_usd is None else [{"limit_usd": self.limit_usd, "reset_interval": "monthly"}]
        return [self._budget(said) for said in (*self.budgeted, *own)]

    def _bills(self, interval: str | None) -> Iterable[Bill]:
        start = window_start(self.today, interval)
        return (charge.exchange.bill for charge in self.charges if charge.key == self.key and charge.day >= start)

    def _budget(self, said: JsonObject) -> dict[str, object]:
        interval = said.get("reset_interval")
        interval = interval if isinstance(interval, str) else None
        spent = self.charged(interval) + (self.byok(interval) if said.get("include_byok") else Decimal(0))
        end = window_end(self.today, interval)
        return {
            "scope": "key_limit",
            "budget_id": None,
            "guardrail_id": None,
            "include_byok": False,
            "reset_interval": interval,
            "resets_at": None if end is None else f"{end.isoformat()}T00:00:00Z",
            "spend_usd": number(spent),
            "remaining_usd": number(amount(said["limit_usd"]) - spent),
            **said,
        }


def key_of(request: Received) -> str:
    """Return the API key that a request came with, empty where it came with none."""
    said = request.headers.get("authorization", "")
    if said[: len(_SCHEME)].lower() == _SCHEME:
        return said[len(_SCHEME) :].strip()
    return request.headers.get("x-api-key", "")


def key_hash(key: str) -> str:
    """Return a key as the keys API names it: its SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def utc_day(now_s: float) -> date:
    """Return the UTC day of a Unix time in seconds."""
    return datetime.fromtimestamp(now_s, timezone.utc).date()


def window_start(today: date, interval: str | None) -> date:
    """Return the first day of the current `daily`, `weekly` (from Monday) or `monthly` window; `None` is all time."""
    starts = {
        "daily": today,
        "weekly": today - timedelta(days=today.weekday()),
        "monthly": today.replace(day=1),
    }
    return date.min if interval is None else starts[interval]


def window_end(today: date, interval: str | None) -> date | None:
    """Return the first day after the current window; `None` where it never ends."""
    if interval is None:
        return None
    start = window_start(today, interval)
    if interval == "monthly":
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=1 if interval == "daily" else 7)


def activity_rows(charges: Iterable[Charge], query: Mapping[str, str], today: date) -> list[dict[str, object]]:
    """Return the ``data`` of GET /activity: one row a day, model and provider, of the last 30 completed days."""
    grouped: dict[tuple[date, str, str], list[Exchange]] = defaultdict(list)
    for charge in charges:
        in_time = today - timedelta(days=_DAYS) <= charge.day < today
        if in_time and _is_asked_for(charge, query):
            grouped[charge.day, charge.exchange.model, charge.exchange.answer.provider or ""].append(charge.exchange)
    return [_row(*place, exchanges) for place, exchanges in sorted(grouped.items(), reverse=True)]


def _is_asked_for(charge: Charge, query: Mapping[str, str]) -> bool:
    said = {"date": charge.day.isoformat(), "api_key_hash": key_hash(charge.key)}
    return all(query.get(name, value) == value for name, value in said.items())


def _row(day: date, model: str, provider: str, exchanges: list[Exchange]) -> dict[str, object]:
    bills, answers = [exchange.bill for exchange in exchanges], [exchange.answer for exchange in exchanges]
    return {
        "date": day.isoformat(),
        "model": model,
        "model_permaslug": model,
        "endpoint_id": key_hash(f"{provider}/{model}")[:32],
        "provider_name": provider,
        "usage": number(sum((bill.cost for bill in bills), Decimal(0))),
        "byok_usage_inference": number(sum((bill.byok_cost for bill in bills), Decimal(0))),
        "requests": len(exchanges),
        "prompt_tokens": sum(bill.prompt_tokens for bill in bills),
        "completion_tokens": sum(bill.completion_tokens for bill in bills),
        "reasoning_tokens": sum(answer.reasoning_tokens for answer in answers),
        "cached_tokens": sum(answer.cached_tokens for answer in answers),
    }
