"""What every seam is: wrappers that are put on, taken off and mended, and that do nothing once they are taken off."""

from __future__ import annotations

from types import ModuleType

from or_instrument._calls.observer import Observer
from or_instrument._clients.patch import Wrappers


class Seam:
    """The wrappers of one `instrument()` on one library."""

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer | None = observer
        self._wrappers = Wrappers()

    def wrap(self, library: ModuleType) -> None:
        """Put them on a library that has been imported, unless all is taken off by now."""
        if self._observer is not None:
            self._wrap(library)

    def remove(self) -> None:
        """Take them off."""
        self._observer = None
        self._wrappers.take_off()

    def lost(self) -> list[str]:
        """Return the methods that another library has taken our wrappers off."""
        return self._wrappers.lost()

    def mend(self) -> None:
        """Put those wrappers on again."""
        self._wrappers.mend()

    def _wrap(self, library: ModuleType) -> None:
        raise NotImplementedError
