"""Folds what was answered, whole or in the chunks and events of a stream, into one message a choice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, cast

from or_instrument._content.items import item_parts
from or_instrument._content.message import Draft
from or_instrument._content.parts import parts
from or_instrument._content.text import Item, plain
from or_instrument._openrouter.values import fields, get, items

_ASSISTANT: Final = "assistant"
_FINISH_WORDS: Final = {"tool_calls": "tool_call", "function_call": "tool_call"}
_BLOCKS: Final = ("text", "thinking")
_DELTAS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
}


class Answer:
    """What has been said so far, as dicts or as the SDK's models; holds texts, not the chunks."""

    __slots__ = ("_choices", "_done", "_drafts", "_output")

    def __init__(self) -> None:
        self._choices: defaultdict[int, Draft] = defaultdict(Draft)
        self._drafts: defaultdict[int, Draft] = defaultdict(Draft)
        self._done: dict[int, list[Item]] = {}
        self._output: list[Item] = []

    def see(self, chunk: object) -> None:
        """Take in a body, a chunk or an event."""
        choices = get(chunk, "choices")
        if choices is not None:
            for position, choice in enumerate(items(choices)):
                self._see_choice(position, fields(choice))
            return
        kind = get(chunk, "type")
        if isinstance(kind, str):
            self._see_event(kind, chunk)
        body = get(chunk, "response")
        output = items(get(chunk if body is None else body, "output"))
        if output:
            self._output = [part for item in output for part in item_parts(item)]
        elif kind == "message":
            self._output = parts(get(chunk, "content"))

    def messages(self, finish_reasons: Sequence[str], *, failed: bool) -> tuple[Item, ...]:
        """Return one message a choice as plain JSON, with the finish reasons in the words of the conventions."""
        said = [(draft.role or _ASSISTANT, draft.parts()) for _, draft in sorted(self._choices.items())]
        if output := self._output or self._pieces():
            said.append((_ASSISTANT, output))
        made: list[Item] = [{"role": role, "parts": parts} for role, parts in said]
        if len(finish_reasons) == len(made):
            for message, reason in zip(made, finish_reasons, strict=True):
                message["finish_reason"] = _FINISH_WORDS.get(reason, reason)
        elif failed:
            for message in made:
                message["finish_reason"] = "error"
        return tuple(cast("list[Item]", plain(made)))

    def _see_choice(self, position: int, choice: Mapping[str, object]) -> None:
        index = choice.get("index")
        draft = self._choices[index if isinstance(index, int) else position]
        source = choice.get("message")
        source = choice.get("delta") if source is None else source
        if source is None:
            draft.say("text", choice.get("text"))
        else:
            draft.add(source)

    def _see_event(self, kind: str, event: object) -> None:
        if kind.startswith("content_block_"):
            self._see_block(kind, event)
            return
        index = get(event, "output_index")
        if not isinstance(index, int):
            return
        delta = get(event, "delta")
        if kind in _DELTAS:
            self._drafts[index].say(_DELTAS[kind], delta)
        elif kind in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
            self._drafts[index].call(0, None, None, delta)
        elif kind == "response.output_item.added":
            item = get(event, "item")
            if get(item, "name") is not None:
                self._drafts[index].call(0, get(item, "call_id"), get(item, "name"), None)
        elif kind == "response.output_item.done":
            self._done[index] = item_parts(get(event, "item"))

    def _see_block(self, kind: str, event: object) -> None:
        """Take in an event of an Anthropic stream, which numbers the blocks of its one message."""
        index = get(event, "index")
        if not isinstance(index, int):
            return
        draft = self._drafts[index]
        if kind == "content_block_start":
            block = get(event, "content_block")
            if get(block, "type") == "tool_use":
                draft.call(0, get(block, "id"), get(block, "name"), None)
            elif get(block, "type") not in _BLOCKS:
                self._done[index] = parts([block])
            return
        delta = get(event, "delta")
        draft.say("text", get(delta, "text"))
        draft.say("reasoning", get(delta, "thinking"))
        if (piece := get(delta, "partial_json")) is not None and index not in self._done:
            draft.call(0, None, None, piece)

    def _pieces(self) -> list[Item]:
        """Return what a stream said that was broken off before the event that holds the whole."""
        drafted = {index: draft.parts() for index, draft in self._drafts.items()}
        return [part for _, parts in sorted({**drafted, **self._done}.items()) for part in parts]
