"""Says in one word why the spend of a call is unknown."""

from __future__ import annotations

from or_instrument._records import Outcome, Reply


def missing(reply: Reply, outcome: Outcome) -> str | None:
    """Return why the spend is unknown, `None` where it is known."""
    usage = reply.usage
    if usage is None or (usage.cost is None and outcome != "complete"):
        if outcome == "complete":
            return "no_usage"
        return "rejected" if reply.failure is not None and reply.failure.status_code else outcome
    if usage.cost is None:
        return "no_cost"
    return "no_upstream_cost" if usage.spend is None else None
