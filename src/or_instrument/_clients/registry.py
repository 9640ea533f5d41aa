"""Which clients there are, in the words of the option `clients`; their seams, put on and taken off together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from or_instrument._calls.observer import Observer
from or_instrument._clients.aiohttp import AiohttpPatch
from or_instrument._clients.base import Seam
from or_instrument._clients.http_base import SendSeam
from or_instrument._clients.httpx import HTTPXPatch
from or_instrument._clients.openai import OpenAIPatch
from or_instrument._clients.openai_body import Additions
from or_instrument._clients.requests import RequestsPatch

OPENAI: Final = "openai"
_BELOW: Final[Sequence[type[SendSeam]]] = (HTTPXPatch, RequestsPatch, AiohttpPatch)
CLIENTS: Final = (OPENAI, *(patch.client for patch in _BELOW))
"""The words of the option `clients`."""


class Seams:
    """The patches of one `instrument()`."""

    def __init__(self, observer: Observer, additions: Additions, clients: Collection[str]) -> None:
        # What the SDK sends is its own seam's, or nobody's: the seams below must know of it in any case.
        sdk = OpenAIPatch(observer, additions, records=OPENAI in clients)
        below = [patch(observer, sdk.misses_calls) for patch in _BELOW if patch.client in clients]
        self._patches: list[Seam] = [sdk, *below]

    def install(self) -> None:
        """Put them on, each now if its library is imported, otherwise when it is."""
        for patch in self._patches:
            patch.install()

    def remove(self) -> None:
        """Take them off, the last first."""
        for patch in reversed(self._patches):
            patch.remove()

    def lost(self) -> list[str]:
        """Return the methods that another library has taken our wrappers off, as `Owner.method`."""
        return [method for patch in self._patches for method in patch.lost()]

    def mend(self) -> None:
        """Put those wrappers on again."""
        for patch in self._patches:
            patch.mend()
