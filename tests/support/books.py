"""The fake service's books against what arrived."""

from __future__ import annotations

from decimal import Decimal

import pytest
from otlp_receiver import Received

from or_instrument.testing import FakeOpenRouter

REQUESTS = 18


def assert_books(fake: FakeOpenRouter, receiver: Received, calls: int = REQUESTS) -> None:
    """Hold spans and metrics against what the service charged, to the last digit."""
    spans = receiver.spans()
    spent = sum((Decimal(str(span.attributes["openrouter.usage.spend"])) for span in spans), Decimal(0))
    assert len(fake.requests) == calls
    assert (len(spans), spent) == (calls, fake.charged_usd)
    assert len({span.attributes["gen_ai.response.id"] for span in spans}) == calls
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd), abs=1e-12)
