"""What the code around a call has said about it: attributes, and who counts its cost. Held in context variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from or_instrument._records import NOTHING, AttributeValue

ATTRIBUTES: Final[ContextVar[Mapping[str, AttributeValue]]] = ContextVar("or_instrument.attributes", default=NOTHING)


@contextmanager
def attributes(**attrs: AttributeValue) -> Iterator[None]:
    """Add attributes to the span of every call that begins inside.

    For sync and async code alike; nested scopes add up, the inner one wins. `None` values are left out. They become
    metric labels only where `instrument(metric_attributes=...)` names their keys.

        with or_instrument.attributes(feature="search", tenant="acme"):
            client.chat.completions.create(...)
    """
    given = {key: value for key, value in attrs.items() if value is not None}
    token = ATTRIBUTES.set({**ATTRIBUTES.get(), **given})
    try:
        yield
    finally:
        ATTRIBUTES.reset(token)
