"""Puts one wrapper on `OpenAI.request` and one on `AsyncOpenAI.request`, and takes them off again.

Every `create`, `parse`, stream and raw call of the SDK goes through these two.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

import wrapt
from opentelemetry.context import Context, attach, detach, get_current

from or_instrument._calls.observer import Observer
from or_instrument._clients.openai_sdk import SUPPORTED

_log = logging.getLogger("or_instrument")
_CLIENT_MODULE: Final = "openai._client"
_LAST_MODULE: Final = "openai._module_client"
_OLDEST, _NEWEST_MAJOR = (1, 40), 3


class Patch:
    """The wrappers of one `instrument()`; they do nothing once it is removed."""

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer | None = observer
        self._wrappers: list[tuple[type, Any]] = []

    def install(self) -> None:
        """Wrap the SDK's clients now if it is imported, otherwise when it is; imports nothing itself."""
        module = sys.modules.get(_CLIENT_MODULE)
        half_imported = getattr(getattr(module, "__spec__", None), "_initializing", False)
        awaited = _LAST_MODULE if half_imported else _CLIENT_MODULE
        wrapt.register_post_import_hook(self._wrap, awaited)

    def remove(self) -> None:
        """Take the wrappers off, from under wrapt wrappers of others too; what cannot be taken off does nothing."""
        self._observer = None
        for owner, wrapper in self._wrappers:
            _splice_out(owner, wrapper)
        self._wrappers.clear()

    def _wrap(self, _module: ModuleType) -> None:
        if self._observer is None:
            return
        client = sys.modules[_CLIENT_MODULE]
        problem = _unsupported(client)
        if problem:
            _log.warning("%s; supported: %s. Nothing is recorded.", problem, SUPPORTED)
            return
        for owner, wrapper in ((client.OpenAI, self._request), (client.AsyncOpenAI, self._arequest)):
            self._wrappers.append((owner, wrapt.wrap_function_wrapper(owner, "request", wrapper)))

    def _request(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        observer = self._observer
        opened = None if observer is None else observer.open(client, args, kwargs)
        if opened is None:
            return wrapped(*args, **kwargs)
        landing, context, args, kwargs = opened
        token = attach(context)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as exc:
            landing.raised(exc)
            raise
        finally:
            detach(token)
        landing.returned(result)
        return result

    async def _arequest(
        self, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        observer = self._observer
        opened = None if observer is None else observer.open(client, args, kwargs)
        if opened is None:
            return await wrapped(*args, **kwargs)
        landing, context, args, kwargs = opened
        token = attach(context)
        try:
            result = await wrapped(*args, **kwargs)
        except GeneratorExit as exc:
            landing.raised(exc)
            _detach_if_current(token, context)
            raise
        except BaseException as exc:
            detach(token)
            landing.raised(exc)
            raise
        detach(token)
        landing.returned(result)
        return result


def _detach_if_current(token: Any, context: Context) -> None:
    # A coroutine may be destroyed in another context than it ran in; the token is of no use there.
    if get_current() is context:
        detach(token)


def _splice_out(owner: Any, wrapper: Any) -> None:
    outer, inner = None, vars(owner).get("request")
    while inner is not None and inner is not wrapper:
        outer, inner = inner, getattr(inner, "__wrapped__", None)
    if inner is None:
        return
    if isinstance(outer, wrapt.FunctionWrapper):
        outer.__wrapped__ = wrapper.__wrapped__
    elif outer is None:
        _restore(owner, wrapper.__wrapped__)


def _restore(owner: Any, original: Any) -> None:
    inherited = next((vars(base)["request"] for base in owner.__mro__[1:] if "request" in vars(base)), None)
    if original is inherited:
        del owner.request
    else:
        owner.request = original


def _unsupported(client: ModuleType) -> str | None:
    version = getattr(sys.modules.get("openai._version"), "__version__", "of unknown version")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or not _OLDEST <= tuple(map(int, numbers.groups())) < (_NEWEST_MAJOR + 1, 0):
        return f"found openai {version}"
    for name in ("OpenAI", "AsyncOpenAI"):
        if not callable(getattr(getattr(client, name, None), "request", None)):
            return f"openai {version} has no {name}.request"
    if "post_parser" not in _option_fields():
        return f"openai {version} has no post_parser among its request options"
    return None


def _option_fields() -> Mapping[str, object]:
    options = getattr(sys.modules.get("openai._models"), "FinalRequestOptions", None)
    return getattr(options, "__annotations__", {})
