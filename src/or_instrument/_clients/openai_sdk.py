"""The SDK's internals that we touch, each in one function; a contract test holds them on every supported version."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from or_instrument._openrouter.hosts import URL
from or_instrument._openrouter.values import label

if TYPE_CHECKING:
    from openai._models import FinalRequestOptions

SUPPORTED: Final = "openai>=1.40,<4"
_SYNC_METHODS: Final = ("iter_bytes", "close")
_ASYNC_METHODS: Final = ("aiter_bytes", "aclose")
_NO_BODY: Final[Mapping[str, object]] = {}


def url_of(client: Any, options: FinalRequestOptions) -> URL:
    """Return where a call goes: the client's base URL, unless the call names a whole URL of its own."""
    base: Any = client.base_url
    return type(base)(options.url) if "://" in options.url else base  # type: ignore[no-any-return]


def sent_body(options: FinalRequestOptions) -> Mapping[str, object]:
    """Return the top level of the JSON body that the SDK will send, empty where it is no object."""
    body, extra = options.json_data, options.extra_json
    if extra is None:
        return body if isinstance(body, dict) else _NO_BODY
    if not isinstance(body, Mapping):
        return extra if isinstance(extra, Mapping) and body is None else _NO_BODY
    return {**body, **extra} if isinstance(extra, Mapping) else body


def options_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FinalRequestOptions:
    """Return the options among the arguments of the client's `request(cast_to, options, ...)`."""
    return args[1] if len(args) > 1 else kwargs["options"]  # type: ignore[no-any-return]


def with_options(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], options: FinalRequestOptions
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the same arguments with other options."""
    if len(args) > 1:
        return (args[0], options, *args[2:]), kwargs
    return args, {**kwargs, "options": options}


def observed(
    options: FinalRequestOptions, observe: Callable[[object], None], extra_json: Mapping[str, object] | None
) -> FinalRequestOptions:
    """Return a copy of the options whose parsed reply is shown to `observe` before the caller's own parser runs."""
    theirs = options.post_parser
    parser = _chained(observe, theirs) if callable(theirs) else _shown(observe)
    update: dict[str, Any] = {"post_parser": parser}
    if extra_json is not None:
        update["extra_json"] = extra_json
    if not hasattr(options, "model_copy"):  # pydantic 1, with which the SDK runs too
        return options.copy(update=update)
    # What `model_copy(update=...)` does, without its checks of names that are known to be fields.
    copied = options.__copy__()
    copied.__dict__.update(update)
    copied.__pydantic_fields_set__.update(update)
    return copied


def _shown(observe: Callable[[object], None]) -> Callable[[Any], Any]:
    def parser(parsed: Any) -> Any:
        observe(parsed)
        return parsed

    return parser


def _chained(observe: Callable[[object], None], theirs: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def parser(parsed: Any) -> Any:
        observe(parsed)
        return theirs(parsed)

    return parser


def is_model(parsed: object) -> bool:
    """Return whether a parsed reply is one of the SDK's models: asking one for a name that it has not is slow."""
    return hasattr(parsed, "__pydantic_extra__")


def is_stream(parsed: object) -> bool:
    """Return whether a parsed reply is the SDK's `Stream` or `AsyncStream`, or a subclass of them."""
    held = getattr(parsed, "__dict__", _NO_BODY)
    return "_iterator" in held and "response" in held


def replace_iterator(stream: Any, tap: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Put a tap on the iterator that the stream reads from; return the iterator and the tap."""
    theirs = stream._iterator
    ours = stream._iterator = tap(theirs)
    return theirs, ours


def http_response_of(result: Any) -> Any:
    """Return the HTTP response inside what `request` returned, `None` where there is none."""
    if is_model(result):
        return None
    # The SDK's own response classes look like an HTTP response themselves: what they hold goes first.
    for candidate in (getattr(result, "http_response", None), getattr(result, "response", None), result):
        if hasattr(candidate, "iter_bytes") and hasattr(candidate, "status_code") and hasattr(candidate, "is_closed"):
            return candidate
    return None


def methods_in_use(response: Any) -> tuple[str, ...]:
    """Return the methods by which a response is read and closed: sync or async, both where its body is in memory."""
    stream = response.stream
    if not hasattr(stream, "__aiter__"):
        return _SYNC_METHODS if hasattr(stream, "__iter__") else ()
    return _SYNC_METHODS + _ASYNC_METHODS if hasattr(stream, "__iter__") else _ASYNC_METHODS


def body_of(response: Any) -> bytes | None:
    """Return the body where it has been read already, without consuming anything."""
    try:
        return response.content  # type: ignore[no-any-return]
    except RuntimeError:  # httpx.ResponseNotRead
        return None


def is_json(response: Any) -> bool:
    """Return whether a response calls its body JSON, or calls it nothing."""
    kind = response.headers.get("content-type")
    return kind is None or "json" in kind


def is_event_stream(response: Any) -> bool:
    """Return whether a response calls its body server-sent events."""
    kind = response.headers.get("content-type")
    return kind is not None and kind.startswith("text/event-stream")


def header(response: Any, name: str) -> str | None:
    """Return a response header."""
    return label(response.headers.get(name))


def error_chunk(exc: BaseException) -> object:
    """Return the chunk that carried a mid-stream error, `None` where it cannot be had.

    The SDK throws the chunk away with its `usage`, the bill; the frame that raised still holds it.
    """
    traceback: TracebackType | None = exc.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "__stream__":
            data = frame.f_locals.get("data")
            return data if isinstance(data, dict) else None
        traceback = traceback.tb_next
    return None


def is_closed_by_reader() -> bool:
    """Return whether the caller's caller was called by the HTTP library's own reader of a body.

    In `httpx2` that generator closes the response when it is destroyed.
    """
    return sys._getframe(3).f_code.co_name in ("iter_raw", "aiter_raw")


def is_running(generator: object) -> bool:
    """Return whether a generator, sync or async, is executing at this moment."""
    if isinstance(generator, GeneratorType):
        return generator.gi_running
    return bool(getattr(generator, "ag_running", False))
