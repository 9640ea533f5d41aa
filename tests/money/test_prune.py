"""What pruning asks of a ledger."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

from filled_ledger import call, fill

from or_instrument._money.prune import prune
from or_instrument._money.readings import Reading, note_reading, readings_of
from or_instrument._money.schema import open_ledger


def test_prune_looks_at_no_later_reading(tmp_path: Path) -> None:
    """Whoever compares every hour has thousands of readings, and those who write would wait for each."""
    questions = []
    with closing(open_ledger(fill(tmp_path / "costs.db", [call(1, 0.5)], api_key_hash="k"))) as ledger:
        for minute in ("11:59", "12:01", "12:02"):
            at = f"2026-11-26T{minute}:00.000000Z"
            note_reading([ledger], "openrouter.ai", "k", Reading(at, Decimal(0)))
        ledger.set_trace_callback(questions.append)
        assert prune(ledger, "2026-11-27") == 1
        assert [reading.pruned for reading in readings_of([ledger], "openrouter.ai", "k")] == [Decimal("0.5"), 0]
    assert sum("cost_e12" in question for question in questions) == 1
