"""Imports what an extra brings, or says which extra is missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class MissingExtra(ImportError):  # noqa: N818 - it says what is missing, not what went wrong
    """A package of an extra is not installed; the message says how to get it."""


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra brings. Raises `MissingExtra` naming the extra where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as exc:
        raise MissingExtra(
            f"this needs the package {exc.name}, which is not installed; run: pip install 'or-instrument[{extra}]'",
            name=exc.name,
        ) from None
