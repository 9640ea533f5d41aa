"""What tests of commands share: a ledger, and no other one around."""

from __future__ import annotations

from pathlib import Path

import pytest
from filled_ledger import call, fill


@pytest.fixture(autouse=True)
def _no_ledger_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OR_INSTRUMENT_LEDGER", raising=False)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Return a ledger with calls of three days, two models and two tenants."""
    return fill(
        tmp_path / "costs.db",
        [
            call(1, 0.1, "2026-11-24T23:59", tenant="acme", input_tokens=3, output_tokens=2),
            call(2, 0.2, "2026-11-25T00:00", tenant="zeta", model="b/other", input_tokens=3),
            call(3, 1e-07, tenant="acme", provider="Q"),
            call(4, None, tenant="acme"),
            call(5, 0.3, model="b/other"),
        ],
    )
