"""Turns the items of the Responses API, of its input and of its output alike, into messages and their parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from or_instrument._content.parts import made, media, opaque, parts, tool_call, tool_response
from or_instrument._content.text import Item
from or_instrument._openrouter.values import code, get


def item_message(item: object) -> Item:
    """Return an item of the input as a message."""
    kind = get(item, "type")
    role = code(get(item, "role"))
    if role is None and isinstance(kind, str) and kind != "message":
        role = "tool" if kind.endswith("_output") else "assistant"
    return {"role": role or "user", "parts": item_parts(item)}


def item_parts(item: object) -> list[Item]:
    """Return the parts that an item adds to its message."""
    kind = code(get(item, "type")) or "message"
    read = _ITEMS.get(kind)
    if read is not None:
        return read(item)
    if not kind.endswith("_call") and ":" not in kind:
        return [opaque(kind)]
    name = kind.removesuffix("_call")
    return [made(type="server_tool_call", id=code(get(item, "id")), name=name, server_tool_call={"type": kind})]


def _call_output(item: object) -> list[Item]:
    return [tool_response(get(item, "call_id"), get(item, "output"))]


_ITEMS: Final[Mapping[str, Callable[[object], list[Item]]]] = {
    "message": lambda item: parts(get(item, "content")),
    "reasoning": lambda item: parts(get(item, "content")) or parts(get(item, "summary")),
    "function_call": lambda item: [tool_call(get(item, "call_id"), get(item, "name"), get(item, "arguments"))],
    "function_call_output": _call_output,
    "custom_tool_call": lambda item: [tool_call(get(item, "call_id"), get(item, "name"), get(item, "input"))],
    "custom_tool_call_output": _call_output,
    "image_generation_call": lambda item: [media(get(item, "result"), "image")],
}
