"""Puts methods of ours on one object in the place of its own, and takes them off again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def put_on(owner: Any, hooks: object, names: Iterable[str]) -> dict[str, Any]:
    """Have the methods of `hooks` stand in for those of one object; return what the user had put on it before."""
    held = vars(owner)
    theirs = {name: held[name] for name in names if name in held}
    held.update({name: getattr(hooks, name) for name in names})
    return theirs


def take_off(owner: Any, hooks: object, names: Iterable[str], theirs: dict[str, Any]) -> None:
    """Take them off; what the user has put there before comes back, what was put there since stays."""
    held = vars(owner)
    for name in names:
        if held.get(name) == getattr(hooks, name):
            del held[name]
            if name in theirs:
                held[name] = theirs[name]
