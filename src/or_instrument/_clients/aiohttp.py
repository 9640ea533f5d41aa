"""The seam of aiohttp: the session's `_request`, which every request passes, with its redirects.

A response's body is read from its `content`, whose class is replaced by a subclass that sees what is read: the object
stays the same, and there is no attribute that could be set on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final
from weakref import WeakValueDictionary, ref

from or_instrument._calls.ending import broken
from or_instrument._calls.flight import Flight
from or_instrument._calls.response import Answer
from or_instrument._calls.stand_ins import put_on, take_off
from or_instrument._clients.asking import target_of_aiohttp
from or_instrument._clients.http_base import Args, Kwargs, Parts, SendSeam
from or_instrument._clients.sent import Sent
from or_instrument._openrouter.request import session_in

_HOOKED: Final = ("close", "release")


class AiohttpPatch(SendSeam):
    """The wrapper of one `instrument()`; it does nothing once it is removed."""

    client = "aiohttp"

    def _wrap(self, library: ModuleType) -> None:
        self.put_on(library.ClientSession, "_request", self._asend)

    def _text(self, session: Any, args: Args, kwargs: Kwargs) -> str:
        url = args[1] if len(args) > 1 else kwargs["str_or_url"]
        return str(url) if session._base_url is None else f"{session._base_url} {url}"

    def _parts(self, session: Any, args: Args, kwargs: Kwargs) -> Parts:
        _, url = _asked(session, args, kwargs)
        return url.scheme, url.host or "", url.port

    def _sent(self, session: Any, args: Args, kwargs: Kwargs) -> Sent:
        method, url = _asked(session, args, kwargs)
        params = kwargs.get("params")
        body = kwargs.get("json")
        body = kwargs.get("data") if body is None else body
        seen = isinstance(body, (bytes, str, Mapping)) and (body is kwargs.get("json") or not isinstance(body, Mapping))
        session_id = session_in(kwargs.get("headers"), session._default_headers)
        url = url.update_query(params) if params else url
        return Sent(method.upper(), str(url), body if seen else None, session=session_id)

    def _target(self, session: Any, args: Args, kwargs: Kwargs) -> Any:
        return target_of_aiohttp(session, _asked(session, args, kwargs)[1], kwargs)

    def _answer(self, response: Any) -> Answer:
        # One object stands for the content of all answers without any, in the whole process: it is not to be touched.
        is_empty = isinstance(response.content, import_module("aiohttp.streams").EmptyStreamReader)
        body = b"" if is_empty else response._body  # a middleware may have read it
        return response.status, response.headers, body, ContentHooks


class ContentHooks:
    """What sees one response: its `content` as it is read, and its `close` and `release`."""

    __slots__ = ("__weakref__", "_closers", "_content", "_flight", "_response", "_theirs")

    def __init__(self, response: Any, flight: Flight) -> None:
        # Weakly: it holds what is held here, and one that is dropped is to close at once, as it would without us.
        self._response = ref(response)
        self._flight = flight
        self._content = content = response.content
        self._theirs = type(content)
        content.__class__ = _watched(self._theirs)
        # The response holds what is held here weakly, and is not held by it: one that is dropped ends its call.
        _BY_CONTENT[id(content)] = self
        self._closers = put_on(response, self, _HOOKED)
        flight.on_end = self.remove

    def remove(self) -> None:
        """Take the hooks off; what the user has put there before or since stays."""
        _BY_CONTENT.pop(id(self._content), None)
        if type(self._content) is _watched(self._theirs):
            self._content.__class__ = self._theirs
        response = self._response()
        if response is not None:
            take_off(response, self, _HOOKED, self._closers)

    def close(self) -> Any:
        return self._closed("close")

    def release(self) -> Any:
        return self._closed("release")

    def read(self, data: bytes, *, is_last: bool) -> None:
        """See bytes that the user reads."""
        self._flight.read(data)
        if is_last:
            self._flight.finish("complete")

    def _closed(self, name: str) -> Any:
        self._flight.closing = True
        theirs, response = self._closers.get(name), self._response()
        # Who calls it by a reference of its own may have dropped the response, which has closed itself then.
        result = getattr(type(response), name, lambda _: None)(response) if theirs is None else theirs()
        self._flight.finish("closed")
        return result


_BY_CONTENT: Final[WeakValueDictionary[int, ContentHooks]] = WeakValueDictionary()
_SUBCLASSES: Final[dict[type, type]] = {}


def _watched(theirs: Any) -> Any:
    """Return the subclass of a stream reader's class that shows what is read."""
    if theirs in _SUBCLASSES:
        return _SUBCLASSES[theirs]

    def _read_nowait_chunk(self: Any, n: int) -> bytes:
        data: bytes = theirs._read_nowait_chunk(self, n)
        hooks = _BY_CONTENT.get(id(self))
        if hooks is not None:
            hooks.read(data, is_last=bool(self._eof and not self._buffer))
        return data

    def feed_eof(self: Any) -> None:
        theirs.feed_eof(self)
        hooks = _BY_CONTENT.get(id(self))
        if hooks is not None and not self._buffer:
            hooks.read(b"", is_last=True)

    async def _wait(self: Any, *args: Any) -> None:
        try:
            await theirs._wait(self, *args)
        except BaseException as exc:
            hooks = _BY_CONTENT.get(id(self))
            if hooks is not None:
                broken(hooks._flight, exc)
            raise

    named = {"__slots__": (), "__module__": theirs.__module__, "__qualname__": theirs.__qualname__}
    made = type(theirs.__name__, (theirs,), {**named, **{f.__name__: f for f in (_read_nowait_chunk, feed_eof, _wait)}})
    _SUBCLASSES[theirs] = made
    return made


def _asked(session: Any, args: Args, kwargs: Kwargs) -> tuple[str, Any]:
    """Return the method and the whole URL."""
    method, url = (*args, *(kwargs[name] for name in ("method", "str_or_url")[len(args) :]))
    return method, session._build_url(url)
