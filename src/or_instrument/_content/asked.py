"""Reads what is asked out of a request body of any endpoint: messages, instructions, tool definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from or_instrument._content.items import item_message
from or_instrument._content.message import message
from or_instrument._content.parts import made, parts
from or_instrument._content.text import Item, plain
from or_instrument._openrouter.values import code, get, items
from or_instrument._records import Content


def asked(body: Mapping[str, object]) -> Content:
    """Return what a body asks, as plain JSON that shares nothing with it.

    System and developer messages of a chat are part of its history, so they stay among the messages; only the
    `instructions` of the Responses API and the `system` of Anthropic's are system instructions
    (https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/#gen-ai-system-instructions).
    """
    messages = [message(source) for source in items(body.get("messages"))]
    for name in ("input", "prompt"):
        messages += _inputs(body.get(name))
    tools = [_tool(tool) for tool in items(body.get("tools"))]
    tools += [_function("function", function) for function in items(body.get("functions"))]
    instructions = [*parts(body.get("instructions")), *parts(body.get("system"))]
    return Content(_plain(messages), (), _plain(instructions), _plain(tools))


def _inputs(value: object) -> list[Item]:
    if isinstance(value, str) or _is_tokens(value):
        return [_input(value)]
    return [_input(one) for one in items(value)]


def _input(value: object) -> Item:
    if isinstance(value, str):
        return {"role": "user", "parts": parts(value)}
    if _is_tokens(value):
        return {"role": "user", "parts": [{"type": "tokens", "count": len(items(value))}]}
    return item_message(value)


def _is_tokens(value: object) -> bool:
    listed = items(value)
    return bool(listed) and all(type(token) is int for token in listed)


def _tool(tool: object) -> Item:
    if get(tool, "input_schema") is not None:
        return _function("function", tool)
    kind = code(get(tool, "type")) or "function"
    held = get(tool, kind)
    return _function(kind, tool if held is None else held)


def _function(kind: str, function: object) -> Item:
    name, description, parameters = (get(function, key) for key in ("name", "description", "parameters"))
    parameters = get(function, "input_schema") if parameters is None else parameters
    return made(
        type=kind,
        name=name if isinstance(name, str) else kind,
        description=description if isinstance(description, str) else None,
        parameters=parameters if isinstance(parameters, dict) and kind == "function" else None,
    )


def _plain(listed: Sequence[Item]) -> tuple[Item, ...]:
    return tuple(cast("list[Item]", plain(listed)))
