"""What the code around a call has said about it: attributes, who counts its cost, and whether anybody records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from typing import Final, Protocol

from or_instrument._records import NOTHING, AttributeValue, Call


class Tracker(Protocol):
    """A sink that counts the cost of the calls that begin while it is active."""

    def __call__(self, call: Call) -> None:
        """Count the call."""

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` where nothing more may be spent."""


ATTRIBUTES: Final[ContextVar[Mapping[str, AttributeValue]]] = ContextVar("or_instrument.attributes", default=NOTHING)
TRACKERS: Final[ContextVar[tuple[Tracker, ...]]] = ContextVar("or_instrument.trackers", default=())
"""Those that are active, outermost first; one that was entered twice is there twice."""
RECORDING: Final = Event()
"""Set while `instrument()` is in effect."""


@contextmanager
def attributes(**attrs: AttributeValue) -> Iterator[None]:
    """Add attributes to the span of every call that begins inside.

    For sync and async code alike; nested scopes add up, the inner one wins. `None` values are left out. They become
    metric labels only where `instrument(metric_attributes=...)` names their keys.

        with or_instrument.attributes(feature="search", tenant="acme"):
            client.chat.completions.create(...)
    """
    # A list could still be changed by its owner, and could not be a metric label.
    given = {
        key: tuple(value) if isinstance(value, list) else value for key, value in attrs.items() if value is not None
    }
    token = ATTRIBUTES.set({**ATTRIBUTES.get(), **given})
    try:
        yield
    finally:
        ATTRIBUTES.reset(token)
