"""Shows the account's limit and usage as gauges: read in the background, so that collecting metrics never waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from hashlib import sha256
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics as otel_metrics
from opentelemetry.metrics import Observation

from or_instrument._calls.scope import plain_attributes
from or_instrument._calls.shield import report
from or_instrument._calls.worker import PerKind, PerProcess, Worker, new_lock
from or_instrument._clients.target import sync_client
from or_instrument._errors import ConfigError
from or_instrument._money.account import fetch_key
from or_instrument._money.account_requests import check_client
from or_instrument._money.entry import utc
from or_instrument._money.open_ledgers import ledger_path
from or_instrument._money.readings import Reading
from or_instrument._money.unattributed import Unattributed
from or_instrument._openrouter.account_records import KeyStatus
from or_instrument._openrouter.hosts import account_host
from or_instrument._records import NOTHING, AttributeValue
from or_instrument._telemetry.budgets import GAUGES, Gauge, points
from or_instrument._telemetry.names import ACCOUNT
from or_instrument._telemetry.providers import check_provider
from or_instrument._telemetry.shown_accounts import AGE, AMOUNTS, UNATTRIBUTED, Account, show

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_Compared = dict[tuple[str, str, str], Unattributed]
"""By the ledger's path, the host and the key's hash: a client may be given another key."""
_SHORTEST_S: Final = 1.0


def observe_account(
    client: OpenAI | AsyncOpenAI,
    every_s: float = 60,
    *,
    meter_provider: otel_metrics.MeterProvider | None = None,
    attributes: Mapping[str, AttributeValue] = NOTHING,
) -> AccountGauges:
    """Show `openrouter.account.{limit,limit_remaining,usage,byok_usage}` (USD) of the key that a client uses.

    A thread reads `GET /key` at once and then every `every_s` seconds. When a read fails, the last values stay, and
    `openrouter.account.age` (seconds since the last good read) grows. A key without a limit has no limit gauges.

    Each budget of the key is shown as `openrouter.account.budget.{limit,spend,remaining}` (USD) and `.resets_at`
    (seconds since the epoch), with the labels `openrouter.account.budget.{scope,reset_interval,id}`.

    Where `instrument(ledger=...)` keeps a ledger, `openrouter.account.unattributed` (USD) is what the key was charged
    since the ledger's first reading of it, less the cost of its calls in the ledger, of all processes that share it.

    Args:
        client: sync or async; whether it is closed later does not matter.
        every_s: seconds, at least 1.
        meter_provider: where the gauges go; by default the global provider, and where the application sets none that
            of `instrument(exporter=...)`.
        attributes: put on every point, to tell several keys apart. Never the key itself.

    Raises:
        ConfigError: the client, `every_s`, the provider or `attributes` is not allowed.

    """
    if isinstance(every_s, bool) or not isinstance(every_s, (int, float)) or not _SHORTEST_S <= every_s < math.inf:
        raise ConfigError(f"every_s={every_s!r} is not allowed; allowed: seconds, at least {_SHORTEST_S:g}")
    check_client(client, "OpenAI or openai.AsyncOpenAI")
    check_provider("meter_provider", meter_provider, "get_meter")
    _check_attributes(attributes)
    compare = partial(_unattributed, client, PerProcess(_Compared))
    gauges = AccountGauges(lambda: _read(client), every_s, attributes, key=lambda: client.api_key, unattributed=compare)
    gauges.show(meter_provider)
    gauges.start()
    return gauges


class AccountGauges:
    """The gauges of one key. `close()`, or leave it as a context manager, to end them."""

    def __init__(
        self,
        read: Callable[[], KeyStatus],
        every_s: float,
        attributes: Mapping[str, AttributeValue] = NOTHING,
        *,
        clock: Callable[[], float] = monotonic,
        key: Callable[[], object] = lambda: None,
        unattributed: Callable[[KeyStatus, object], Decimal | None] = lambda _status, _key: None,
    ) -> None:
        self._read = read
        self._every_s = every_s
        self._attributes = plain_attributes(attributes)
        self._clock = clock
        self._key = key
        self._compare = unattributed
        self._last: tuple[KeyStatus, float] | None = None
        self._unattributed: Decimal | None = None
        self._hide: Callable[[], None] = lambda: None
        self._is_started = False
        self._reading = PerKind(new_lock)
        self._worker = Worker("or_instrument-account", self._work)

    def show(self, provider: otel_metrics.MeterProvider | None = None) -> None:
        """Show them by a provider's gauges, beside those of other keys."""
        told: Account = {
            **{f"{ACCOUNT}.{field}": partial(self._amount, field) for field in AMOUNTS},
            **{name: partial(self._budgets, gauge) for name, gauge in GAUGES.items()},
            AGE: self._age,
            UNATTRIBUTED: lambda: self._points(self._unattributed),
        }
        self._hide = show(told, provider)

    def start(self) -> None:
        """Start the thread that reads; in a process that was forked off, it starts when the gauges are first shown."""
        self._is_started = True
        self._worker.start()

    def refresh(self) -> None:
        """Read now; where that fails, keep what there is."""
        # One after the other: what was read before takes the place of nothing that was read later.
        with self._reading():
            self._refresh()

    def _refresh(self) -> None:
        key = self._key()
        try:
            status = self._read()
        except Exception as exc:  # noqa: BLE001 - the shield
            report("reading the account", exc)
            return
        former, self._last = self._last, (status, self._clock())
        try:
            self._unattributed = self._compare(status, key)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("comparing the account with the ledger", exc)
            if former is not None:
                # What was compared is as old as before, and the age is that of all.
                self._last = status, former[1]

    def close(self) -> None:
        """End the thread; the gauges show nothing more."""
        self._worker.stop()
        self._hide()

    def __enter__(self) -> AccountGauges:
        """Return the gauges themselves."""
        return self

    def __exit__(self, *_raised: object) -> None:
        """Close."""
        self.close()

    def _work(self) -> float:
        self.refresh()
        return self._every_s

    def _amount(self, field: str) -> list[Observation]:
        usd: Decimal | None = None if self._last is None else getattr(self._last[0], field)
        return self._points(usd)

    def _points(self, value: Decimal | float | None) -> list[Observation]:
        return [] if value is None else [Observation(float(value), self._attributes)]

    def _budgets(self, gauge: Gauge) -> list[Observation]:
        told = () if self._last is None else points(self._last[0], gauge)
        return [Observation(value, {**self._attributes, **labels}) for value, labels in told]

    def _age(self) -> list[Observation]:
        if self._is_started:
            self._worker.start()
        return self._points(None if self._last is None else self._clock() - self._last[1])


def _check_attributes(attributes: object) -> None:
    if not isinstance(attributes, Mapping) or not all(isinstance(name, str) for name in attributes):
        # Not shown: it may be the key, given in a wrong place.
        kind = type(attributes).__qualname__
        raise ConfigError(
            f"attributes is this {kind}; allowed: a mapping from names to values, such as {{'account': 'production'}}"
        )


def _unattributed(client: Any, made: PerProcess[_Compared], status: KeyStatus, key: object) -> Decimal | None:
    # Before anything else: what a call is charged while the ledger is opened is growth since this reading.
    read_at = utc(time_ns())
    path, books = ledger_path(), made()
    # Where the key is another by now, nobody knows which of them was read.
    if path is None or not isinstance(key, str) or not key or key != client.api_key or status.usage is None:
        return None
    known = path, account_host(client.base_url.host), sha256(key.encode()).hexdigest()
    if known not in books:
        books[known] = Unattributed(*known)
    return books[known].refresh(Reading(read_at, status.usage))


def _read(client: Any) -> KeyStatus:
    with sync_client(client) as asking:
        return fetch_key(asking)
