"""Amounts with all their digits: as the service wrote them, and added without rounding; counts in words."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

_EXACT: Final = Context(prec=700, traps=[])
"""Adds any two doubles without rounding, whatever precision and traps the application has set for itself."""


def exact(amount: float) -> Decimal:
    """Return the amount with the digits that the service wrote, not those of its binary neighbour."""
    return Decimal(str(amount))


def add(amount: Decimal, other: Decimal) -> Decimal:
    """Return the sum with all its digits, whatever decimal context the application has set."""
    return _EXACT.add(amount, other)


def counted(count: int, what: str) -> str:
    """Return how many there are, in words: `1 call`, `2 calls`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
