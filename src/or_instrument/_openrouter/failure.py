"""Tells why a call failed, from an error body or an exception: codes and names, never the service's free text.

An error's `message`, `raw` and `flagged_input` may quote the prompt, and `user_id` is the account: none is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from or_instrument._openrouter.values import code, fields, get, label, number
from or_instrument._records import Failure

_ERROR: Final = "error"
"""The type of a failure of which nothing is known."""
_RETRY_AFTER: Final = "retry-after"


def failure_of(error: object, error_type: object = None) -> Failure | None:
    """Return the failure that an `error` object or a response's own `error_type` tells of, `None` without either."""
    if not error and not error_type:
        return None
    return _failure(error, error_type, None, None, _ERROR)


def failure_of_exception(exc: BaseException, error_type: object = None) -> Failure:
    """Return the failure for what the SDK, or anything under it, raised.

    The SDK shows an error body's `error` object only; Responses has the `error_type` beside it.
    """
    response = getattr(exc, "response", None)
    status = get(exc, "status_code") or get(exc, "status")  # aiohttp's name for it
    return _failure(
        getattr(exc, "body", None),
        error_type,
        status if isinstance(status, int) else None,
        getattr(exc if response is None else response, "headers", None),
        class_name(exc),
    )


def refusal_of(status: int, headers: object) -> Failure:
    """Return what the status and the headers of a refused request tell; its body may tell more."""
    return _failure(None, None, status, headers, _ERROR)


def with_refusal(failure: Failure | None, refusal: Failure) -> Failure:
    """Return what the body of a refused request tells, if anything, with what its status and headers do."""
    if failure is None:
        return refusal
    return failure._replace(
        type=refusal.type if failure.type == _ERROR else failure.type,
        status_code=refusal.status_code,
        retry_after=failure.retry_after if refusal.retry_after is None else refusal.retry_after,
    )


def class_name(exc: BaseException) -> str:
    """Return an exception's full class name; a builtin's without its module."""
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _failure(error: object, error_type: object, status: int | None, headers: object, otherwise: str) -> Failure:
    metadata = get(error, "metadata")
    named = code(get(metadata, "error_type")) or code(get(error, "error_type")) or code(error_type)
    number = code(get(error, "code"))
    return Failure(
        type=named or number or _own_type(error) or (str(status) if status else otherwise),
        code=number,
        error_type=named,
        limit_source=code(get(metadata, "limit_source")),
        provider_name=label(get(metadata, "provider_name")),
        retry_after=_retry_after(headers, error, metadata),
        status_code=status,
    )


def _own_type(error: object) -> str | None:
    """Return the type of an error that knows no codes, as Anthropic's do."""
    return None if "code" in fields(error) else code(get(error, "type"))


def _retry_after(headers: object, error: object, metadata: object) -> float | None:
    said = (
        _header(headers, _RETRY_AFTER),
        _header(get(metadata, "headers"), _RETRY_AFTER),
        get(get(error, "availability"), "retry_after"),
    )
    return next((wait for value in said if (wait := _seconds(value)) is not None), None)


def _header(headers: object, name: str) -> object:
    if not isinstance(headers, Mapping):
        return None
    return next((value for key, value in headers.items() if isinstance(key, str) and key.lower() == name), None)


def _seconds(value: object) -> float | None:
    seconds = number(value)
    return seconds if seconds is not None and 0 <= seconds < math.inf else None
