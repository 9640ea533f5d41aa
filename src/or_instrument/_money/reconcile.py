"""Compares what a ledger has with what OpenRouter has. Pure: both sides are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from or_instrument._amounts import add, counted
from or_instrument._openrouter.account_records import Activity

_ZERO: Final = Decimal(0)
LEAST_USD: Final = Decimal("0.01")

Place = tuple[str, str]
"""A UTC day and a model."""


class Side(NamedTuple):
    """What one of the two has of some calls. Amounts are USD."""

    usd: Decimal = _ZERO
    """What OpenRouter charged."""
    calls: int = 0
    byok_usd: Decimal = _ZERO
    """What providers billed to keys of the user's own."""
    unknown: int = 0
    """How many of the calls have a cost that is not known."""
    providers: frozenset[str] = frozenset()
    """Who served them, as far as that is known."""

    def plus(self, other: Side) -> Side:
        """Return the sum of both."""
        return Side(
            add(self.usd, other.usd),
            self.calls + other.calls,
            add(self.byok_usd, other.byok_usd),
            self.unknown + other.unknown,
            self.providers | other.providers,
        )


class Line(NamedTuple):
    """Both sides of one day and model, or of all."""

    day: str
    model: str
    ours: Side
    theirs: Side

    @property
    def difference(self) -> Decimal:
        """USD that OpenRouter has charged and we do not have; negative where it is the other way."""
        return add(self.theirs.usd, self.ours.usd.copy_negate())

    @property
    def providers(self) -> list[str]:
        """Who served the calls, as far as one of the two knows; nothing else goes by it."""
        return sorted(self.ours.providers | self.theirs.providers)


def theirs_of(rows: Iterable[Activity]) -> dict[Place, Side]:
    """Return what OpenRouter has, by day and model, whoever served it."""
    sums: dict[Place, Side] = {}
    for row in rows:
        place = ((row.date or "")[:10], plain(row.model or ""))
        served = frozenset(filter(None, (row.provider_name,)))
        side = Side(row.usage or _ZERO, row.requests or 0, row.byok_usage_inference or _ZERO, providers=served)
        sums[place] = sums.get(place, Side()).plus(side)
    return sums


def ours_as_theirs(ours: Mapping[Place, Side], rows: Iterable[Activity]) -> dict[Place, Side]:
    """Return what we have under the names that OpenRouter uses: replies may name a model by its permanent slug."""
    slugs = {plain(row.model_permaslug): plain(row.model) for row in rows if row.model_permaslug and row.model}
    sums: dict[Place, Side] = {}
    for (day, model), side in ours.items():
        name = plain(model)
        place = (day, slugs.get(name, name))
        sums[place] = sums.get(place, Side()).plus(side)
    return sums


def compare(ours: Mapping[Place, Side], theirs: Mapping[Place, Side]) -> list[Line]:
    """Return both sides, line by line, by day and model."""
    return [Line(*place, ours.get(place, Side()), theirs.get(place, Side())) for place in sorted({*ours, *theirs})]


def total(lines: Iterable[Line]) -> Line:
    """Return the sum of all lines."""
    ours, theirs = Side(), Side()
    for line in lines:
        ours, theirs = ours.plus(line.ours), theirs.plus(line.theirs)
    nobody = frozenset[str]()
    return Line("total", "", ours._replace(providers=nobody), theirs._replace(providers=nobody))


def agree(line: Line, tolerance_percent: Decimal) -> bool:
    """Return whether both sides are the same within the larger of the tolerance and 0.01 USD."""
    allowed = max(LEAST_USD, line.theirs.usd * tolerance_percent / 100)
    return abs(line.difference) <= allowed


def reasons(sums: Line, lost: int) -> list[str]:
    """Return what may explain a difference, in words."""
    unseen = sums.theirs.calls - sums.ours.calls
    others = "another client with the same key, or a process that was killed"
    told = []
    if sums.ours.unknown:
        told.append(f"the cost of {counted(sums.ours.unknown, 'call')} of ours is not known")
    if lost:
        told.append(f"{counted(lost, 'call')} could not be written into the ledger")
    if unseen > 0:
        told.append(f"{counted(unseen, 'call')} not seen by us: {others}")
    elif not sums.theirs.calls and sums.difference > 0:
        told.append(f"calls not seen by us may explain it ({others}): GET /key does not count calls")
    return told


def plain(model: str) -> str:
    """Return a model without its variant suffix (`:nitro`)."""
    return model.partition(":")[0]
