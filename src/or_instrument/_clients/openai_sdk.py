"""The internals of the OpenAI SDK that we touch; a contract test holds them on every supported version.

- `OpenAI.request(cast_to, options, ...)` and its async twin: every call passes them, once over all its retries.
- `_process_response(*, response, ...)` of both: `response` is the one that the SDK goes on with.
- `_custom_headers` of both, the HTTP client `_client`, and `_base_url`, whose property imports a module each time.
- Of the options: `method`, `url`, `json_data`, `extra_json`, `files`, `headers`, and that they can be copied.
- Of a `Stream` of a version that does not close its response when it raises: `_iterator`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from openai._models import FinalRequestOptions

    from or_instrument._openrouter.hosts import URL

SUPPORTED: Final = "openai>=1.40,<4"
_CLOSES_SINCE: Final = (2, 9)


def url_of(client: Any, options: FinalRequestOptions) -> URL:
    """Return where a call goes: the client's base URL, unless the call names a whole URL of its own."""
    kind: Any = type(client)
    base: Any = client._base_url if _is_sdks(kind) else client.base_url
    return type(base)(options.url) if "://" in options.url else base  # type: ignore[no-any-return]


@lru_cache
def _is_sdks(kind: Any) -> bool:
    """Return whether a class has its base URL from the SDK; a subclass of the user's may have one of its own."""
    read = getattr(inspect.getattr_static(kind, "base_url", None), "fget", None)
    return str(getattr(read, "__module__", "")).startswith("openai.")


def http_of(client: Any) -> object:
    """Return the HTTP client through which a client of the SDK sends."""
    return client._client


def sent_body(options: FinalRequestOptions) -> Mapping[str, object]:
    """Return the top level of the JSON body that the SDK will send, empty where it is no object."""
    body, extra = options.json_data, options.extra_json
    if extra is None:
        return body if isinstance(body, dict) else {}
    if not isinstance(body, Mapping):
        return extra if isinstance(extra, Mapping) and body is None else {}
    return {**body, **extra} if isinstance(extra, Mapping) else body


def default_headers_of(client: Any) -> Mapping[str, object]:
    """Return the headers that the user has set on a client."""
    return client._custom_headers  # type: ignore[no-any-return]


def headers_of(client: Any, options: FinalRequestOptions) -> tuple[Mapping[str, object], ...]:
    """Return the headers that the user has set: on the call (these first), on the client, on its HTTP client."""
    own = options.headers if isinstance(options.headers, Mapping) else {}
    return own, default_headers_of(client), client._client.headers


def options_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FinalRequestOptions:
    """Return the options among the arguments of the client's `request(cast_to, options, ...)`."""
    return args[1] if len(args) > 1 else kwargs["options"]  # type: ignore[no-any-return]


def with_changes(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], options: FinalRequestOptions, changes: Mapping[str, object]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the same arguments with a copy of their options, some of whose fields are changed."""
    copied = options.model_copy if hasattr(options, "model_copy") else options.copy  # the SDK runs with pydantic 1 too
    options = copied(update=dict(changes))
    if len(args) > 1:
        return (args[0], options, *args[2:]), kwargs
    return args, {**kwargs, "options": options}


def said_version() -> str:
    """Return the version of the imported SDK as it says it."""
    return getattr(sys.modules.get("openai._version"), "__version__", "of unknown version")


def version() -> tuple[int, int] | None:
    """Return the major and minor version of the imported SDK, `None` where it says none."""
    numbers = re.match(r"(\d+)\.(\d+)", said_version())
    return None if numbers is None else (int(numbers[1]), int(numbers[2]))


def closes_when_raising() -> bool:
    """Return whether the SDK's streams close their response whatever ends them; those before 2.9 do not."""
    return (version() or (0, 0)) >= _CLOSES_SINCE


def replace_iterator(stream: Any, tapped: Any) -> None:
    """Have a stream read from another iterator; what is no stream of the SDK stays as it is."""
    held = getattr(stream, "__dict__", {})
    if "_iterator" in held and "response" in held:
        stream._iterator = tapped(stream._iterator)
