"""Puts one chat message together, from the whole of it or from the deltas of a stream."""

from __future__ import annotations

from or_instrument._content.parts import made, media, parts, text, tool_call, tool_response
from or_instrument._content.text import Item
from or_instrument._openrouter.values import code, get, items


class Draft:
    """A message in the making: texts of a kind and the arguments of a tool call grow by what is added."""

    __slots__ = ("_audio", "_calls", "_more", "_texts", "role")

    def __init__(self) -> None:
        self.role: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._more: list[Item] = []
        self._audio: object = None
        self._calls: dict[int, tuple[dict[str, object], list[str]]] = {}

    def add(self, source: object) -> None:
        """Add a message or a delta."""
        self.role = code(get(source, "role")) or self.role
        self.say("reasoning", _reasoning(source))
        content = get(source, "content")
        if isinstance(content, str):
            self.say("text", content)
        else:
            self._more += parts(content)
        self.say("refusal", get(source, "refusal"))
        self._more += parts(get(source, "images"))
        audio = get(source, "audio")
        if audio is not None:
            self._audio = audio
            self.say("transcript", get(audio, "transcript"))
        for position, call in enumerate(items(get(source, "tool_calls"))):
            index = get(call, "index")
            self._add_call(index if isinstance(index, int) else position, call)
        function = get(source, "function_call")
        if function is not None:
            self.call(0, None, get(function, "name"), get(function, "arguments"))

    def say(self, kind: str, piece: object) -> None:
        """Add a piece of text to those of its kind."""
        if isinstance(piece, str) and piece:
            self._texts.setdefault(kind, []).append(piece)

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

    def _add_call(self, index: int, call: object) -> None:
        function = get(call, "function")
        if function is not None:
            self.call(index, get(call, "id"), get(function, "name"), get(function, "arguments"))
        else:
            custom = get(call, "custom")
            self.call(index, get(call, "id"), get(custom, "name"), get(custom, "input"))


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


def _reasoning(source: object) -> object:
    # `reasoning_details` says the same once more, with what is encrypted; it is read only where it stands alone.
    for name in ("reasoning", "reasoning_content"):
        if isinstance(said := get(source, name), str):
            return said
    details = items(get(source, "reasoning_details"))
    texts = [get(detail, name) for detail in details for name in ("text", "summary")]
    return "".join(said for said in texts if isinstance(said, str))
