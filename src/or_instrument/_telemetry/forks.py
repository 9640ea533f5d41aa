"""Keeps the SDK's objects that are ours from doing anything in a forked child.

A child drops them and makes its own, so it needs none of their hooks. And gevent's `subprocess` forks in Python: there
the hooks start greenlets and wait for them, and the child, which is about to become another program, would go on with
its parent's greenlets: it would accept a client's connection, and end with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Final

from or_instrument._calls.worker import PerKind, new_lock

_SDK: Final = "opentelemetry.sdk."
_making: Final = PerKind(new_lock)


@contextmanager
def without_fork_hooks() -> Iterator[None]:
    """Have no hook registered by the SDK's objects that this thread makes inside; all other hooks are."""
    register = getattr(os, "register_at_fork", None)
    if register is None:  # pragma: no cover - Windows has no fork
        yield
        return
    maker = get_ident()

    def register_others(
        *,
        before: Callable[[], object] | None = None,
        after_in_parent: Callable[[], object] | None = None,
        after_in_child: Callable[[], object] | None = None,
    ) -> None:
        is_sdks = str(getattr(after_in_child, "__module__", "")).startswith(_SDK)
        if is_sdks and get_ident() == maker:
            return
        hooks = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
        register(**{when: hook for when, hook in hooks.items() if hook is not None})

    with _making():
        os.register_at_fork = register_others
        try:
            yield
        finally:
            os.register_at_fork = register
