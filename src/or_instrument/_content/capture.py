"""Captures the content of calls, where the user has asked for it: collected from start to end, redacted, cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from or_instrument._calls.shield import report
from or_instrument._content.answered import Answer
from or_instrument._content.asked import asked
from or_instrument._content.text import Item, Redact, fit, plain, redacted
from or_instrument._records import Call, Content


class Capture:
    """How content is captured: at most `limit` characters of JSON an attribute, every text through `redact`."""

    def __init__(self, limit: int, redact: Redact | None = None) -> None:
        self._limit = limit
        self._redact = redact

    def begin(self, body: Mapping[str, object]) -> Collector | None:
        """Return a collector for a call that sends this body, `None` where something of ours failed."""
        try:
            return Collector(asked(body), self._shown)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("capturing what was asked", exc)
            return None

    def _shown(self, content: Content) -> Content | None:
        if self._redact is not None:
            try:
                content = Content(*(_redacted(field, self._redact) for field in content))
            except Exception as exc:  # noqa: BLE001 - what cannot be redacted is not shown
                report("redact(), which keeps this call's content from being captured,", exc)
                return None
        return Content(
            fit(content.input_messages, self._limit, _message_note),
            fit(content.output_messages, self._limit, _message_note),
            fit(content.system_instructions, self._limit, _part_note),
            fit(content.tool_definitions, self._limit, _tool_note),
        )


class Collector:
    """Collects what one call says."""

    __slots__ = ("_answer", "_asked", "_shown")

    def __init__(self, asked_: Content, shown: Callable[[Content], Content | None]) -> None:
        self._asked = asked_
        self._answer = Answer()
        self._shown = shown

    def see(self, chunk: object) -> None:
        """Take in a body, a chunk or an event as it passes; never raises."""
        try:
            self._answer.see(chunk)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("capturing a chunk", exc)

    def content(self, call: Call) -> Content | None:
        """Return what a finished call said, `None` where it must not be shown."""
        try:
            said = self._answer.messages(call.reply.finish_reasons, failed=call.outcome == "error")
            return self._shown(self._asked._replace(output_messages=said))
        except Exception as exc:  # noqa: BLE001 - the shield
            report("capturing content", exc)
            return None


def _redacted(listed: tuple[Mapping[str, object], ...], redact: Redact) -> tuple[Item, ...]:
    shown = [item for one in listed if (item := redacted(one, redact)) is not None]
    return tuple(cast("list[Item]", plain(shown)))


def _part_note(text: str) -> Item:
    return {"type": "text", "content": text}


def _message_note(text: str) -> Item:
    return {"role": "omitted", "parts": [_part_note(text)]}


def _tool_note(text: str) -> Item:
    return {"type": "omitted", "name": text}
