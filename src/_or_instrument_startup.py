"""Waits for an import through which calls may go, where `OR_INSTRUMENT_ENABLED` is set, and switches recording on.

Run by a `.pth` file at interpreter start, so it lives beside the package and imports nothing but `sys`: the package
and what it needs take tens of milliseconds, which a process that imports none of those libraries must not pay.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_SDK = "openai._client"
_LIBRARIES = ("httpx", "httpx2", "requests", "aiohttp")


class _Waiting:
    """A meta path finder that finds nothing of its own: it sees the first of these imports, once."""

    def __init__(self) -> None:
        self._sought: set[str] = set()

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None" = None,  # noqa: ARG002 - the finders' protocol
        target: "ModuleType | None" = None,  # noqa: ARG002 - the finders' protocol
    ) -> "ModuleSpec | None":
        if (name != _SDK and name not in _LIBRARIES) or name in self._sought or self not in sys.meta_path:
            return None
        if name == _SDK:
            self._switch_on()
        # The list of finders may have changed under the import system's feet, so the rest of the search is done here.
        from importlib.util import find_spec  # noqa: PLC0415 - not at interpreter start

        self._sought.add(name)
        try:
            spec = find_spec(name)
        finally:
            self._sought.discard(name)
        if name != _SDK and spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: "Loader") -> None:
        """Have the loader switch on when it is done: what is switched on may itself import the library."""
        theirs = loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            theirs(module)
            self._switch_on()

        try:
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except AttributeError:
            return  # a loader of somebody's own; the next import is waited for

    def _switch_on(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            _switch_on()


def register() -> None:
    """Wait for the imports, unless that is being done already."""
    if not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


def _switch_on() -> None:
    try:
        from or_instrument._instrument import instrument_at_start  # noqa: PLC0415 - not at interpreter start

        instrument_at_start()
    except Exception as exc:  # noqa: BLE001 - the application's import must go on
        told = " ".join(f"{type(exc).__name__}: {exc}".split())
        sys.stderr.write(f"or_instrument: not switched on, no call is recorded: {told}\n")
