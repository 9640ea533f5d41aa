"""Tells what would be counted twice: one file under two names, and ledgers with rows of the same process."""

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
    """Say on stderr which ledgers have rows of one process, as a copy has. Raises `sqlite3.Error`."""
    if len(books) == 1:
        return
    holders: dict[int, str] = {}
    for path, book in zip(paths, books, strict=True):
        # 0 is of jobs that processes share.
        processes = [row[0] for row in book.execute("SELECT DISTINCT process FROM calls WHERE process <> 0")]
        for other in dict.fromkeys(holders[process] for process in processes if process in holders):
            print(
                f"or-instrument {command}: {other} and {path} hold rows of the same process, which are counted twice",
                file=sys.stderr,
            )
        for process in processes:
            holders.setdefault(process, path)
