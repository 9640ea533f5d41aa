"""Waits for `import openai` where `OR_INSTRUMENT_ENABLED` is set, and switches `or_instrument` on then.

Run by a `.pth` file at interpreter start, so it lives beside the package and imports nothing but `sys`: the package
and what it needs take tens of milliseconds, which a process that never imports openai must not pay.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_CLIENT_MODULE = "openai._client"


class _Waiting:
    """A meta path finder that finds nothing of its own: it sees the SDK's import begin, once."""

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None" = None,  # noqa: ARG002 - the finders' protocol
        target: "ModuleType | None" = None,  # noqa: ARG002 - the finders' protocol
    ) -> "ModuleSpec | None":
        if name != _CLIENT_MODULE or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        _switch_on()
        # The list of finders has changed under the import system's feet, so the rest of the search is done here.
        from importlib.util import find_spec  # noqa: PLC0415 - not at interpreter start

        return find_spec(name)


def register() -> None:
    """Wait for the SDK, unless that is being done already."""
    if not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


def _switch_on() -> None:
    try:
        from or_instrument._instrument import instrument_at_start  # noqa: PLC0415 - not at interpreter start

        instrument_at_start()
    except Exception as exc:  # noqa: BLE001 - the application's import of openai must go on
        told = " ".join(f"{type(exc).__name__}: {exc}".split())
        sys.stderr.write(f"or_instrument: not switched on, no call is recorded: {told}\n")
