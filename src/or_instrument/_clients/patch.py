"""Puts wrappers of ours on the methods of a client, and takes them off again, whoever else has patched them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

if TYPE_CHECKING:
    from or_instrument._calls.observer import Observer


def post_import(wrap: Callable[[ModuleType], None], library: str, *, last: str | None = None) -> None:
    """Have `wrap` called with a library's module, now if it is imported, else when it is.

    While it is half imported, `last` is waited for: the module whose import ends it, where it is not the library's own.
    """
    half_imported = getattr(getattr(sys.modules.get(library), "__spec__", None), "_initializing", False)
    wrapt.register_post_import_hook(wrap, last if half_imported and last else library)


class _PutOn(NamedTuple):
    """A method that is wrapped: what stands in for it, and the wrapper that calls that."""

    owner: type
    name: str
    stand_in: Callable[..., Any]
    wrapper: Any


class Seam:
    """The wrappers of one `instrument()` on one library, which do nothing once they are taken off."""

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer | None = observer
        self._put_on: list[_PutOn] = []

    def wrap(self, library: ModuleType) -> None:
        """Put them on a library that has been imported, unless all is taken off by now."""
        if self._observer is not None:
            self._wrap(library)

    def _wrap(self, library: ModuleType) -> None:
        raise NotImplementedError

    def put_on(self, owner: type, name: str, stand_in: Callable[..., Any]) -> None:
        """Wrap a method: `stand_in(wrapped, instance, args, kwargs)` is called in its place."""
        self._put_on.append(_PutOn(owner, name, stand_in, wrapt.wrap_function_wrapper(owner, name, stand_in)))

    def remove(self) -> None:
        """Take all off, from under wrapt wrappers of others too; one that cannot be taken off does nothing."""
        self._observer = None
        for owner, name, _, wrapper in self._put_on:
            _splice_out(owner, name, wrapper)
        self._put_on.clear()

    @property
    def are_on(self) -> bool:
        """Whether any has been put on."""
        return bool(self._put_on)

    def lost(self) -> list[str]:
        """Return the methods that somebody else has put back as they were before us both, as `Owner.method`."""
        return [f"{it.owner.__name__}.{it.name}" for it in self._put_on if _is_lost(it)]

    def mend(self) -> None:
        """Put those on again that are lost."""
        lost = [it for it in self._put_on if _is_lost(it)]
        self._put_on = [it for it in self._put_on if it not in lost]
        for owner, name, stand_in, _ in lost:
            self.put_on(owner, name, stand_in)


def _is_lost(it: _PutOn) -> bool:
    seen = inspect.getattr_static(it.owner, it.name)
    while not _is(seen, it.wrapper) and hasattr(seen, "__wrapped__"):
        seen = seen.__wrapped__
    # A function of somebody else's that hides what it calls may well call ours.
    return not _is(seen, it.wrapper) and _package(seen) == _package(it.owner)


def _is(seen: Any, wrapper: Any) -> bool:
    # What was read from the class and put back there is bound, and calls the wrapper all the same.
    return seen is wrapper or getattr(seen, "_self_parent", None) is wrapper


def _package(it: Any) -> str:
    return str(getattr(it, "__module__", "")).partition(".")[0]


def _splice_out(owner: Any, name: str, wrapper: Any) -> None:
    outer, inner = None, vars(owner).get(name)
    while inner is not None and not _is(inner, wrapper):
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
