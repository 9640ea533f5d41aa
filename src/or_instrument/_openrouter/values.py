"""Reads single values out of a JSON object or an SDK model, and takes nothing for what it is not.

An SDK model keeps the fields it declares in `__dict__` and all others in `__pydantic_extra__`; looking there is many
times faster than `getattr`, which for a missing name goes through pydantic's fallback.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from or_instrument._amounts import exact

_log = logging.getLogger("or_instrument")
_INT64_MAX = 2**63 - 1
_LABEL_LENGTH = 256
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_DIGITS = re.compile(r"[0-9]{1,100}(\.[0-9]{1,100})?")
_EMPTY: Mapping[str, object] = {}


def get(source: object, name: str) -> object:
    """Return the value of a key or field, `None` where it is absent or `source` has no fields at all."""
    if type(source) is dict:
        return source.get(name)
    if source is None:
        return None
    fields = getattr(source, "__dict__", _EMPTY)
    if name in fields:
        return fields[name]
    extra = getattr(source, "__pydantic_extra__", None)
    if extra:
        return extra.get(name)
    return source.get(name) if isinstance(source, Mapping) else None


def fields(source: object) -> Mapping[str, object]:
    """Return all keys or fields at once, for who needs several of them; none where `source` has no fields at all."""
    if type(source) is dict:
        return source
    extra = getattr(source, "__pydantic_extra__", None)
    if extra:
        return {**extra, **source.__dict__}
    declared: Mapping[str, object] | None = getattr(source, "__dict__", None)
    if declared:
        return declared
    return source if isinstance(source, Mapping) else _EMPTY


def items(value: object) -> Sequence[object]:
    """Return a list as it is, anything else as an empty one."""
    return value if isinstance(value, (list, tuple)) else ()


def length(value: object) -> int | None:
    """Return how many items a list has."""
    return len(value) if isinstance(value, (list, tuple)) else None


def label(value: object) -> str | None:
    """Return a non-empty string, cut to a length that an attribute can bear."""
    if type(value) is str and value.isascii() and len(value) <= _LABEL_LENGTH:
        return value or None
    if not isinstance(value, str) or not value:
        return None
    text = value[:_LABEL_LENGTH]
    # JSON may escape half a surrogate pair, over which an exporter would lose its whole batch.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def code(value: object) -> str | None:
    """Return an identifier (`rate_limit_exceeded`, `429`); free text, which may quote a prompt, is refused."""
    if type(value) is int and abs(value) < _INT64_MAX:
        return str(value)
    return value if isinstance(value, str) and _CODE.match(value) else None


def flag(value: object) -> bool | None:
    """Return a bool; 0, 1 and "true" are not bools."""
    return value if isinstance(value, bool) else None


def count(value: object) -> int | None:
    """Return a whole number from 0 to what OpenTelemetry can carry (64 bits)."""
    if type(value) is int and 0 <= value <= _INT64_MAX:
        return value
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and 0 <= value <= _INT64_MAX:
        return int(value)
    _log_dropped("a token count", value)
    return None


def amount(value: object) -> float | None:
    """Return USD from a number or a numeric string; no bool, NaN, infinity or negative is money."""
    if type(value) is float and 0.0 <= value < math.inf:
        return value
    usd = _from_zero_up(value, "an amount")
    return Written.of(value, usd) if isinstance(value, str) and usd is not None else usd


class Written(float):
    """An amount that was sent as a text with more digits than a float has: they are its `str()`."""

    _text: str

    @classmethod
    def of(cls, text: str, number: float) -> float:
        """Return a number with the digits of its text, where they say more."""
        if not _DIGITS.fullmatch(text) or Decimal(text) == exact(number):
            return number
        written = cls(number)
        written._text = text
        return written

    def __str__(self) -> str:
        """Return it as it was sent."""
        return self._text


def seconds(value: object) -> float | None:
    """Return seconds from a number or a numeric string; no bool, NaN, infinity or negative is a time."""
    return _from_zero_up(value, "a number of seconds")


def _from_zero_up(value: object, kind: str) -> float | None:
    if value is None:
        return None
    said = number(value)
    if said is not None and 0.0 <= said < math.inf:
        return said
    _log_dropped(kind, value)
    return None


def number(value: object) -> float | None:
    """Return a number, or what a numeric string says; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    # Python reads "1_000" and the digits of every script, JSON does not.
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _log_dropped(kind: str, value: object) -> None:
    _log.debug("%s is dropped: a value of type %s cannot be one", kind, type(value).__name__)
