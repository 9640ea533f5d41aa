"""Ledgers with rows in them, and calls to fill them with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from or_instrument import Call, Reply, Request, Usage
from or_instrument._money.entry import Entry, entry_of, utc
from or_instrument._money.journal import Journal
from or_instrument._money.schema import open_ledger


def made_at(moment: str) -> int:
    """Return a moment (`2026-11-26T12:00`, UTC) in nanoseconds."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).timestamp()) * 10**9


def call(number: int, cost: float | None, at: str = "2026-11-26T12:00", **said: Any) -> Call:
    """Return a finished call; `said` are fields of its usage, its model, provider, host or id, else attributes."""
    model, provider = said.pop("model", "a/model"), said.pop("provider", "P")
    host, generation = said.pop("host", "openrouter.ai"), said.pop("id", None)
    fields = {name: said.pop(name) for name in list(said) if name in Usage._fields}
    usage = None if cost is None else Usage(**{"cost": cost, "is_byok": False, **fields})
    request = Request("chat", "openrouter", model, host, 443, attributes=said)
    reply = Reply(id=generation, model=model, provider=provider, usage=usage)
    missing = None if usage is not None and usage.spend is not None else "closed"
    return Call(number, request, reply, "complete", made_at(at), 1.0, missing=missing)


def fill(path: Path, calls: Iterable[Call], *, process: int = 1, api_key_hash: str | None = None) -> Path:
    """Write calls into a ledger; return its path."""
    write(path, [entry_of(made, process, api_key_hash) for made in calls])
    return path


def write(path: Path, entries: Sequence[Entry]) -> None:
    """Write rows into a ledger."""
    with closing(Journal(str(path))) as journal:
        journal.write(entries)


def begin(path: Path, moment: str) -> None:
    """Have a ledger begin at a moment (`2026-11-26T12:00`, UTC)."""
    with closing(open_ledger(path, make=True)) as ledger:
        ledger.execute("UPDATE coverage SET begun_at = ?", (utc(made_at(moment)),))


def note_lost(path: Path, day: str, calls: int) -> None:
    """Note in a ledger that calls of a day could not be written."""
    with closing(Journal(str(path))) as journal:
        journal.note_lost(1, {day: calls})
