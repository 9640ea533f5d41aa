"""A ledger is read where it can only be read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from filled_ledger import call, fill

from or_instrument._money import readonly
from or_instrument._money.query import totals_of
from or_instrument._money.schema import NotALedgerError


def test_what_is_written_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite's locks cannot keep it out."""
    book = fill(tmp_path / "costs.db", [call(number, 0.1) for number in range(5)])

    def refused(_path: object) -> Any:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(readonly, "open_ledger", refused)
    with readonly.ledger_to_read(book) as ledger:
        assert totals_of(ledger, []).all.calls == 5
    with pytest.raises(NotALedgerError, match="written while it was read"), readonly.ledger_to_read(book):
        os.utime(book, ns=(1, 1))
    book.write_bytes(b"")
    with pytest.raises(NotALedgerError, match="is empty"), readonly.ledger_to_read(book):
        pass


def test_a_ledger_is_read_as_of_one_moment(tmp_path: Path) -> None:
    """A call that is written between two tables is in neither: they have the same total."""
    book = fill(tmp_path / "costs.db", [call(1, 0.1)])
    with readonly.ledger_to_read(book) as ledger:
        before = totals_of(ledger, ["model"]).all
        fill(book, [call(2, 0.1)])
        assert totals_of(ledger, ["day"]).all == before
