"""Which clients there are, in the words of the option `clients`; their seams, put on and taken off together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Final, NamedTuple

from or_instrument._calls.shield import report
from or_instrument._clients.patch import Seam, post_import


class Library(NamedTuple):
    """A library whose import a seam waits for."""

    client: str
    """The word of the option `clients`."""
    module: str
    """The one that is wrapped."""
    last: str | None = None
    """The one that is waited for while the library is half imported."""


OPENAI: Final = "openai"
_LIBRARIES: Final = (
    Library(OPENAI, "openai._client", "openai._module_client"),
    Library("httpx", "httpx"),
    Library("httpx", "httpx2"),
    Library("requests", "requests.sessions"),
    Library("aiohttp", "aiohttp.client"),
)
CLIENTS: Final = tuple(dict.fromkeys(library.client for library in _LIBRARIES))
"""The words of the option `clients`."""


class Seams:
    """The seams of one `instrument()`, by their words.

    They are made when the first of the libraries is imported: a process that imports none need not wait for them.
    """

    def __init__(self, make: Callable[[], Mapping[str, Seam]]) -> None:
        self._make = make
        self._made: list[Mapping[str, Seam]] = []
        """The first of them is in use."""
        self._is_removed = False

    def install(self) -> None:
        """Put them on, each now if its library is imported, otherwise when it is; imports none of them."""
        for client, module, last in _LIBRARIES:
            post_import(partial(self._wrap, client), module, last=last)

    def remove(self) -> None:
        """Take them off, the last first."""
        self._is_removed = True
        for seam in reversed(self._seams):
            seam.remove()

    def lost(self) -> list[str]:
        """Return the methods that another library has taken our wrappers off, as `Owner.method`."""
        return [method for seam in self._seams for method in seam.lost()]

    def mend(self) -> None:
        """Put those wrappers on again."""
        for seam in self._seams:
            seam.mend()

    @property
    def _seams(self) -> list[Seam]:
        return [seam for seams in self._made[:1] for seam in seams.values()]

    def _wrap(self, client: str, library: ModuleType) -> None:
        if self._is_removed:
            return
        try:
            if not self._made:
                # Of two threads that import at once both may make them, and those of the first are taken.
                self._made.append(self._make())
            if client in self._made[0]:
                self._made[0][client].wrap(library)
        except Exception as exc:  # noqa: BLE001 - the shield: the import goes on
            report(f"patching {library.__name__}", exc)
        if self._is_removed:
            self.remove()  # by another thread, which may have found none
