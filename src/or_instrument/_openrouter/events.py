"""Takes server-sent events apart, and finds those that tell of a bill, or end a stream.

Events are those of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

BLANK_LINE: Final = b"\n\n"
DATA: Final = b"data:"
TELLING: Final = re.compile(rb'"(?:usage|error)"(?!\s*:\s*null)')
"""The name of a usage object or an error that is there."""
FINISHED: Final = re.compile(rb'"((?:native_)?finish_reason)"\s*:\s*"([^"\\]{1,256})"')
TERMINAL: Final = frozenset(("response.completed", "response.incomplete", "response.failed", "message_stop", "error"))
"""The types of the events after which none follows."""
_DONE: Final = b"[DONE]"
_ENDING: Final = re.compile(
    rb'"(?:native_finish_reason|finish_reason|stop_reason)"\s*:\s*"|"status"\s*:\s*"(?:completed|incomplete|failed)'
)
"""Of a large read, in which events are looked at only for a reason."""


def with_line_feeds(text: bytes) -> bytes:
    """Return a text with each of the three line ends that events may have as a line feed."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def events(block: bytes) -> Iterator[bytes]:
    """Yield the data of each event of a block of whole ones, in their order; comments have none."""
    if block.startswith(DATA) and block.find(b"\n") == len(block) - len(BLANK_LINE):
        yield block[len(DATA) :].strip()  # as most are: one event of one line
        return
    for event in block.split(BLANK_LINE):
        lines = [line[len(DATA) :] for line in event.split(b"\n") if line.startswith(DATA)]
        if lines:
            yield b"\n".join(lines).strip()


def tells(block: bytes) -> bool:
    """Return whether there is a usage object or an error in a block: a name in quotes, whose value is not null.

    Inside a text the quotes would be escaped.
    """
    return TELLING.search(block) is not None


def telling(block: bytes, last: int) -> bytes:
    """Return of a block of many events those with usage, an error or a finish reason, and the `last` few."""
    start = tail_start(block, last)
    kept, end = [], 0
    for pattern in (TELLING, FINISHED):
        for found in pattern.finditer(block, 0, start):
            if found.start() >= end:
                before = block.rfind(BLANK_LINE, 0, found.start())
                end = block.find(BLANK_LINE, found.start()) + len(BLANK_LINE)
                kept.append((0 if before < 0 else before + len(BLANK_LINE), end))
        end = 0
    return b"".join([block[begin:end] for begin, end in sorted(set(kept))]) + block[start:]


def tail_start(block: bytes, last: int) -> int:
    """Return where the last few events of a block begin."""
    start = len(block) - len(BLANK_LINE)
    for _ in range(last):
        start = block.rfind(BLANK_LINE, 0, max(start, 0))
    return start + len(BLANK_LINE) if start >= 0 else 0


def is_done(data: bytes) -> bool:
    """Return whether the data of an event is the mark that ends a stream."""
    return data.startswith(_DONE)


def ends(block: bytes) -> bool:
    """Return whether something in a block says how the answer ended."""
    return _DONE in block or _ENDING.search(block) is not None
