"""Loads what an option needs and may not be there: exporters, price lists, SQLite.

Where the code asks for it (`is_asked`), that it is missing raises `ConfigError`; a variable is one warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from or_instrument._errors import ConfigError
from or_instrument._extras import MissingExtra
from or_instrument._options import OPTIONS
from or_instrument._records import Call
from or_instrument._telemetry.variables import is_sdk_disabled

if TYPE_CHECKING:
    from or_instrument._telemetry.exporters import Exporters

_log = logging.getLogger("or_instrument")


def load_exporters(exporter: str, *, is_asked: bool) -> Exporters | None:
    """Return what makes our providers, `None` where none are wanted."""
    if exporter == "none" or is_sdk_disabled():
        return None
    from or_instrument._telemetry.exporters import load  # noqa: PLC0415 - who exports otherwise need not import the SDK

    try:
        return load(exporter)
    except MissingExtra as exc:
        if is_asked:
            raise ConfigError(f"exporter={exporter!r}: {exc}") from exc
        _log.warning("exporter %s: %s. Nothing is exported.", exporter, exc)
        return None


def load_estimator(*, is_asked: bool) -> Callable[[Call], Call] | None:
    """Return what adds an estimate to a call."""
    from or_instrument._money.estimate import estimator  # noqa: PLC0415 - see `load_exporters`

    try:
        return estimator()
    except MissingExtra as exc:
        if is_asked:
            raise ConfigError(f"estimate=True: {exc}") from exc
        _log.warning("estimate: %s. Nothing is estimated.", exc)
        return None


def checked_ledger(path: str | None, *, is_asked: bool) -> str | None:
    """Return the path of a ledger, where this Python can write one."""
    if path is None:
        return None
    try:
        import_module("sqlite3")
    except ImportError as exc:
        if is_asked:
            raise ConfigError(f"ledger={path!r}: this Python was built without SQLite ({exc})") from exc
        variable = OPTIONS["ledger"].variable
        _log.warning("%s: this Python was built without SQLite (%s). No ledger is kept.", variable, exc)
        return None
    return path
