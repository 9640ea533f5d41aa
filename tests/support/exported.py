"""Trackers whose exports are summed, and calls to fill them with."""

from __future__ import annotations

from typing import Any

from or_instrument import Call, CostTracker, Reply, Request, Usage
from or_instrument._money.totals import Row

FORMER_HEAD = "schema,dimension,value,calls,unknown,usd,input_tokens,output_tokens\n"
FORMER_ROWS = f"schema,{','.join(Row._fields[:-1])}\n"
"""How exports began that told of no lower bounds."""


def call(number: int, cost: float | None, model: str = "a/model", **attributes: Any) -> Call:
    """Return a finished call."""
    usage = None if cost is None else Usage(cost=cost, input_tokens=3, output_tokens=2, is_byok=False)
    request = Request("chat", "openrouter", model, "openrouter.ai", 443, attributes=attributes)
    return Call(number, request, Reply(model=model, provider="P", usage=usage), "complete", 0, 1.0)


def tracker(*calls: Call) -> CostTracker:
    """Return a tracker that has counted these."""
    made = CostTracker(rows=True)
    for counted in calls:
        made(counted)
    return made
