"""The seam of requests: `Session.send`, which every request passes; redirects are followed by sends inside it."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from or_instrument._calls.ending import broken
from or_instrument._calls.flight import Flight
from or_instrument._calls.response import READABLE, Answer
from or_instrument._calls.stand_ins import put_on, take_off
from or_instrument._clients.asking import target_of_requests
from or_instrument._clients.http_base import Args, Kwargs, Parts, SendSeam, request_of
from or_instrument._clients.sent import Sent
from or_instrument._openrouter.request import session_in

_HOOKED: Final = ("stream", "read_chunked", "read", "read1", "close")


class RequestsPatch(SendSeam):
    """The wrapper of one `instrument()`; it does nothing once it is removed."""

    client = "requests"

    def _wrap(self, library: ModuleType) -> None:
        self.put_on(library.Session, "send", self._send)

    def _text(self, _session: Any, args: Args, kwargs: Kwargs) -> str:
        request = request_of(args, kwargs)
        return request.url if hasattr(request, "body") else ""  # what is not prepared is refused, not sent

    def _parts(self, _session: Any, args: Args, kwargs: Kwargs) -> Parts:
        url = urlsplit(request_of(args, kwargs).url)
        return url.scheme, url.hostname or "", url.port

    def _sent(self, _session: Any, args: Args, kwargs: Kwargs) -> Sent:
        request = request_of(args, kwargs)
        body = request.body if isinstance(request.body, (bytes, str)) else None
        return Sent((request.method or "").upper(), request.url, body, session=session_in(request.headers))

    def _target(self, session: Any, args: Args, kwargs: Kwargs) -> Any:
        return target_of_requests(session, request_of(args, kwargs), kwargs)

    def _answer(self, response: Any) -> Answer:
        body = response._content  # `content` would read it
        return response.status_code, response.headers, body if isinstance(body, bytes) else None, RawHooks


class RawHooks:
    """The hooks on the `urllib3` response under one of requests that is streamed: its readers that others are made of.

    All ways to read it go through them; `stream` reads by the response's own `read`, and bytes count once.
    """

    __slots__ = ("_flight", "_is_encoded", "_originals", "_raw", "_streaming", "_theirs")

    def __init__(self, response: Any, flight: Flight) -> None:
        self._raw = raw = response.raw
        self._flight = flight
        self._is_encoded = response.headers.get("content-encoding") not in READABLE
        self._streaming = 0
        # Older ones have no `read1`, and who wraps them looks whether they have.
        self._originals = {name: getattr(raw, name) for name in _HOOKED if hasattr(raw, name)}
        self._theirs = put_on(raw, self, self._originals)
        flight.on_end = self.remove

    def remove(self) -> None:
        """Take the hooks off; what the user has put there before or since stays."""
        take_off(self._raw, self, self._originals, self._theirs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return self._streamed("stream", args, kwargs, decodes=self._decodes_by_itself)

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return self._streamed("read_chunked", args, kwargs, decodes=False)

    def read(self, *args: Any, **kwargs: Any) -> Any:
        return self._read("read", args, kwargs, is_whole=True)

    def read1(self, *args: Any, **kwargs: Any) -> Any:
        return self._read("read1", args, kwargs, is_whole=False)

    def close(self) -> None:
        self._flight.closing = self._flight.closing or not self._streaming
        self._originals["close"]()
        if not self._streaming:
            self._flight.finish("closed")

    def _read(self, name: str, args: Args, kwargs: Kwargs, *, is_whole: bool) -> Any:
        theirs = self._originals[name]
        if self._streaming:
            return theirs(*args, **kwargs)
        amount = kwargs.get("amt", args[0] if args else None)
        self._streaming += 1
        try:
            data = theirs(*args, **kwargs)
        except BaseException as exc:
            broken(self._flight, exc)
            raise
        finally:
            self._streaming -= 1
        is_decoded = name in self._theirs or _decodes(args, kwargs, self._decodes_by_itself)
        self._see(data or b"", is_decoded=is_decoded)
        # Without an amount `read` reads all that there is; what is empty though something was asked for is the end.
        if (is_whole and (amount is None or amount < 0)) or (not data and amount != 0):
            self._flight.finish("complete")
        return data

    def _streamed(self, name: str, args: Args, kwargs: Kwargs, *, decodes: bool) -> Iterator[bytes]:
        theirs: Iterator[bytes] = self._originals[name](*args, **kwargs)
        is_decoded = name in self._theirs or _decodes(args, kwargs, decodes)
        return theirs if self._streaming else self._seen(theirs, is_decoded=is_decoded)

    def _seen(self, theirs: Iterator[bytes], *, is_decoded: bool) -> Iterator[bytes]:
        while True:
            self._streaming += 1
            try:
                data = next(theirs)
            except StopIteration:
                self._flight.finish("complete")
                return
            except BaseException as exc:
                broken(self._flight, exc)
                raise
            finally:
                self._streaming -= 1
            self._see(data, is_decoded=is_decoded)
            yield data

    def _see(self, data: bytes, *, is_decoded: bool) -> None:
        flight = self._flight
        if self._is_encoded and not is_decoded:
            flight.last_read_at = perf_counter()
        else:
            flight.read(data)

    @property
    def _decodes_by_itself(self) -> bool:
        # An adapter may have put any file in the place of a response of urllib3.
        return bool(getattr(self._raw, "decode_content", False))


def _decodes(args: Args, kwargs: Kwargs, otherwise: bool) -> bool:
    """Return whether what is read comes decoded."""
    said = kwargs.get("decode_content", args[1] if len(args) > 1 else None)
    return bool(otherwise if said is None else said)
