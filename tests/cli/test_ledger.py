"""`or-instrument ledger prune` lets go of old rows."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from filled_ledger import call, fill, note_lost

from or_instrument._cli import ledger_options, main
from or_instrument._money.schema import open_ledger


def test_prune_keeps_the_last_days(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today and those before it; older rows go, and so does what is known of lost ones."""
    now = datetime.now(timezone.utc)
    clock = SimpleNamespace(now=lambda _zone: now)  # it may be midnight
    monkeypatch.setattr(ledger_options, "datetime", clock)
    ages = (0, 1, 2, 3)
    days = [(now - timedelta(days=age)).strftime("%Y-%m-%dT00:00") for age in ages]
    path = fill(tmp_path / "costs.db", [call(age, 1.0, at) for age, at in zip(ages, days, strict=True)])
    note_lost(path, days[3][:10], 9)
    assert main.main(["ledger", "prune", "--keep", "2d", "--ledger", str(path)]) == 0
    assert f"{path}: 2 rows of days before {days[1][:10]} removed" in capsys.readouterr().out
    with closing(open_ledger(path)) as ledger:
        assert [row[0] for row in ledger.execute("SELECT call FROM calls ORDER BY call")] == [0, 1]
        assert ledger.execute("SELECT count(*) FROM lost").fetchone() == (0,)


def test_prune_needs_a_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and what is no number of days."""
    assert main.main(["ledger", "prune", "--keep", "2d"]) == 2
    assert "OR_INSTRUMENT_LEDGER" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main.main(["ledger", "prune", "--keep", "2026-11-01"])
