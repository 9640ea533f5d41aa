"""Tells what would be counted twice: one file under two names, and ledgers with the same calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def file_of(path: str) -> object:
    """Return what is equal for all names of one file, hard links included."""
    try:
        told = os.stat(path)  # noqa: PTH116 - a path object may refuse the text
    except (OSError, ValueError):
        return os.path.realpath(path)
    # Some file systems number no files.
    return (told.st_dev, told.st_ino) if told.st_ino else os.path.realpath(path)


def tell_copies(command: str, paths: Sequence[str], books: Sequence[sqlite3.Connection]) -> None:
    """Say on stderr which ledgers have the same calls, as a copy has. Raises `sqlite3.Error`."""
    if len(books) == 1:
        return
    seen: list[tuple[str, sqlite3.Connection, set[int]]] = []
    for path, book in zip(paths, books, strict=True):
        # 0 is of jobs that processes share.
        processes = {row[0] for row in book.execute("SELECT DISTINCT process FROM calls WHERE process <> 0")}
        for other, former, known in seen:
            if any(_share_calls(former, book, process) for process in processes & known):
                print(
                    f"or-instrument {command}: {other} and {path} hold the same calls, which are counted twice",
                    file=sys.stderr,
                )
        seen.append((path, book, processes))


def _share_calls(one: sqlite3.Connection, other: sqlite3.Connection, process: int) -> bool:
    # A process whose ledger was moved goes on in the next file, with higher numbers.
    first, last = other.execute("SELECT min(call), max(call) FROM calls WHERE process = ?", (process,)).fetchone()
    calls = one.execute("SELECT call FROM calls WHERE process = ? AND call BETWEEN ? AND ?", (process, first, last))
    found = "SELECT 1 FROM calls WHERE process = ? AND call = ?"
    return any(other.execute(found, (process, call)).fetchone() for (call,) in calls)
