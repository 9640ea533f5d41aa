"""From when on the growth of a key can be compared with a ledger. Pure: what is known is given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from or_instrument._amounts import add
from or_instrument._money.readings import Reading
from or_instrument._openrouter.account_records import KeyStatus


def first_whole_day(moment: str) -> str:
    """Return the first UTC day that begins no earlier than a moment: `2026-11-27` for `2026-11-26T16:00:00.000000Z`."""
    day = moment[:10]
    is_midnight = not moment[10:].strip("TZ:.0")
    return day if is_midnight else (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def windows(status: KeyStatus, today: date, covered_from: str) -> list[Reading]:
    """Return the beginnings of this month, week (from Monday) and day that a ledger covers.

    Each is as if the key had been read then: the service tells how much it was charged since.
    """
    told = (
        (today.replace(day=1), status.usage_monthly),
        (today - timedelta(days=today.weekday()), status.usage_weekly),
        (today, status.usage_daily),
    )
    return [
        Reading(day.isoformat(), add(status.usage or Decimal(0), grown.copy_negate()))
        for day, grown in told
        if grown is not None and first_whole_day(covered_from) <= day.isoformat()
    ]


def begin(readings: Sequence[Reading], windows: Sequence[Reading], since: str | None) -> Reading | None:
    """Return the reading to compare with: the first from a day on, else the last, else the longest window."""
    if since is None and readings:
        return readings[-1]
    known = [reading for reading in (*readings, *windows) if reading.at >= (since or "")]
    return min(known, default=None)
