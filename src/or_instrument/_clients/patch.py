"""Puts wrappers of ours on the methods of a client, and takes them off again, whoever else has patched them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt


class Wrappers:
    """The wrappers that one seam has put on."""

    def __init__(self) -> None:
        self._put_on: list[tuple[type, str, Any]] = []

    def put_on(self, owner: type, name: str, wrapper: Callable[..., Any]) -> None:
        """Wrap a method: `wrapper(wrapped, instance, args, kwargs)` stands in for it."""
        self._put_on.append((owner, name, wrapt.wrap_function_wrapper(owner, name, wrapper)))

    def take_off(self) -> None:
        """Take all off, from under wrapt wrappers of others too; one that cannot be taken off must do nothing."""
        for owner, name, wrapper in self._put_on:
            _splice_out(owner, name, wrapper)
        self._put_on.clear()


def _splice_out(owner: Any, name: str, wrapper: Any) -> None:
    outer, inner = None, vars(owner).get(name)
    while inner is not None and inner is not wrapper:
        outer, inner = inner, getattr(inner, "__wrapped__", None)
    if inner is None:
        return
    if isinstance(outer, wrapt.FunctionWrapper):
        outer.__wrapped__ = wrapper.__wrapped__
    elif outer is None:
        _restore(owner, name, wrapper.__wrapped__)


def _restore(owner: Any, name: str, original: Any) -> None:
    inherited = next((vars(base)[name] for base in owner.__mro__[1:] if name in vars(base)), None)
    if original is inherited:
        delattr(owner, name)
    else:
        setattr(owner, name, original)
