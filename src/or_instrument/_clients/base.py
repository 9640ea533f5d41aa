"""What every seam is: wrappers that are put on, taken off and mended, and that do nothing once they are taken off."""

from __future__ import annotations

from or_instrument._calls.observer import Observer
from or_instrument._clients.patch import Wrappers


class Seam:
    """The wrappers of one `instrument()` on one library."""

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer | None = observer
        self._wrappers = Wrappers()

    def install(self) -> None:
        """Put them on now if the library is imported, otherwise when it is; imports nothing."""
        raise NotImplementedError

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
