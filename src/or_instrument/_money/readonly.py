"""Opens a ledger to be read, also where this user may write neither it nor beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from or_instrument._money.schema import NotALedgerError, open_ledger, version_of

if TYPE_CHECKING:
    import sqlite3

_INSTEAD: Final = "ask as the user who writes it, or copy it, its -wal and its -shm file into a folder of your own"


@contextmanager
def ledger_to_read(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Yield a ledger as it is at one moment, whatever is written meanwhile.

    Raises what `open_ledger` raises; `NotALedgerError` also where it cannot be read while others write it.
    """
    import sqlite3  # noqa: PLC0415 - who keeps no ledger need not have it

    try:
        ledger = open_ledger(path)
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc):
            raise
    else:
        with closing(ledger):
            ledger.execute("BEGIN")
            yield ledger
        return
    # SQLite keeps its newest rows and its locks in files beside it, which it cannot make here. Where there are no such
    # rows nobody is writing, and the file can be read as one that never changes.
    before = _state(path)
    with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?immutable=1", uri=True)) as ledger:
        if version_of(ledger, path) == 0:
            raise NotALedgerError(f"{path} is empty")
        yield ledger
    if _state(path) != before:
        raise NotALedgerError(f"{path} was written while it was read; ask once more, or {_INSTEAD}")


def _state(path: str | Path) -> tuple[int, int]:
    with Path(path).open("rb"):
        pass  # it says why where that is not allowed
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise NotALedgerError(f"{path} is being written, and this user may not write beside it: {_INSTEAD}")
    told = Path(path).stat()
    return told.st_mtime_ns, told.st_size
