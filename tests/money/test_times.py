"""Times are UTC to the microsecond: no border of hours, days, months or readings loses a call or counts it twice."""

from __future__ import annotations

import csv
import io
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from filled_ledger import call, fill
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import Call
from or_instrument._money import focus, growth, own_side
from or_instrument._money.entry import utc
from or_instrument._money.own_side import Scope
from or_instrument._money.prune import prune
from or_instrument._money.query import totals_of
from or_instrument._money.readings import Reading, note_reading, readings_of
from or_instrument._money.schema import open_ledger
from or_instrument._money.totals import DAY, row_of

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
HOUR_NS = 3600 * 10**9
BORDERS = st.sampled_from(
    # Midnight, the end of a month, of a February, of a year; a change of clocks in New York and one in Berlin.
    [
        "2026-11-26T00:00",
        "2026-12-01T00:00",
        "2028-03-01T00:00",
        "2027-01-01T00:00",
        "2026-11-01T06:00",
        "2027-03-28T01:00",
    ]
).map(lambda text: int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) * 10**9)
NEAR = st.sampled_from([-HOUR_NS, -(10**6), -1001, -1000, -999, -1, 0, 1, 999, 10**6, HOUR_NS]) | st.integers(
    -30 * HOUR_NS, 30 * HOUR_NS
)
MOMENTS = st.builds(int.__add__, BORDERS, NEAR)
LENGTHS_S = st.sampled_from([0.0, 1e-6, 0.5, 3600.0, 90_000.0])
CALLS = st.lists(st.tuples(MOMENTS, LENGTHS_S), max_size=8)


@pytest.fixture(autouse=True, params=["America/New_York", "Pacific/Kiritimati"], scope="module")
def _local_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have this machine's clock show another time, with daylight saving or a day ahead: it plays no part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def calls_of(told: list[tuple[int, float]]) -> list[Call]:
    """Return calls that began at these moments and took so long, each at another price."""
    return [
        call(number, 2.0**-number)._replace(started_ns=at, duration_s=lasts)
        for number, (at, lasts) in enumerate(told, 1)
    ]


def exactly(ns: int) -> datetime:
    """Return the microsecond that a moment is in."""
    return EPOCH + timedelta(microseconds=ns // 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where ledgers are made."""
    return tmp_path_factory.mktemp("times")


def filled(folder: Path, calls: list[Call]) -> Path:
    """Return a new ledger with calls in it."""
    path = folder / "costs.db"
    for file in folder.iterdir():
        file.unlink()
    return fill(path, calls, api_key_hash="k")


@given(st.lists(MOMENTS, min_size=2, max_size=2))
def test_moments_sort_as_their_texts(moments: list[int]) -> None:
    """And each text is the moment's own, in UTC."""
    first, second = sorted(moments)
    assert utc(first) <= utc(second)
    assert datetime.fromisoformat(utc(first).replace("Z", "+00:00")) == exactly(first)


@settings(max_examples=20, deadline=None)
@given(CALLS, MOMENTS)
def test_days_are_the_same_in_ledgers_and_exports(folder: Path, told: list[tuple[int, float]], moment: int) -> None:
    """Those of UTC, cut at midnight; `since` a day is from its midnight on."""
    calls, since = calls_of(told), exactly(moment).date()
    with closing(open_ledger(filled(folder, calls))) as ledger:
        by_day = {day: part.calls for day, part in totals_of(ledger, [DAY]).by(DAY).items()}
        later = totals_of(ledger, [], since.isoformat()).all.calls
    days = [exactly(made.started_ns).date() for made in calls]
    assert by_day == {day.isoformat(): days.count(day) for day in days}
    assert [dict(row_of(made).keys)[DAY] for made in calls] == [day.isoformat() for day in days]
    assert later == sum(day >= since for day in days)


@settings(max_examples=20, deadline=None)
@given(CALLS)
def test_a_charge_is_in_its_hour_and_its_month(folder: Path, told: list[tuple[int, float]]) -> None:
    """Each call in one, none in two, and together they are the spend."""
    calls = calls_of(told)
    with closing(open_ledger(filled(folder, calls))) as ledger:
        rows = list(csv.DictReader(io.StringIO("".join(focus.lines([ledger])))))
    hours: dict[datetime, Decimal] = {}
    for made in calls:
        hour = exactly(made.started_ns).replace(minute=0, second=0, microsecond=0)
        hours[hour] = hours.get(hour, Decimal(0)) + Decimal(str(made.spend))
    read = {name: [datetime.fromisoformat(row[name].replace("Z", "+00:00")) for row in rows] for name in PERIODS}
    assert dict(zip(read["ChargePeriodStart"], (Decimal(row["EffectiveCost"]) for row in rows), strict=True)) == hours
    for start, end, month, next_month in zip(*read.values(), strict=True):
        assert end - start == timedelta(hours=1)
        assert month <= start < end <= next_month
        assert (month.day, month.hour, next_month.day, next_month.hour) == (1, 0, 1, 0)
        assert timedelta(days=28) <= next_month - month <= timedelta(days=31)


PERIODS = ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")


@settings(max_examples=20, deadline=None)
@given(CALLS, st.lists(MOMENTS, min_size=3, max_size=3))
def test_growth_between_readings_has_each_call_once(
    folder: Path, told: list[tuple[int, float]], moments: list[int]
) -> None:
    """Whatever begins or ends at the moment of a reading."""
    begin, middle, end = (utc(moment) for moment in sorted(moments))
    calls = calls_of(told)
    with closing(open_ledger(filled(folder, calls))) as ledger:
        parts = [
            sum(side.calls for side in own_side.sums_of(ledger, Scope("openrouter.ai", *cut, "k", "ended_at")).values())
            for cut in ((begin, middle), (middle, end), (begin, end))
        ]
    assert parts[0] + parts[1] == parts[2]


@settings(max_examples=20, deadline=None)
@given(CALLS, MOMENTS, MOMENTS)
def test_pruning_changes_no_growth(folder: Path, told: list[tuple[int, float]], read: int, cut: int) -> None:
    """What ended since a reading is explained by rows, or carried forward, to the digit."""
    at, day = utc(read), exactly(cut).date().isoformat()
    with closing(open_ledger(filled(folder, calls_of(told)))) as ledger:
        note_reading([ledger], "openrouter.ai", "k", Reading(at, Decimal(0)))
        before = explained(ledger)
        prune(ledger, day)
        assert explained(ledger) == before
        assert ledger.execute("SELECT count(*) FROM calls WHERE started_at < ?", (day,)).fetchone() == (0,)


def explained(ledger: sqlite3.Connection) -> Decimal:
    """Return what the ledger has of the growth since its reading."""
    (reading,) = readings_of([ledger], "openrouter.ai", "k")
    sums = own_side.sums_of(ledger, Scope("openrouter.ai", reading.at, key="k", clock="ended_at"))
    return sum((side.usd for side in sums.values()), reading.pruned)


@given(MOMENTS)
def test_a_day_is_whole_where_it_begins_no_earlier(moment: int) -> None:
    """The first of a ledger that begins at midnight is."""
    day = date.fromisoformat(growth.first_whole_day(utc(moment)))
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    assert exactly(moment) <= midnight < exactly(moment) + timedelta(days=1)
