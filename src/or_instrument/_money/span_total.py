"""Writes on a span what its calls cost together, whichever trackers count them: each call once."""

from __future__ import annotations

import weakref
from typing import Final, Protocol

from or_instrument._money.tally import Tally
from or_instrument._money.totals import Row
from or_instrument._records import Call

_TRACKED_SPEND: Final = "openrouter.tracked.spend"


class Span(Protocol):
    """What is needed of an OpenTelemetry span."""

    def is_recording(self) -> bool:
        """Return whether it has not ended, and is sampled."""

    def set_attribute(self, key: str, value: float) -> object:
        """Write an attribute in place of an earlier one."""


class SpanTotal:
    """The calls of one span. It does not hold the span, which may go while this is kept for it."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._counted: set[int] = set()

    def count(self, span: Span, call: Call, row: Row) -> None:
        """Count a call, or what was looked up of one, unless another tracker has; write the sum where it is known."""
        if call.id in self._counted or not span.is_recording():
            return
        self._counted.add(call.id)
        if self._tally.add(call, row) and row.usd is not None:
            span.set_attribute(_TRACKED_SPEND, float(self._tally.totals.all.usd))


_TOTALS: Final[dict[int, tuple[weakref.ref[Span], SpanTotal]]] = {}
_HELD: Final[dict[int, tuple[Span, SpanTotal]]] = {}
"""By the identity of the span, as one may compare or hash as it likes. Held are those that take no weak reference."""


def total_of(span: Span) -> SpanTotal:
    """Return the one total of a span; whoever shares it between threads holds a lock, here too."""
    number = id(span)
    if number in _HELD:
        return _HELD[number][1]
    known = _TOTALS.get(number)
    if known is not None and known[0]() is span:
        return known[1]
    total = SpanTotal()
    try:
        _TOTALS[number] = weakref.ref(span, lambda _: _TOTALS.pop(number, None)), total
    except TypeError:
        _let_go_of_ended()
        _HELD[number] = span, total
    return total


def _let_go_of_ended() -> None:
    for number, (span, _) in list(_HELD.items()):
        if not span.is_recording():
            del _HELD[number]
