"""Keeps our own failures away from the caller: one log line per cause, and the call goes on."""

from __future__ import annotations

from typing import Final

from or_instrument._errors import LookupFailed

_CAUSES_LIMIT: Final = 256
_reported: set[tuple[str, type[BaseException]]] = set()


def report(where: str, exc: BaseException) -> None:
    """Log a failure of ours, once for each place and kind of exception.

    The exception's text is left out: it may quote what the call was about. That of a look-up is our own, and says why.
    """
    if not _is_first(where, type(exc)):
        return
    kind = type(exc).__qualname__
    _warn(
        "%s failed with %s; the call itself is unaffected, telemetry of it may be incomplete. Further failures of "
        "this kind are not logged.",
        where,
        f"{kind} ({exc})" if isinstance(exc, LookupFailed) else kind,
        where=_place(exc),
    )


def warn_once(about: str, what: str) -> None:
    """Log what is wrong with a thing of the application's, once for each thing."""
    if _is_first(about, Warning):
        _warn("%s %s", about, what)


def _warn(message: str, *args: str, **extra: str) -> None:
    import logging  # noqa: PLC0415 - `import or_instrument` need not wait for it

    logging.getLogger("or_instrument").warning(message, *args, extra=extra)


def _is_first(about: str, kind: type[BaseException]) -> bool:
    if (about, kind) in _reported or len(_reported) >= _CAUSES_LIMIT:
        return False
    _reported.add((about, kind))
    return True


def _place(exc: BaseException) -> str:
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "unknown"
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
