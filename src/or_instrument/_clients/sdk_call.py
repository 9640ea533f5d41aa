"""Which call of the OpenAI SDK is under way: its own requests are that call, recorded by its seam or not at all."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final


class SDKCall:
    """One `request` of the SDK, and the HTTP client through which it sends."""

    __slots__ = ("_http", "is_running")

    def __init__(self, http: object) -> None:
        self._http = http
        self.is_running = True

    def is_sent_by(self, http: object) -> bool:
        """Return whether what this HTTP client sends now is the SDK's own request."""
        return self.is_running and http is self._http


SDK_CALL: Final[ContextVar[SDKCall | None]] = ContextVar("or_instrument.sdk_call", default=None)
"""A task that is started inside may outlive it with a copy of the context."""
_AGENT: Final = "OpenAI/Python "


def is_sdks(agent: str) -> bool:
    """Return whether a request says that the SDK sends it.

    Where another patch has taken ours off the SDK, or its version is none of ours, nothing else tells.
    """
    return _AGENT in agent
