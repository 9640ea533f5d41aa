"""Recognises the events that end a stream: by their type, by the mark `[DONE]`, or by bytes in a large read."""

from __future__ import annotations

import re
from typing import Final

TERMINAL: Final = frozenset(("response.completed", "response.incomplete", "response.failed", "message_stop", "error"))
"""The types of the events after which none follows."""
_DONE: Final = b"[DONE]"
_ENDING: Final = re.compile(
    rb'"(?:native_finish_reason|finish_reason|stop_reason)"\s*:\s*"|"status"\s*:\s*"(?:completed|incomplete|failed)'
)
"""Of a large read, in which events are looked at only for a reason."""


def is_done(data: bytes) -> bool:
    """Return whether the data of an event is the mark that ends a stream."""
    return data.startswith(_DONE)


def ends(block: bytes) -> bool:
    """Return whether something in a block says how the answer ended."""
    return _DONE in block or _ENDING.search(block) is not None
