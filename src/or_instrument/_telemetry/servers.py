"""Hears of the end of servers that end a process in their own way: hooks for each, put on when it is imported.

- uvicorn raises the signal that ended it again when it is done, which ends the process before any exit function.
- rq runs each job in a child that it ends with `os._exit`.
- celery ends its child processes likewise, and sets their signal handlers anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

import wrapt

from or_instrument._calls.shield import report
from or_instrument._telemetry.exit import EXIT
from or_instrument._telemetry.sigterm import SIGTERM


class Servers:
    """The hooks, which do nothing while nothing is instrumented."""

    def __init__(self) -> None:
        self._is_on = False
        self._awaited: set[str] = set()
        self._wrapped: list[tuple[Any, str, Any]] = []
        self._hooks: Mapping[str, Callable[[Any], None]] = {
            "uvicorn.server": lambda module: self._wrap(module.Server, "shutdown", _uvicorn_shuts_down),
            "rq.worker": lambda module: self._wrap(module.Worker, "perform_job", _rq_performs),
            "celery.signals": _connect_celery,
        }

    def install(self) -> None:
        """Hook the servers that are imported now, and the others when they are."""
        self._is_on = True
        for name in self._hooks:
            if name in sys.modules:
                self._hook(sys.modules[name])
            elif name not in self._awaited:
                self._awaited.add(name)
                wrapt.register_post_import_hook(self._hook, name)

    def remove(self) -> None:
        """Take the hooks off."""
        self._is_on = False
        for owner, name, wrapper in self._wrapped:
            if vars(owner).get(name) is wrapper:  # else somebody else's is on top, and calls ours
                setattr(owner, name, wrapper.__wrapped__)
        self._wrapped.clear()
        celery = sys.modules.get("celery.signals")
        if celery is not None:
            celery.worker_process_init.disconnect(_celery_begins)
            celery.worker_process_shutdown.disconnect(_celery_ends)

    def _hook(self, module: ModuleType) -> None:
        if not self._is_on:
            return
        try:
            self._hooks[module.__name__](module)
        except Exception as exc:  # noqa: BLE001 - the shield
            report(f"hooking the end of {module.__name__}", exc)

    def _wrap(self, server: type, name: str, wrapper: Callable[..., Any]) -> None:
        owner = next(base for base in server.__mro__ if name in vars(base))
        self._wrapped.append((owner, name, wrapt.wrap_function_wrapper(owner, name, wrapper)))


async def _uvicorn_shuts_down(
    wrapped: Callable[..., Any], server: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    finally:
        # Only a server that a signal ended ends the process too.
        if getattr(server, "_captured_signals", None):
            EXIT.close()


def _rq_performs(wrapped: Callable[..., Any], worker: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        return wrapped(*args, **kwargs)
    finally:
        if getattr(worker, "is_horse", False):
            EXIT.close()


def _connect_celery(signals: Any) -> None:
    signals.worker_process_init.connect(_celery_begins, weak=False)
    signals.worker_process_shutdown.connect(_celery_ends, weak=False)


def _celery_begins(**_told: object) -> None:
    SIGTERM.again()


def _celery_ends(**_told: object) -> None:
    EXIT.close()


SERVERS: Final = Servers()
