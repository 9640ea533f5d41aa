"""Puts one chat message together, from the whole of it or from the deltas of a stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from or_instrument._content.parts import made, media, parts, text, tool_call, tool_response
from or_instrument._content.text import Item
from or_instrument._openrouter.values import code, fields, get, items

_REASONING: Final = frozenset(("reasoning", "reasoning_content", "reasoning_details"))


class Draft:
    """A message in the making: texts of a kind and the arguments of a tool call grow by what is added."""

    __slots__ = ("_audio", "_calls", "_more", "_texts", "role")

    def __init__(self) -> None:
        self.role: str | None = None
        self._texts: defaultdict[str, list[str]] = defaultdict(list)
        self._more: list[Item] = []
        self._audio: object = None
        self._calls: dict[int, tuple[dict[str, object], list[str]]] = {}

    def add(self, source: object) -> None:
        """Add a message or a delta."""
        said = fields(source)
        if not _REASONING.isdisjoint(said):
            self.say("reasoning", _reasoning(said))
        # Of a delta, which holds one or two of them, only what it holds is looked at.
        for name, value in said.items():
            if value is not None and (take := self._PARTS.get(name)) is not None:
                take(self, value)

    def say(self, kind: str, piece: object) -> None:
        """Add a piece of text to those of its kind."""
        if isinstance(piece, str) and piece:
            self._texts[kind].append(piece)

    def call(self, index: int, call_id: object, name: object, arguments: object) -> None:
        """Add to a tool call: its id and name where first seen, a piece of its arguments."""
        known, pieces = self._calls.setdefault(index, ({}, []))
        if call_id:
            known.setdefault("id", call_id)
        if name:
            known.setdefault("name", name)
        if isinstance(arguments, str):
            pieces.append(arguments)

    def parts(self) -> list[Item]:
        """Return the parts so far: reasoning, content, media, tool calls."""
        said = {kind: "".join(pieces) for kind, pieces in self._texts.items()}
        transcript = said.pop("transcript", None)
        texts = [made_text for kind, content in said.items() if (made_text := text(content, kind)) is not None]
        calls = [
            tool_call(known.get("id"), known.get("name"), "".join(pieces))
            for _, (known, pieces) in sorted(self._calls.items())
        ]
        return [*texts, *self._more, *self._heard(transcript), *calls]

    def _heard(self, transcript: str | None) -> list[Item]:
        if self._audio is None:
            return []
        return [{**media(get(self._audio, "data"), "audio"), **made(transcript=transcript)}]

    def _take_role(self, role: object) -> None:
        if role != self.role:
            self.role = code(role) or self.role

    def _take_content(self, content: object) -> None:
        if isinstance(content, str):
            self.say("text", content)
        else:
            self._more += parts(content)

    def _take_images(self, images: object) -> None:
        self._more += parts(images)

    def _take_audio(self, audio: object) -> None:
        self._audio = audio
        self.say("transcript", get(audio, "transcript"))

    def _take_calls(self, calls: object) -> None:
        for position, call in enumerate(items(calls)):
            index = get(call, "index")
            self._add_call(index if isinstance(index, int) else position, call)

    def _take_function(self, function: object) -> None:
        self.call(0, None, get(function, "name"), get(function, "arguments"))

    def _add_call(self, index: int, call: object) -> None:
        function = get(call, "function")
        if function is not None:
            self.call(index, get(call, "id"), get(function, "name"), get(function, "arguments"))
        else:
            custom = get(call, "custom")
            self.call(index, get(call, "id"), get(custom, "name"), get(custom, "input"))

    _PARTS: ClassVar[Mapping[str, Callable[[Draft, object], None]]] = {
        "role": _take_role,
        "content": _take_content,
        "refusal": lambda draft, refusal: draft.say("refusal", refusal),
        "images": _take_images,
        "audio": _take_audio,
        "tool_calls": _take_calls,
        "function_call": _take_function,
    }
    """What a message may hold besides its reasoning, which is shown first."""


def message(source: object) -> Item:
    """Return a chat message of the request."""
    role = code(get(source, "role")) or "user"
    if role in ("tool", "function"):
        said = [tool_response(get(source, "tool_call_id"), get(source, "content"))]
    else:
        draft = Draft()
        draft.add(source)
        said = draft.parts()
    name = get(source, "name")
    return made(role=role, name=name if isinstance(name, str) else None, parts=said)


def _reasoning(said: Mapping[str, object]) -> object:
    # `reasoning_details` says the same once more, with what is encrypted; it is read only where it stands alone.
    for name in ("reasoning", "reasoning_content"):
        if isinstance(whole := said.get(name), str):
            return whole
    details = items(said.get("reasoning_details"))
    texts = [get(detail, name) for detail in details for name in ("text", "summary")]
    return "".join(text for text in texts if isinstance(text, str))
