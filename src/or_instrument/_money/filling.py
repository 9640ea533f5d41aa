"""How a row is filled with what is told of its call later: what is not known then takes nothing away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_MADE_WITH_THE_CALL: Final = ("process", "call", "started_at", "ended_at", "api_key_hash", "attributes")
_AMOUNTS: Final = ("cost", "upstream", "spend")


def filling(columns: Iterable[str], new: str) -> str:
    """Return the assignments of an SQL `UPDATE`; the new value of a column is under its name, with `new` before it."""
    return ", ".join(f"{name} = {_filled(name, new)}" for name in columns if name not in _MADE_WITH_THE_CALL)


def _filled(name: str, new: str) -> str:
    if name == "missing":
        return f"CASE WHEN coalesce({new}spend, spend) IS NULL THEN coalesce({new}missing, missing) END"
    amount, is_part, _ = name.partition("_e")
    if is_part and amount in _AMOUNTS:
        # Its text may be known where the whole numbers are not.
        return f"CASE WHEN {new}{amount} IS NULL THEN {name} ELSE {new}{name} END"
    return f"coalesce({new}{name}, {name})"
