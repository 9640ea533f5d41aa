"""Which ledgers this process writes, and which of them is in use; SQLite is not asked for until one is."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from or_instrument._calls.worker import PerKind, new_lock

if TYPE_CHECKING:
    from threading import Lock

    from or_instrument._money.ledger import Ledger

_FLUSH_S: Final = 5.0
_ledgers: Final[dict[str, Ledger]] = {}
_in_use: str | None = None
_FORK_WAIT_S: Final = 1.0
COMPARING: Final = PerKind(new_lock)
"""Held while a ledger is open to be compared with: one for all, so that a fork can be made while none is."""
_held: Final[dict[int, list[Lock]]] = {}
"""While a fork is made, by each thread that makes one."""


def ledger_at(path: str) -> Ledger:
    """Return the one ledger of this process that writes into a file, which is now in use.

    Raises `ImportError` where this Python was built without SQLite.
    """
    global _in_use  # noqa: PLW0603 - one per process
    from or_instrument._money.ledger import Ledger  # noqa: PLC0415 - who keeps none need not have SQLite

    _in_use = path
    return _ledgers.setdefault(path, Ledger(path))


def ledger_path() -> str | None:
    """Return where the calls of this process are written, `None` where they are not."""
    return _in_use


def leave_ledger() -> None:
    """Let no ledger be in use; calls that are still open are written when they end."""
    global _in_use  # noqa: PLW0603 - one per process
    _in_use = None


def flush_ledgers(timeout_s: float = _FLUSH_S) -> bool:
    """Write the ledger in use, then those that were left; return whether all of it was written in time."""
    deadline = time.monotonic() + timeout_s
    in_use = None if _in_use is None else _ledgers.get(_in_use)
    written = [in_use is None or in_use.flush(timeout_s)]
    for ledger in list(_ledgers.values()):
        if ledger is not in_use:
            written.append(ledger.finish(max(0.0, deadline - time.monotonic())))
    return all(written)


def close_ledgers(timeout_s: float = _FLUSH_S) -> None:
    """Write all ledgers, or tell what is lost, and leave each as one file that can be moved and copied."""
    is_written = flush_ledgers(timeout_s)
    for ledger in list(_ledgers.values()):
        ledger.close(is_written=is_written)


def _hold_all() -> None:
    """Let no statement run and no ledger be open while a fork is made.

    The child would wait for SQLite's own locks for ever, and take those on the file for its own, which are its
    parent's: others would then throw away the log that it writes.
    """
    held = _held[threading.get_ident()] = []
    comparing = COMPARING.made
    if comparing is not None and comparing.acquire(timeout=_FORK_WAIT_S):
        held.append(comparing)
    for ledger in list(_ledgers.values()):
        ledger.hold(held)


def _let_go_all() -> None:
    for lock in _held.pop(threading.get_ident(), ()):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_let_go_all, after_in_child=_let_go_all)
