"""Shows any number of accounts by one set of gauges for each provider: meters take the callbacks of the first alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry import metrics as otel_metrics
from opentelemetry.metrics import CallbackOptions, Observation

from or_instrument._calls.worker import PerKind, new_lock
from or_instrument._telemetry.budgets import GAUGES
from or_instrument._telemetry.names import ACCOUNT
from or_instrument._version import __version__

Account: TypeAlias = Mapping[str, Callable[[], Iterable[Observation]]]
"""What each gauge shows of one key now."""


class _Meant(NamedTuple):
    unit: str
    description: str


AMOUNTS: Final[Mapping[str, _Meant]] = {
    "limit": _Meant("USD", "What the key may spend."),
    "limit_remaining": _Meant("USD", "What the key may still spend."),
    "usage": _Meant("USD", "What was charged to the account through the key, ever."),
    "byok_usage": _Meant("USD", "What providers billed to the user's own keys, ever."),
}
"""By the field of `GET /key`."""
UNATTRIBUTED: Final = f"{ACCOUNT}.unattributed"
AGE: Final = f"{ACCOUNT}.age"
_SHOWN: Final[Mapping[str, _Meant]] = {
    **{f"{ACCOUNT}.{field}": meant for field, meant in AMOUNTS.items()},
    **{name: _Meant(gauge.unit, gauge.description) for name, gauge in GAUGES.items()},
    AGE: _Meant("s", "The age of the other account gauges."),
    UNATTRIBUTED: _Meant(
        "USD", "What the key was charged that no call in the ledger explains, since the ledger's first reading."
    ),
}


class _Global:
    """Stands for the global provider, which may be a stand-in now and another object later."""


class OurMeters(Protocol):
    """Makes a provider of ours when it is first asked for."""

    def __call__(self) -> otel_metrics.MeterProvider:
        """Return the provider."""

    @property
    def made(self) -> otel_metrics.MeterProvider | None:
        """The provider of this process, if there is one yet."""


_GLOBAL: Final = _Global()
_accounts_of: Final[WeakKeyDictionary[object, list[Account]]] = WeakKeyDictionary()
_LOCK: Final = PerKind(new_lock)
_ours: OurMeters | None = None


def show(account: Account, provider: otel_metrics.MeterProvider | None) -> Callable[[], None]:
    """Show an account on a provider's gauges; return what ends that, and may be called again."""
    now_global = otel_metrics.get_meter_provider()
    keys = (now_global, _GLOBAL) if provider is None or provider is now_global else (provider,)
    if keys[-1] is _GLOBAL and _ours is not None and application_meters() is None:
        _ours()
    with _LOCK():
        accounts = next((_accounts_of[key] for key in keys if key in _accounts_of), None)
        if accounts is None:
            accounts = _accounts_of[keys[-1]] = []
            _make(otel_metrics.get_meter("or_instrument", __version__, provider), partial(list, accounts))
        accounts.append(account)
    return partial(_hide, account, accounts)


def stand_in(ours: OurMeters) -> None:
    """Have the accounts that are meant for the global provider shown by one of ours while the application sets none."""
    global _ours  # noqa: PLW0603 - one per process, as there is one global provider
    _ours = ours
    if _accounts_of.get(_GLOBAL) and application_meters() is None:
        ours()


def with_accounts(provider: otel_metrics.MeterProvider) -> otel_metrics.MeterProvider:
    """Return a provider of ours with the gauges on it."""

    def accounts() -> list[Account]:
        is_stand_in = _ours is not None and _ours.made is provider and application_meters() is None
        return list(_accounts_of.get(_GLOBAL, ())) if is_stand_in else []

    _make(provider.get_meter("or_instrument", __version__), accounts)
    return provider


def application_meters() -> otel_metrics.MeterProvider | None:
    """Return the global provider, `None` where the application has set none."""
    provider = otel_metrics.get_meter_provider()
    # The proxy that stands in until a provider is set has no public name; this method tells it.
    return None if hasattr(provider, "on_set_meter_provider") else provider


def _make(meter: otel_metrics.Meter, accounts: Callable[[], list[Account]]) -> None:
    for name, (unit, description) in _SHOWN.items():
        meter.create_observable_gauge(name, [partial(_points, name, accounts)], unit, description)


def _points(name: str, accounts: Callable[[], list[Account]], _options: CallbackOptions) -> list[Observation]:
    return [point for account in accounts() for point in account[name]()]


def _hide(account: Account, accounts: list[Account]) -> None:
    with _LOCK():
        accounts[:] = [other for other in accounts if other is not account]
