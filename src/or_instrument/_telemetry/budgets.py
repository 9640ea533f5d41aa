"""Turns the budgets of a key, as `GET /key` lists them, into points of gauges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from or_instrument._openrouter.account_records import KeyStatus
from or_instrument._openrouter.values import label, number
from or_instrument._telemetry import names


class Gauge(NamedTuple):
    """One number of a budget."""

    field: str
    """Its name in a budget."""
    unit: str
    description: str


GAUGES: Final[Mapping[str, Gauge]] = {
    f"{names.BUDGET}.limit": Gauge("limit_usd", "USD", "What a budget of the key allows."),
    f"{names.BUDGET}.spend": Gauge("spend_usd", "USD", "What of a budget of the key is spent."),
    f"{names.BUDGET}.remaining": Gauge("remaining_usd", "USD", "What is left of a budget of the key."),
    f"{names.BUDGET}.resets_at": Gauge("resets_at", "s", "When a budget of the key begins anew, since the epoch."),
}
"""By the name of the metric."""


def points(status: KeyStatus, gauge: Gauge) -> Iterator[tuple[float, dict[str, str]]]:
    """Yield what each budget says, with its labels: what it is for, how often it begins anew, and its id."""
    for budget in status.budgets or ():
        said = budget.get(gauge.field)
        value = _moment(said) if gauge.unit == "s" else _finite(said)
        if value is not None:
            yield value, _labels(budget)


def _labels(budget: Mapping[str, Any]) -> dict[str, str]:
    told = {
        names.BUDGET_SCOPE: label(budget.get("scope")),
        names.BUDGET_RESET_INTERVAL: label(budget.get("reset_interval")),
        names.BUDGET_ID: label(budget.get("budget_id")) or label(budget.get("guardrail_id")),
    }
    return {name: value for name, value in told.items() if value is not None}


def _finite(value: object) -> float | None:
    # Unlike a cost, what is left may be negative.
    said = number(value)
    return said if said is not None and math.isfinite(said) else None


def _moment(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
