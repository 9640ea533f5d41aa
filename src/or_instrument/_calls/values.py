"""Turns what an application says of its calls into values that spans and metric labels can have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from or_instrument._records import AttributeValue

_Scalar: TypeAlias = str | bool | int | float
_BYTES: Final = (bytes, bytearray, memoryview)
_INTEGERS: Final = range(-(2**63), 2**63)
"""Those that OTLP can carry."""


def plain(value: object) -> AttributeValue | None:
    """Return a value as a plain `str`, `bool`, `int` or `float`, or as a tuple of one of these types.

    An Enum is its value, a UUID or Decimal its text, a date or time its ISO 8601. `None` where it is none of these.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if not isinstance(value, Sequence) or isinstance(value, (str, *_BYTES)):
        return _scalar(value)
    scalars = tuple(_scalar(item) for item in value if item is not None)
    # OpenTelemetry drops a sequence of several types.
    is_one_type = None not in scalars and len(set(map(type, scalars))) <= 1
    return cast("tuple[str, ...]", scalars) if is_one_type else None


def _scalar(value: object) -> _Scalar | None:
    for kind, made_plain in _KINDS:
        if isinstance(value, kind):
            scalar: _Scalar | None = made_plain(value)
            return None if type(scalar) is int and scalar not in _INTEGERS else scalar
    return None


_KINDS: Final[tuple[tuple[type, Callable[[Any], _Scalar | None]], ...]] = (
    (Enum, lambda value: _scalar(value.value)),
    (bool, bool),
    # Of a subclass what it is, whatever methods of its own say.
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (date, lambda value: value.isoformat()),
    (time, lambda value: value.isoformat()),
    (UUID, str),
    (Decimal, str),
)
"""The first that fits counts: a `bool` is an `int`, and an Enum may be a text."""
