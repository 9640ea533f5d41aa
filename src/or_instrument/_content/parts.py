"""Turns the parts of a message, of any API, into the parts of the GenAI conventions; media only by reference.

Shapes: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-input-messages.json
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from or_instrument._content.text import Item, decoded_size, loads
from or_instrument._openrouter.values import code, get, items

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TAKEN: Final = frozenset(
    ("blob", "reasoning", "server_tool_call", "server_tool_call_response", "tool_call", "tool_call_response", "uri")
)
_MIME: Final = re.compile(r"[\w.+-]+/[\w.+-]+\Z")


def text(content: object, kind: str = "text") -> Item | None:
    """Return a part that is all text, `None` where there is none."""
    return {"type": kind, "content": content} if isinstance(content, str) and content else None


def part(source: object) -> Item | None:
    """Return one part of a message's content, `None` where it is empty; of an unknown one no more than its type."""
    if isinstance(source, str):
        return text(source)
    kind = code(get(source, "type")) or "unknown"
    read = _PARTS.get(kind)
    return opaque(kind) if read is None else read(source)


def opaque(kind: str) -> Item:
    """Return a part of a type that is not known here, without its fields; it must not pass for one that is."""
    return {"type": "unknown" if kind in _TAKEN else kind}


def parts(content: object) -> list[Item]:
    """Return the parts of a content, which is a text or a list of parts."""
    listed = (content,) if isinstance(content, str) else items(content)
    return [made for source in listed if (made := part(source)) is not None]


def media(source: object, modality: str, mime_type: str | None = None) -> Item:
    """Return a URL as a `uri` part; of a data URL or base64 text a `blob` part with its size in bytes, without them."""
    if isinstance(source, str) and _URL.match(source) and source[:5].lower() != "data:":
        return made(type="uri", mime_type=mime_type, modality=modality, uri=source)
    size = None
    if isinstance(source, str):
        head, comma, data = source.partition(",")
        if comma and head[:5].lower() == "data:":
            named = head[5:].partition(";")[0]
            mime_type = named if _MIME.match(named) else mime_type
            size = decoded_size(data) if head.lower().endswith(";base64") else len(data)
        else:
            size = decoded_size(source)
    return made(type="blob", mime_type=mime_type, modality=modality, size=size)


def tool_call(call_id: object, name: object, arguments: object) -> Item:
    """Return a call of one of the user's tools; arguments that are a JSON object are read."""
    read = loads(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(read, dict):
        read = arguments if isinstance(arguments, str) and arguments else None
    return made(type="tool_call", id=code(call_id), name=name if isinstance(name, str) else "unknown", arguments=read)


def tool_response(call_id: object, output: object) -> Item:
    """Return what a tool of the user's answered: a text or parts."""
    response = output if isinstance(output, str) or output is None else parts(output)
    return {**made(type="tool_call_response", id=code(call_id)), "response": response}


def made(**fields: object) -> Item:
    """Return the fields that are known."""
    return {name: value for name, value in fields.items() if value is not None}


def _text(name: str, kind: str = "text") -> Callable[[object], Item | None]:
    """Return a reader for a part whose text has this name."""
    return lambda source: text(get(source, name), kind)


def _image(source: object) -> Item:
    return _file_id(source, "image") or media(_url(source, "image_url"), "image")


def _video(source: object) -> Item:
    return media(_url(source, "video_url"), "video")


def _audio(source: object) -> Item:
    audio = get(source, "input_audio")
    form = code(get(audio, "format"))
    return media(get(audio, "data"), "audio", f"audio/{form}" if form else None)


def _file(source: object) -> Item:
    file = get(source, "file")
    file = source if file is None else file
    data = get(file, "file_data")
    data = get(file, "file_url") if data is None else data
    filename = get(file, "filename")
    found = _file_id(file, "document") or media(data, "document")
    return {**found, "filename": filename} if isinstance(filename, str) else found


def _file_id(source: object, modality: str) -> Item | None:
    file_id = get(source, "file_id")
    return {"type": "file", "modality": modality, "file_id": file_id} if isinstance(file_id, str) else None


def _url(source: object, name: str) -> object:
    value = get(source, name)
    return value if isinstance(value, str) else get(value, "url")


def _sourced(modality: str) -> Callable[[object], Item | None]:
    """Return a reader for a block of Anthropic's: a URL, base64, a text, or blocks."""

    def read(block: object) -> Item | None:
        source = get(block, "source")
        file = _file_id(source, modality)
        if file is not None:
            return file
        if get(source, "type") in ("text", "content"):
            return opaque(modality)
        held = get(source, "data") if get(source, "url") is None else get(source, "url")
        mime_type = get(source, "media_type")
        is_mime = isinstance(mime_type, str) and _MIME.match(mime_type) is not None
        return media(held, modality, str(mime_type) if is_mime else None)

    return read


def _server_tool_use(block: object) -> Item:
    name = code(get(block, "name")) or "unknown"
    return made(type="server_tool_call", id=code(get(block, "id")), name=name, server_tool_call={"type": name})


_PARTS: Final[Mapping[str, Callable[[object], Item | None]]] = {
    "text": _text("text"),
    "input_text": _text("text"),
    "output_text": _text("text"),
    "refusal": _text("refusal", "refusal"),
    "reasoning_text": _text("text", "reasoning"),
    "summary_text": _text("text", "reasoning"),
    "image_url": _image,
    "input_image": _image,
    "video_url": _video,
    "input_video": _video,
    "input_audio": _audio,
    "file": _file,
    "input_file": _file,
    "thinking": _text("thinking", "reasoning"),
    "image": _sourced("image"),
    "document": _sourced("document"),
    "tool_use": lambda block: tool_call(get(block, "id"), get(block, "name"), get(block, "input")),
    "tool_result": lambda block: tool_response(get(block, "tool_use_id"), get(block, "content")),
    "server_tool_use": _server_tool_use,
}
