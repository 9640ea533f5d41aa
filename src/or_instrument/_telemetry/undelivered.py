"""Tells that exporters of ours deliver nothing: once a minute in all, in place of what OpenTelemetry says of each try.

An exporter says several lines for every batch that it cannot deliver. Those of an application's own exporters, which
use the same loggers, are left as they are.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final, TypeVar

from or_instrument._calls.worker import OF_THIS_PROCESS

_log = logging.getLogger("or_instrument")
_EVERY_S: Final = 60.0
_REASON_LIMIT: Final = 300
_NO_ANSWER: Final = "no answer yet"
REFUSED: Final = "connection refused"
"""What a problem ends with where nobody listens."""
_hear: Final[ContextVar[Callable[[str], None] | None]] = ContextVar("or_instrument_hear", default=None)
E = TypeVar("E")


class _Hearing(logging.Filter):
    """Keeps what is said while an exporter of ours is at work, instead of letting it through."""

    def filter(self, record: logging.LogRecord) -> bool:
        hear = _hear.get()
        if hear is None:
            return True
        hear(" ".join(record.getMessage().split()))
        return False


_HEARING: Final = _Hearing()


class Undelivered:
    """How the exports of this process have fared."""

    def __init__(self) -> None:
        self.forget()
        OF_THIS_PROCESS.add(self)

    def forget(self) -> None:
        """Begin anew: this is another process than the one that it was forked from."""
        self._problems: dict[object, str] = {}
        self._told_at: float | None = None

    @property
    def problem(self) -> str | None:
        """Why the last export of one of ours failed, or else has not succeeded yet; `None` where all did."""
        return min(self._problems.copy().values(), key=lambda problem: problem.endswith(_NO_ANSWER), default=None)

    def watched(self, exporter: E, failure: enum.Enum) -> E:
        """Return the exporter, with its failures told here; `failure` is what it returns where it raises."""
        where, export, which = _endpoint(exporter), exporter.export, object()  # type: ignore[attr-defined]
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("opentelemetry."):
                logging.getLogger(name).addFilter(_HEARING)

        def export_watched(*args: Any, **kwargs: Any) -> Any:
            said: list[str] = []

            def hear(reason: str) -> None:
                said.append(reason)
                self._problems[which] = f"{where}: {plain(said[0])}"

            # The process may end before there is one.
            self._problems.setdefault(which, f"{where}: {_NO_ANSWER}")
            token = _hear.set(hear)
            try:
                result = export(*args, **kwargs)
            except Exception as exc:  # noqa: BLE001 - else its caller logs it, each time
                hear(type(exc).__name__)
                result = failure
            finally:
                _hear.reset(token)
            if result != failure:
                self._problems.pop(which, None)
            else:
                if not said:
                    hear("no reason was given")
                self.tell()
            return result

        exporter.export = export_watched  # type: ignore[attr-defined]
        return exporter

    def tell(self) -> None:
        """Say what the problem is, where there is one and it has not been said for a minute."""
        now, problem = monotonic(), self.problem
        if problem is None or (self._told_at is not None and now - self._told_at < _EVERY_S):
            return
        self._told_at = now
        _log.warning(
            "the exporter delivers nothing to %s. Calls go on; spans that cannot be delivered are lost, metrics are "
            "sent again. This is said once a minute at most; or-instrument doctor tells more.",
            problem,
        )


def plain(reason: str) -> str:
    """Return what an exporter said about a failure, in a few words where they are known."""
    return REFUSED if "refused" in reason.lower() else reason[:_REASON_LIMIT]


def _endpoint(exporter: object) -> str:
    return str(getattr(exporter, "_endpoint", "the endpoint"))


UNDELIVERED: Final = Undelivered()
