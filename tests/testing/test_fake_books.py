"""The fake keeps books by key and by UTC day, and tells of them as GET /key and GET /activity do."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from or_instrument.testing import Answer, FakeOpenRouter, Received

MONDAY = datetime(2026, 11, 2, 12, tzinfo=timezone.utc).timestamp()
DAY = 86_400.0


def send(fake: FakeOpenRouter, method: str, path: str, key: str = "k", **body: Any) -> Any:
    """Return the JSON body that a request with this key gets."""
    headers = {"Authorization": f"Bearer {key}"}
    received = Received.of(method, f"/api/v1/{path}", headers, json.dumps(body).encode())
    return json.loads(fake.reply(received).steps[0].data)


def spend(fake: FakeOpenRouter, usd: float, key: str = "k", **answer: Any) -> None:
    """Make one chat call of this cost."""
    fake.script(Answer(cost=usd, **answer))
    send(fake, "POST", "chat/completions", key, model="a/model")


def activity(fake: FakeOpenRouter, query: str = "") -> Any:
    """Return the rows of GET /activity."""
    fake.management_key = True
    return send(fake, "GET", f"activity{query}")["data"]


def test_each_key_has_its_own_book() -> None:
    """GET /key tells what the asking key was charged, and the account holds the sum."""
    fake = FakeOpenRouter()
    spend(fake, 0.25, "one", byok=True, upstream=2)
    spend(fake, 0.5, "two")
    told = [send(fake, "GET", "key", key)["data"] for key in ("one", "two", "three")]
    assert [(data["usage"], data["byok_usage"]) for data in told] == [(0.25, 2), (0.5, 0), (0, 0)]
    assert (fake.charged_to("one"), fake.spent_by("one")) == (Decimal("0.25"), Decimal("2.25"))
    assert fake.charged_usd == fake.charged_to("one") + fake.charged_to("two")


def test_header_of_anthropic_names_the_key_too() -> None:
    """A key that comes as `x-api-key` has the same book as one that comes as a bearer token."""
    fake = FakeOpenRouter()
    fake.script(Answer(cost=0.5))
    fake.reply(Received.of("POST", "/api/v1/messages", {"x-api-key": "k"}, b'{"model": "a/model"}'))
    assert send(fake, "GET", "key")["data"]["usage"] == 0.5


def test_windows_of_a_key_are_utc_days_weeks_and_months() -> None:
    """A key's usage counts today, this week from Monday, this month, and all time."""
    fake = FakeOpenRouter()
    for days in (-3, -1, 0, 1):
        fake.now = lambda days=days: MONDAY + days * DAY  # type: ignore[misc]
        spend(fake, 1)
    data = send(fake, "GET", "key")["data"]
    assert [data[f"usage{name}"] for name in ("_daily", "_weekly", "_monthly", "")] == [1, 2, 3, 4]


def test_budgets_tell_what_is_left() -> None:
    """GET /key lists each budget with its window's spend, the key's own limit last, and the tightest as effective."""
    fake = FakeOpenRouter()
    fake.now = lambda: MONDAY
    fake.key_limit_usd, fake.key_budgets = 5, [{"scope": "workspace", "limit_usd": 2, "reset_interval": "weekly"}]
    spend(fake, 0.5)
    data = send(fake, "GET", "key")["data"]
    told = [(one["scope"], one["spend_usd"], one["remaining_usd"], one["resets_at"]) for one in data["budgets"]]
    assert told == [
        ("workspace", 0.5, 1.5, "2026-11-09T00:00:00Z"),
        ("key_limit", 0.5, 4.5, "2026-12-01T00:00:00Z"),
    ]
    assert data["effective_budget"] == data["budgets"][0]


def test_activity_tells_completed_days() -> None:
    """GET /activity has one row a UTC day, model and provider, without today and without days over 30 ago."""
    fake = FakeOpenRouter()
    for days in (-40, -2, -2, -1, 0):
        fake.now = lambda days=days: MONDAY + days * DAY  # type: ignore[misc]
        spend(fake, 0.25, byok=True, upstream=1, prompt_tokens=7, completion_tokens=3)
    rows = [(row["date"], row["requests"], row["usage"], row["byok_usage_inference"]) for row in activity(fake)]
    assert rows == [("2026-11-01", 1, 0.25, 1), ("2026-10-31", 2, 0.5, 2)]
    assert [row["prompt_tokens"] for row in activity(fake, "?date=2026-10-31")] == [14]


def test_activity_of_one_key() -> None:
    """GET /activity?api_key_hash= tells of the key with that SHA-256 only."""
    fake = FakeOpenRouter()
    fake.now = lambda: MONDAY - DAY
    spend(fake, 0.25, "one")
    spend(fake, 0.5, "two")
    fake.now = lambda: MONDAY
    hashed = hashlib.sha256(b"two").hexdigest()
    assert [row["usage"] for row in activity(fake, f"?api_key_hash={hashed}")] == [0.5]
    assert [row["usage"] for row in activity(fake)] == [0.75]


def test_activity_wants_a_management_key() -> None:
    """GET /activity is refused to an inference key."""
    assert send(FakeOpenRouter(), "GET", "activity")["error"]["code"] == 403


def test_activity_is_what_the_official_sdk_reads() -> None:
    """The rows of GET /activity and the budgets of GET /key parse as the official SDK's own models."""
    components = pytest.importorskip("openrouter.components")
    fake = FakeOpenRouter()
    fake.key_limit_usd, fake.now = 5, lambda: MONDAY - DAY
    spend(fake, 0.25)
    fake.now = lambda: MONDAY
    assert components.ActivityResponse.model_validate({"data": activity(fake)}).data[0].usage == 0.25
    budgets = send(fake, "GET", "key")["data"]["budgets"]
    assert components.KeyBudget.model_validate(budgets[0]).remaining_usd == 4.75
