"""Adds calls up, exactly: in all, and by model, provider, day and each attribute, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, NamedTuple

from or_instrument._amounts import add
from or_instrument._records import AttributeValue, Call

MODEL: Final = "model"
PROVIDER: Final = "provider"
DAY: Final = "day"
ATTRIBUTE: Final = "attributes."
OTHER: Final = "(other)"
"""The values of a dimension beyond as many as can be kept: in a tracker the later ones, in a table the cheaper ones."""
UNKNOWN: Final = "(unknown)"
NONE: Final = "(none)"
"""What calls without an attribute have as its value, where it has to be named."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_VALUES_LIMIT: Final = 10_000
_DIMENSIONS_LIMIT: Final = 64

Key = tuple[str, str]
"""A dimension and a value of it: `("model", "a/b")`, `("attributes.feature", "search")`."""


class Sum(NamedTuple):
    """Calls added up. `usd` holds what is known; the cost of `unknown` of the calls is not in it."""

    calls: int = 0
    unknown: int = 0
    usd: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    lower_bound: int = 0
    """Of how many calls `usd` holds only what is known to have been billed; more may have been."""

    def plus(self, other: Sum, sign: int = 1) -> Sum:
        """Return the sum of both, or with `sign` -1 the difference."""
        return Sum(
            self.calls + sign * other.calls,
            self.unknown + sign * other.unknown,
            # Unlike a sign, copy_negate() does not round to the application's precision.
            add(self.usd, other.usd if sign > 0 else other.usd.copy_negate()),
            self.input_tokens + sign * other.input_tokens,
            self.output_tokens + sign * other.output_tokens,
            self.lower_bound + sign * other.lower_bound,
        )


class Row(NamedTuple):
    """One call, as it is exported."""

    started_at: str
    """ISO 8601, UTC."""
    operation: str
    model: str
    provider: str
    outcome: str
    missing: str
    """Why the cost is unknown; empty where it is known."""
    usd: Decimal | None
    is_byok: bool | None
    source: str
    input_tokens: int | None
    output_tokens: int | None
    attributes: Mapping[str, str]
    lower_bound: bool = False

    @property
    def sum(self) -> Sum:
        """What the call adds to a sum."""
        tokens = self.input_tokens or 0, self.output_tokens or 0
        return Sum(1, int(self.usd is None), self.usd or Decimal(0), *tokens, int(self.lower_bound))

    def cross(self, dimension: str) -> Key:
        """Return the group of a cross that the call belongs to."""
        values = dict(self.keys)
        return dimension, cross_value([values.get(part) for part in parts_of(dimension)])

    @property
    def keys(self) -> list[Key]:
        """The groups that the call belongs to."""
        named = ((f"{ATTRIBUTE}{name}", value) for name, value in self.attributes.items())
        return [(MODEL, self.model), (PROVIDER, self.provider), (DAY, self.started_at[:10]), *named]


class Totals:
    """Sums of calls; with `is_bounded`, of as many groups as a process should keep of what comes in for ever."""

    def __init__(self, *, is_bounded: bool = True) -> None:
        self.all = Sum()
        self.groups: dict[str, dict[str, Sum]] = {}
        self._is_bounded = is_bounded

    def add(self, part: Sum, keys: Iterable[Key]) -> list[Key]:
        """Add to the sum of all and to those of some groups; return the groups, as far as there was room for them."""
        self.all = self.all.plus(part)
        return [used for dimension, value in keys if (used := self.add_to(dimension, value, part)) is not None]

    def add_to(self, dimension: str, value: str, part: Sum) -> Key | None:
        """Add to the sum of one group alone; return it, `None` where there is no room for its dimension."""
        if self._is_bounded and dimension not in self.groups and len(self.groups) >= _DIMENSIONS_LIMIT:
            return None
        group = self.groups.setdefault(dimension, {})
        if self._is_bounded and value not in group and len(group) >= _VALUES_LIMIT:
            value = OTHER
        group[value] = group.get(value, Sum()).plus(part)
        return dimension, value

    def take_back(self, part: Sum, keys: Iterable[Key]) -> None:
        """Undo an `add` that returned these groups."""
        self.all = self.all.plus(part, -1)
        for dimension, value in keys:
            rest = self.groups[dimension][value].plus(part, -1)
            if rest.calls:
                self.groups[dimension][value] = rest
            else:
                del self.groups[dimension][value]

    def merge(self, other: Totals) -> None:
        """Add another process's totals."""
        self.all = self.all.plus(other.all)
        for dimension, group in other.groups.items():
            for value, part in group.items():
                self.add_to(dimension, value, part)

    def fold(self) -> None:
        """Keep of each dimension as many values as can be shown, the dearest; put the others together."""
        for group in self.groups.values():
            for value in list(_dearest_first(group))[_VALUES_LIMIT:]:
                part = group.pop(value)
                group[OTHER] = group.get(OTHER, Sum()).plus(part)

    def only(self, dimensions: Iterable[str]) -> Totals:
        """Return the sums of some dimensions."""
        shown = Totals()
        shown.all = self.all
        shown.groups = {dimension: self.groups.get(dimension, {}) for dimension in dimensions}
        return shown

    def by(self, name: str) -> dict[str, Sum]:
        """Return the sums of one dimension, the dearest first."""
        return _dearest_first(self.groups.get(dimension_of(name), {}))


def _dearest_first(group: Mapping[str, Sum]) -> dict[str, Sum]:
    return dict(sorted(group.items(), key=lambda item: (item[1].usd.copy_negate(), item[0])))


def dimension_of(name: str) -> str:
    """Return the dimension that a user means: `model`, `provider` or `day`, else the attribute of that name.

    Several, separated by commas, are their cross: one dimension, whose values are JSON lists.
    """
    return ",".join(
        part if part in (MODEL, PROVIDER, DAY) or part.startswith(ATTRIBUTE) else f"{ATTRIBUTE}{part}"
        for part in parts_of(name)
    )


def parts_of(dimension: str) -> list[str]:
    """Return the dimensions that a cross is made of; of another, itself."""
    return [part.strip() for part in dimension.split(",") if part.strip()]


def cross_value(values: Sequence[str | None]) -> str:
    """Return the value of a cross; `None` is an attribute that the calls do not have."""
    return json.dumps([NONE if value is None else value for value in values], ensure_ascii=False)


def row_of(call: Call) -> Row:
    """Return a call as it is exported."""
    request, reply, usage = call.request, call.reply, call.usage
    return Row(
        moment_of(call.started_ns).isoformat(timespec="milliseconds"),
        request.operation,
        reply.model or request.model or UNKNOWN,
        reply.provider or UNKNOWN,
        call.outcome,
        call.missing or "",
        None if usage is None else usage.spend_exact,
        None if usage is None else usage.is_byok,
        "" if usage is None else usage.source,
        None if usage is None else usage.input_tokens,
        None if usage is None else usage.output_tokens,
        {name: text_of(value) for name, value in request.attributes.items()},
        usage is not None and usage.lower_bound,
    )


def moment_of(ns: int) -> datetime:
    """Return the microsecond in UTC that is so many nanoseconds after the epoch; a float of seconds would round it."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def usd_text(usd: Decimal) -> str:
    """Return an amount with all its digits and no exponent."""
    return f"{usd:f}"


def text_of(value: AttributeValue) -> str:
    """Return the value of an attribute as exports and the ledger show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
