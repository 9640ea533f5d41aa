"""Sums that SQLite makes of a ledger are those of a tracker, to the last digit."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from filled_ledger import call, fill
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import CostTracker
from or_instrument._money.query import totals_of
from or_instrument._money.schema import open_ledger
from or_instrument._money.totals import dimension_of

NAMES = st.sampled_from(["tenant", "it's", 'a"b', "a\\b", "ü", "a.b", "", "$"])
VALUES = st.sampled_from(["x", "", "ü", "1", '"', "\x00y"])
COSTS = st.none() | st.floats(0, 1e9) | st.floats(0, 1e-20)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(COSTS, st.dictionaries(NAMES, VALUES, max_size=3)), max_size=8),
    NAMES.filter(bool),
    st.sampled_from([1, 5]),
)
def test_sums_are_exact(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[float | None, dict[str, str]]], name: str, times: int
) -> None:
    """Whatever the amounts, names and values of attributes, and how many have the same; a NUL is shown as a mark."""
    path = tmp_path_factory.mktemp("ledger") / "costs.db"
    told = told * times
    fill(path, [call(number, usd, **attributes) for number, (usd, attributes) in enumerate(told)])
    tracker = CostTracker()
    for number, (usd, attributes) in enumerate(told):
        tracker(call(number, usd, **attributes))
    with closing(open_ledger(path)) as ledger:
        totals = totals_of(ledger, [dimension_of(name)])
    assert totals.all == tracker._tally.totals.all
    expected = {
        value.replace("\0", "\ufffd"): part.usd
        for value, part in tracker._tally.totals.groups.get(dimension_of(name), {}).items()
    }
    assert {value: part.usd for value, part in totals.by(name).items()} == expected


def test_sums_larger_than_64_bits_are_exact(tmp_path: Path) -> None:
    """Of whole numbers of 1e-24 as of 1e-12 USD."""
    cost = 999_999.999999999999
    path = fill(tmp_path / "costs.db", [call(number, cost) for number in range(30)])
    with closing(open_ledger(path)) as ledger:
        assert totals_of(ledger, []).all.usd == Decimal(str(cost)) * 30
