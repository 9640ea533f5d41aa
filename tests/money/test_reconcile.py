"""Which differences between two sides are none."""

from __future__ import annotations

from decimal import Decimal

from or_instrument._money.reconcile import Line, Side, agree


def test_a_cent_is_no_difference() -> None:
    """However small the total, and to either side."""
    for usd, expected in (("0.01", True), ("-0.01", True), ("0.011", False), ("-0.011", False)):
        theirs = Side(Decimal("0.02"))
        line = Line("total", "", Side(Decimal("0.02") - Decimal(usd)), theirs)
        assert agree(line, Decimal("0.5")) is expected
