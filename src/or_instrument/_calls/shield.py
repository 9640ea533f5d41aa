"""Keeps our own failures away from the caller: one log line per cause, and the call goes on."""

from __future__ import annotations

import logging
from typing import Final

_log = logging.getLogger("or_instrument")
_CAUSES_LIMIT: Final = 256
_reported: set[tuple[str, type[BaseException]]] = set()


def report(where: str, exc: BaseException) -> None:
    """Log a failure of ours, once for each place and kind of exception.

    The exception's text is left out: it may quote what the call was about.
    """
    cause = (where, type(exc))
    if cause in _reported or len(_reported) >= _CAUSES_LIMIT:
        return
    _reported.add(cause)
    _log.warning(
        "%s failed with %s; the call itself is unaffected, telemetry of it may be incomplete. Further failures of "
        "this kind are not logged.",
        where,
        type(exc).__qualname__,
        extra={"where": _place(exc)},
    )


def _place(exc: BaseException) -> str:
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "unknown"
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
