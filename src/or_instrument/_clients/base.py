"""What every seam is: wrappers that are put on, taken off and mended, and that do nothing once they are taken off."""

from __future__ import annotations

from types import ModuleType

from or_instrument._calls.observer import Observer
from or_instrument._clients.patch import Wrappers


class Seam(Wrappers):
    """The wrappers of one `instrument()` on one library."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer: Observer | None = observer

    def wrap(self, library: ModuleType) -> None:
        """Put them on a library that has been imported, unless all is taken off by now."""
        if self._observer is not None:
            self._wrap(library)

    def remove(self) -> None:
        """Take them off."""
        self._observer = None
        self.take_off()

    def _wrap(self, library: ModuleType) -> None:
        raise NotImplementedError
