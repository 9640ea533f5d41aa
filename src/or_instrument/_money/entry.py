"""Turns a call into its row in the ledger. Pure; what the columns mean is written in the ledger's own schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Final, NamedTuple

from or_instrument._amounts import exact
from or_instrument._money.totals import moment_of, text_of, usd_text
from or_instrument._openrouter.paths import JOBS
from or_instrument._openrouter.request import CLIENT
from or_instrument._records import Call, Usage

_OF_ALL: Final = 0
_PLACES: Final = 24
_DIGITS: Final = 6
_LARGEST: Final = 2**63 - 1


class Amount(NamedTuple):
    """USD, three times: as text, and as whole numbers of 1e-12 and of 1e-24 that SQL can add up exactly."""

    text: str | None = None
    e12: int | None = None
    e24: int | None = None
    """Both `None` where an amount has a digit beyond 1e-24 or is a million or more; the text has every digit."""


class Bill(NamedTuple):
    """The columns that a look-up fills."""

    source: str | None
    is_byok: int | None
    lower_bound: int | None
    cost: str | None
    cost_e12: int | None
    cost_e24: int | None
    upstream: str | None
    upstream_e12: int | None
    upstream_e24: int | None
    spend: str | None
    spend_e12: int | None
    spend_e24: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_creation_tokens: int | None
    reasoning_tokens: int | None
    details: str | None


class Entry(NamedTuple):
    """One row of the table `calls`."""

    process: int
    call: int
    started_at: str
    ended_at: str
    host: str
    client: str | None
    api_key_hash: str | None
    generation_id: str | None
    operation: str
    requested_model: str | None
    model: str | None
    provider: str | None
    outcome: str
    error: str | None
    missing: str | None
    bill: Bill
    attributes: str

    @property
    def cells(self) -> tuple[object, ...]:
        """Its value in each of `COLUMNS`."""
        told = (*self[:_BILL], *self.bill, *self[_BILL + 1 :])
        return tuple(_whole(cell) if isinstance(cell, str) else cell for cell in told)


_BILL: Final = Entry._fields.index("bill")
COLUMNS: Final = (*Entry._fields[:_BILL], *Bill._fields, *Entry._fields[_BILL + 1 :])


def entry_of(call: Call, process: int, api_key_hash: str | None = None) -> Entry:
    """Return the row of a call that was made in a process; that of a look-up is the row which it recovers."""
    request, reply = call.request, call.reply
    client = request.parameters.get(CLIENT)
    return Entry(
        *_key(call, process),
        utc(call.started_ns),
        utc(call.started_ns + round(call.duration_s * 1e9)),
        request.host,
        client if isinstance(client, str) else None,
        api_key_hash,
        call.generation_id,
        request.operation,
        request.model,
        reply.model or request.model,
        reply.provider,
        call.outcome,
        None if call.failure is None else call.failure.type,
        call.missing,
        bill_of(call.usage),
        _json({_whole(name): _whole(text_of(value)) for name, value in request.attributes.items()}),
    )


def _key(call: Call, process: int) -> tuple[int, int]:
    # Any process may ask after a job, and see its cost: the row is the job's.
    if call.request.operation in JOBS and call.reply.id is not None:
        job = f"{call.request.host}/{call.request.operation}/{call.reply.id}"
        return _OF_ALL, int.from_bytes(sha256(job.encode("utf-8", "replace")).digest()[:8], "big") >> 1
    return process, call.id if call.recovers is None else call.recovers


def bill_of(usage: Usage | None) -> Bill:
    """Return what a usage object comes to. Upstream is that of BYOK calls: for others it is a part of the cost."""
    said = usage or Usage()
    return Bill(
        None if usage is None else usage.source,
        None if said.is_byok is None else int(said.is_byok),
        None if usage is None else int(usage.lower_bound),
        *amount(None if said.cost is None else exact(said.cost)),
        *amount(exact(said.upstream_cost) if said.is_byok and said.upstream_cost is not None else None),
        *amount(said.spend_exact),
        _count(said.input_tokens),
        _count(said.output_tokens),
        _count(said.cache_read_tokens),
        _count(said.cache_creation_tokens),
        _count(said.reasoning_tokens),
        _json(said.details) if said.details else None,
    )


def _count(tokens: int | None) -> int | None:
    # SQLite has no larger whole numbers.
    return None if tokens is None or tokens > _LARGEST else tokens


def amount(usd: Decimal | None) -> Amount:
    """Return an amount as the ledger keeps it."""
    if usd is None:
        return Amount()
    text = usd_text(usd)
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > _PLACES or len(whole) > _DIGITS:
        return Amount(text)
    fraction = fraction.ljust(_PLACES, "0")
    return Amount(text, int(whole + fraction[:12]), int(fraction[12:]))


def utc(ns: int) -> str:
    """Return nanoseconds since the epoch as ISO 8601 in UTC, in microseconds: texts that sort as the times do."""
    return moment_of(ns).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encoded(entries: Sequence[Entry]) -> str:
    """Return rows as the JSON text that one statement writes."""
    # Half a surrogate pair, which an attribute may hold, is no UTF-8 and would make the row unreadable.
    cells = [entry.cells for entry in entries]
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()


def _whole(text: str) -> str:
    # SQLite's functions take a NUL for the end of a text.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _json(values: Mapping[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
