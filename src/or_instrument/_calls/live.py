"""The calls of this process that are still open: ended when it exits, dropped in a child that it forks."""

from __future__ import annotations

import itertools
import os
import weakref
from typing import Final, Literal, Protocol

from or_instrument._calls.reaper import REAPER

new_id: Final = itertools.count(1).__next__
"""Returns an id for a `Call`, unique within the process."""


class Open(Protocol):
    """A call that has not ended."""

    def put_off(self, outcome: Literal["abandoned"], /) -> None:
        """End it later."""

    def discard(self) -> None:
        """End it without a record."""


LIVE: Final[dict[int, weakref.ref[Open]]] = {}
"""By their ids."""


def open_calls() -> list[Open]:
    """Return them."""
    return [call for ref in list(LIVE.values()) if (call := ref()) is not None]


def abandon_all() -> None:
    """Abandon every call that is still open: the interpreter exits."""
    for call in open_calls():
        call.put_off("abandoned")


def discard_all() -> None:
    """Drop what was open when this process was forked off: it is the parent's, and the parent records it."""
    for call in open_calls():
        call.discard()
    REAPER.reset()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=discard_all)
