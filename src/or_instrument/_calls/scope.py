"""What the code around a call has said about it: attributes, who counts its cost, and whether anybody records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from or_instrument._calls.own_names import is_ours
from or_instrument._calls.shield import warn_once
from or_instrument._records import NOTHING, AttributeValue, Call

if TYPE_CHECKING:
    from datetime import date, time
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    GivenScalar: TypeAlias = str | float | bool | Enum | UUID | Decimal | date | time
    GivenValue: TypeAlias = GivenScalar | Sequence[GivenScalar | None] | None


class Tracker(Protocol):
    """A sink that counts the cost of the calls that begin while it is active."""

    def __call__(self, call: Call) -> None:
        """Count the call."""

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` where nothing more may be spent."""

    def hold(self, call: Call) -> None:
        """Take the spend of a call for spent, though the call is not counted yet, and may be part of another."""

    def let_go(self, call: Call) -> None:
        """Forget a call that turned out to be part of another."""


class _Scope:
    """What one `attributes()` says."""

    __slots__ = ("has_ended_elsewhere", "told")

    def __init__(self, told: Mapping[str, AttributeValue]) -> None:
        self.told = told
        self.has_ended_elsewhere = False


ATTRIBUTES: Final[ContextVar[Mapping[str, AttributeValue]]] = ContextVar("or_instrument.attributes", default=NOTHING)
"""What all of the open scopes together say."""
_SCOPES: Final[ContextVar[tuple[_Scope, ...]]] = ContextVar("or_instrument.scopes", default=())
"""They themselves, outermost first."""
TRACKERS: Final[ContextVar[tuple[Tracker, ...]]] = ContextVar("or_instrument.trackers", default=())
"""Those that are active, outermost first; one that was entered twice is there twice."""
_ALLOWED: Final = "Allowed: texts, numbers, flags, Enums, UUIDs, dates, times, and lists of one of these types."


class Recording:
    """Whether `instrument()` is in effect."""

    is_on = False


RECORDING: Final = Recording()


@contextmanager
def attributes(**attrs: GivenValue) -> Iterator[None]:
    """Add attributes to the span of every call that begins inside.

    For sync and async code alike; nested scopes add up, the inner one wins. They become metric labels only where
    `instrument(metric_attributes=...)` names their keys. An Enum is its value, a UUID or Decimal its text, a date or
    time its ISO 8601; `None` is left out. What else is no text, number, flag or list of such is left out with one
    warning, and so is what has a name of ours, such as `gen_ai.usage.cost`, `openrouter.*` or `error.type`; nothing is
    raised.

        with or_instrument.attributes(feature="search", tenant="acme"):
            client.chat.completions.create(...)
    """
    own = _Scope(plain_attributes(_of_the_user(attrs)))
    token = _put_on((*_SCOPES.get(), own))
    try:
        yield
    finally:
        # A generator may be ended before one that was begun earlier, or in another context. The one that it began in
        # is then never left: it would keep one more scope of each generator that is broken off.
        scopes = _SCOPES.get()
        try:
            _SCOPES.reset(token)
        except ValueError:
            own.has_ended_elsewhere = True
        _put_on(scope for scope in scopes if scope is not own)


def _put_on(given: Iterable[_Scope]) -> Token[tuple[_Scope, ...]]:
    scopes = tuple(scope for scope in given if not scope.has_ended_elsewhere)
    ATTRIBUTES.set({key: value for scope in scopes for key, value in scope.told.items()})
    return _SCOPES.set(scopes)


def _of_the_user(attrs: Mapping[str, object]) -> Mapping[str, object]:
    ours = [key for key in attrs if is_ours(key)]
    if not ours:
        return attrs
    for key in ours:
        what = f"is left out: only what was recorded has this name. Give yours another, such as app.{key}."
        warn_once(f"the attribute {key}", what)
    return {key: value for key, value in attrs.items() if key not in ours}


def plain_attributes(attrs: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Return attributes as OpenTelemetry takes them on spans and metrics alike, and as nobody can change them."""
    made: dict[str, AttributeValue] = {}
    for key, value in attrs.items():
        if value is None:
            continue
        plain = value if type(value) is str else _plain(value)
        if plain is None:
            what = f"is left out: a value of type {type(value).__qualname__} cannot be one. {_ALLOWED}"
            warn_once(f"the attribute {key}", what)
        else:
            made[key] = plain
    return made


def _plain(value: object) -> AttributeValue | None:
    from or_instrument._calls.values import plain  # noqa: PLC0415 - uuid and datetime take long to import

    try:
        return plain(value)
    except Exception:  # noqa: BLE001 - a list or a subclass of the application's own may raise anything
        return None
