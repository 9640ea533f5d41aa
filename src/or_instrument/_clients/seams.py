"""Makes the seams of one `instrument()`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from or_instrument._calls.observer import Observer
from or_instrument._clients.aiohttp import AiohttpPatch
from or_instrument._clients.http_base import SendSeam
from or_instrument._clients.httpx import HTTPXPatch
from or_instrument._clients.openai import OpenAIPatch
from or_instrument._clients.openai_body import Additions
from or_instrument._clients.patch import Seam
from or_instrument._clients.registry import OPENAI
from or_instrument._clients.requests import RequestsPatch

_BELOW: Final[tuple[type[SendSeam], ...]] = (HTTPXPatch, RequestsPatch, AiohttpPatch)


def seams_of(observer: Observer, additions: Additions, clients: Collection[str]) -> Mapping[str, Seam]:
    """Return the seams by the words of the option `clients`, the SDK's first."""
    # What the SDK sends is its own seam's, or nobody's: the seams below must know of it in any case.
    sdk = OpenAIPatch(observer, additions, records=OPENAI in clients)
    return {OPENAI: sdk} | {seam.client: seam(observer, sdk.misses_calls) for seam in _BELOW if seam.client in clients}
