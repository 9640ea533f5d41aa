"""Reads the JSON bodies of OpenRouter's account endpoints, and turns a generation into the bill of a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

from or_instrument._amounts import exact
from or_instrument._openrouter.account_records import Activity, Credits, Generation, KeyStatus
from or_instrument._openrouter.usage import merge
from or_instrument._openrouter.values import amount, flag, get
from or_instrument._records import Reply, Usage


class UnreadableError(ValueError):
    """An answer that came with success is not what the endpoint answers; the message says what it is instead."""


def read_generation(body: object) -> Generation:
    """Return the generation in the body of `GET /generation`. Raises `UnreadableError`."""
    fields = _fields(Generation, body)
    if "id" not in fields:
        raise UnreadableError("a body whose data has no id")
    return Generation(**fields)


def read_key(body: object) -> KeyStatus:
    """Return the status in the body of `GET /key`. Raises `UnreadableError`."""
    return KeyStatus(**_fields(KeyStatus, body))


def read_activity(body: object) -> tuple[Activity, ...]:
    """Return the rows in the body of `GET /activity`. Raises `UnreadableError`."""
    data = get(body, "data")
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise UnreadableError("a body whose data is no list of rows")
    return tuple(Activity(**fields_of(Activity, row)) for row in data)


def read_credits(body: object) -> Credits:
    """Return the credits in the body of `GET /credits`. Raises `UnreadableError`."""
    return Credits(**_fields(Credits, body))


def usage_of(generation: Generation, *, broken_off: bool = False) -> Usage:
    """Return the bill of a generation; its native token counts are those that are billed.

    `broken_off` says that its stream was let go of before its end, which the service may not have noticed.
    """
    cost = generation.usage if generation.total_cost is None else generation.total_cost
    upstream = generation.upstream_inference_cost if generation.is_byok else None
    return Usage(
        input_tokens=generation.native_tokens_prompt,
        output_tokens=generation.native_tokens_completion,
        cache_read_tokens=generation.native_tokens_cached,
        reasoning_tokens=generation.native_tokens_reasoning,
        cost=amount(None if cost is None else str(cost)),
        is_byok=generation.is_byok,
        upstream_cost=amount(None if upstream is None else str(upstream)),
        source="generation",
        lower_bound=generation.is_byok is True and (broken_off or generation.cancelled is True),
    )


def recovered_reply(reply: Reply, generation: Generation, *, broken_off: bool = False) -> Reply:
    """Return a reply that was cut short with what the look-up adds to it; what it said itself stays."""
    native = generation.native_finish_reason
    reason = generation.finish_reason
    return Reply(
        id=generation.id,
        model=reply.model or generation.model,
        provider=reply.provider or generation.provider_name,
        finish_reasons=reply.finish_reasons or ((reason,) if reason else ()),
        native_finish_reasons=reply.native_finish_reasons or ((native,) if native else ()),
        service_tier=reply.service_tier or generation.service_tier,
        usage=_with_bill(reply.usage, usage_of(generation, broken_off=broken_off)),
        cache_status=reply.cache_status,
        routing=reply.routing,
    )


def _with_bill(told: Usage | None, filed: Usage) -> Usage:
    if told is None:
        return filed
    return merge(told._replace(source=filed.source, lower_bound=filed.lower_bound, estimated_cost=None), filed)


def _fields(record: type[NamedTuple], body: object) -> dict[str, Any]:
    data = get(body, "data")
    if not isinstance(data, Mapping):
        raise UnreadableError(f"{'a JSON body' if isinstance(body, Mapping) else _kind(body)} without data")
    return fields_of(record, data)


def fields_of(record: type[NamedTuple], data: Mapping[str, object]) -> dict[str, Any]:
    """Return what of an object can be read as the fields of a record, and the rest as `extra`."""
    readers = _readers(record)
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in data.items():
        read = readers.get(name)
        parsed = None if read is None else read(value)
        if parsed is not None:
            fields[name] = parsed
        elif read is None or value is not None:
            extra[name] = value
    return {**fields, "extra": extra}


def _kind(body: object) -> str:
    return "a text body, not JSON," if isinstance(body, (str, bytes)) else f"a body of type {type(body).__name__}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _money(value: object) -> Decimal | None:
    # Unlike a cost, what is left of a limit and the discount of a cache may be negative.
    if isinstance(value, (int, float)) and _real(value) is None:
        return None
    try:
        usd = exact(value)  # type: ignore[arg-type]
    except ArithmeticError:
        return None
    return usd if usd.is_finite() else None


def _object(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _objects(value: object) -> tuple[Mapping[str, Any], ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) else None


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "str": _text,
    "str | None": _text,
    "bool | None": flag,
    "int | None": _whole,
    "float | None": _real,
    "Decimal | None": _money,
    "Mapping[str, Any] | None": _object,
    "tuple[Mapping[str, Any], ...] | None": _objects,
    "tuple[str, ...] | None": _texts,
}
"""By the type of a field, as it is written in the records above."""


@cache
def _readers(record: type[NamedTuple]) -> Mapping[str, Callable[[object], object]]:
    """Return how each documented field of a record is read; the annotations are the one list of them."""
    written = record.__annotations__
    return {
        name: _READERS[str(getattr(written[name], "__forward_arg__", written[name]))]
        for name in record._fields
        if name != "extra"
    }
