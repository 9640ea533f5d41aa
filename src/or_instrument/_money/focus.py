"""Writes a ledger as FOCUS 1.2, the FinOps Foundation's format of bills (https://focus.finops.org/).

One row for an hour, model, provider, key and set of attributes. A BYOK call has a second one for the provider's part,
which OpenRouter does not bill: its BilledCost is 0, and EffectiveCost adds up to the spend. No list or contracted price
is known; both costs equal EffectiveCost.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from or_instrument._money.query import amount_of, amount_sql
from or_instrument._money.totals import UNKNOWN, usd_text

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
           count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
           {amount_sql("cost")}, {amount_sql("upstream")}
    FROM calls WHERE spend IS NOT NULL AND started_at >= ?
    GROUP BY 1, 2, 3, 4, 5, 6, 7
"""  # noqa: S608 - no value is in it


class _Hour(NamedTuple):
    hour: str
    model: str | None
    provider: str | None
    api_key_hash: str | None
    attributes: str
    is_byok: int
    has_tokens: int
    calls: int
    input_tokens: int
    output_tokens: int


def lines(
    ledger: sqlite3.Connection, since: str | None = None, billing_account: str | None = None, *, header: bool = True
) -> Iterator[str]:
    """Yield the lines of a ledger's calls of known cost, from a day (`2026-11-26`, UTC) on; the header first."""
    if header:
        yield _line(COLUMNS)
    for cells in ledger.execute(_GROUPED, (since or "",)):
        hour, rest = _Hour(*cells[: len(_Hour._fields)]), cells[len(_Hour._fields) :]
        charge = {**_SAME_IN_ALL, **_charge(hour), "BillingAccountId": billing_account or hour.api_key_hash or UNKNOWN}
        yield _written(charge, amount_of(rest[:5]))
        if hour.is_byok:
            yield _written({**charge, **_provider_s_part(hour)}, amount_of(rest[5:]), billed=Decimal(0))


def _charge(hour: _Hour) -> dict[str, object]:
    start = datetime.fromisoformat(f"{hour.hour}:00:00+00:00")
    month = start.replace(day=1, hour=0)
    provider = hour.provider or _OPENROUTER
    quantity, unit = (hour.input_tokens + hour.output_tokens, "Tokens") if hour.has_tokens else (hour.calls, "Requests")
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
        "x_Calls": hour.calls,
        "x_InputTokens": hour.input_tokens,
        "x_IsByok": "true" if hour.is_byok else "false",
        "x_Model": hour.model,
        "x_OutputTokens": hour.output_tokens,
    }


def _provider_s_part(hour: _Hour) -> dict[str, object]:
    provider = hour.provider or UNKNOWN
    return {
        "ChargeDescription": f"Calls of {hour.model or UNKNOWN}, billed by {provider} to a key of your own",
        "InvoiceIssuerName": provider,
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceName": provider,
        # What was consumed is in the other row: the sum over all rows is what it was.
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
    # A null is an empty field without quotes.
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
