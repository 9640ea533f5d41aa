"""Writes a ledger as FOCUS 1.2, the FinOps Foundation's format of bills (https://focus.finops.org/).

One row for an hour, model, provider, key and set of attributes. A BYOK call has a second one for the provider's part,
which OpenRouter does not bill: its BilledCost is 0, and EffectiveCost adds up to the spend. No list or contracted price
is known; both costs equal EffectiveCost.
"""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from or_instrument._amounts import add
from or_instrument._money.csv_text import cell_of
from or_instrument._money.query import amount_of, amount_sql, count_of, count_sql
from or_instrument._money.totals import UNKNOWN, usd_text

if TYPE_CHECKING:
    import sqlite3

MANDATORY: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
)
_FURTHER: Final = ("ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "ServiceSubcategory", "Tags")
_OWN: Final = ("x_ApiKeyHash", "x_Calls", "x_InputTokens", "x_IsByok", "x_Model", "x_OutputTokens")
COLUMNS: Final = (*MANDATORY, *_FURTHER, *_OWN)

_OPENROUTER: Final = "OpenRouter"
_SAME_IN_ALL: Final = {
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceSubcategory": "Generative AI",
}
_GROUPED: Final = f"""
    SELECT substr(started_at, 1, 13), model, provider, api_key_hash, attributes, coalesce(is_byok, 0),
           input_tokens IS NOT NULL OR output_tokens IS NOT NULL,
           count(*), {count_sql("input_tokens")}, {count_sql("output_tokens")},
           {amount_sql("cost")}, {amount_sql("upstream")}
    FROM calls WHERE spend IS NOT NULL AND started_at >= ?
    GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
"""  # noqa: S608 - no value is in it


class _Hour(NamedTuple):
    hour: str
    model: str | None
    provider: str | None
    api_key_hash: str | None
    attributes: str
    is_byok: int
    has_tokens: int

    @property
    def order(self) -> tuple[tuple[bool, str | int], ...]:
        """What SQLite sorts by: what is not known comes first."""
        return tuple((cell is not None, "" if cell is None else cell) for cell in self)


class _Sums(NamedTuple):
    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    upstream: Decimal

    def plus(self, other: _Sums) -> _Sums:
        """Return the sum of both."""
        calls, input_tokens, output_tokens = (sum(pair) for pair in zip(self[:3], other[:3], strict=True))
        costs = add(self.cost, other.cost), add(self.upstream, other.upstream)
        return _Sums(calls, input_tokens, output_tokens, *costs)


def lines(
    ledgers: Iterable[sqlite3.Connection], since: str | None = None, billing_account: str | None = None
) -> Iterator[str]:
    """Yield the lines of some ledgers' calls of known cost, from a day (`2026-11-26`, UTC) on; the header first."""
    yield _line(COLUMNS)
    found = heapq.merge(*(_hours(ledger, since or "") for ledger in ledgers), key=lambda pair: pair[0].order)
    for hour, pairs in groupby(found, key=lambda pair: pair[0]):
        sums = reduce(_Sums.plus, (sums for _, sums in pairs))
        account = billing_account or hour.api_key_hash or UNKNOWN
        charge = {**_SAME_IN_ALL, **_charge(hour, sums), "BillingAccountId": account}
        yield _written(charge, sums.cost)
        if hour.is_byok:
            yield _written({**charge, **_provider_s_part(hour)}, sums.upstream, billed=Decimal(0))


def _hours(ledger: sqlite3.Connection, since: str) -> Iterator[tuple[_Hour, _Sums]]:
    keys = len(_Hour._fields)
    for cells in ledger.execute(_GROUPED, (since,)):
        calls, rest = cells[keys], cells[keys + 1 :]
        tokens = count_of(rest[:2]), count_of(rest[2:4])
        yield _Hour(*cells[:keys]), _Sums(calls, *tokens, amount_of(rest[4:9]), amount_of(rest[9:]))


def _charge(hour: _Hour, sums: _Sums) -> dict[str, object]:
    start = datetime.fromisoformat(f"{hour.hour}:00:00+00:00")
    month = start.replace(day=1, hour=0)
    provider = hour.provider or _OPENROUTER
    quantity, unit = (sums.input_tokens + sums.output_tokens, "Tokens") if hour.has_tokens else (sums.calls, "Requests")
    return {
        "BillingPeriodStart": _moment(month),
        "BillingPeriodEnd": _moment((month + timedelta(days=32)).replace(day=1)),
        "ChargePeriodStart": _moment(start),
        "ChargePeriodEnd": _moment(start + timedelta(hours=1)),
        "ChargeDescription": f"Calls of {hour.model or UNKNOWN}, served by {hour.provider or UNKNOWN}",
        "InvoiceIssuerName": _OPENROUTER,
        "ProviderName": _OPENROUTER,
        "PublisherName": provider,
        "ServiceName": _OPENROUTER,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "Tags": hour.attributes,
        "x_ApiKeyHash": hour.api_key_hash,
        "x_Calls": sums.calls,
        "x_InputTokens": sums.input_tokens,
        "x_IsByok": "true" if hour.is_byok else "false",
        "x_Model": hour.model,
        "x_OutputTokens": sums.output_tokens,
    }


def _provider_s_part(hour: _Hour) -> dict[str, object]:
    provider = hour.provider or UNKNOWN
    return {
        "ChargeDescription": f"Calls of {hour.model or UNKNOWN}, billed by {provider} to a key of your own",
        "InvoiceIssuerName": provider,
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceName": provider,
        # What was consumed is in the other row: the sum over all rows is what it was. This column must not be null.
        "PricingQuantity": 0,
        "ConsumedQuantity": None,
        "ConsumedUnit": None,
        "x_Calls": 0,
        "x_InputTokens": 0,
        "x_OutputTokens": 0,
    }


def _written(charge: Mapping[str, object], usd: Decimal, billed: Decimal | None = None) -> str:
    effective = usd_text(usd)
    costs = {"EffectiveCost": effective, "ListCost": effective, "ContractedCost": effective}
    row = {**charge, **costs, "BilledCost": effective if billed is None else usd_text(billed)}
    return _line([row.get(column) for column in COLUMNS])


def _line(cells: Any) -> str:
    text = io.StringIO()
    told = [cell_of(cell) if isinstance(cell, str) else cell for cell in cells]
    # A null is an empty field without quotes. Not every Python quotes a carriage return that ends no line.
    csv.writer(text, lineterminator="\r\n").writerow(told)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
