"""The hooks on a response of aiohttp, on objects that are like its own."""

from __future__ import annotations

import gc
from functools import partial
from types import SimpleNamespace as Namespace
from typing import Any
from weakref import ref

import pytest

from or_instrument import Call, Request
from or_instrument._calls.flight import Flight
from or_instrument._clients.aiohttp import ContentHooks, _watched


class Content:
    """Like aiohttp's stream reader."""

    def __init__(self) -> None:
        self._eof, self._buffer = False, [b"x"]

    def _read_nowait_chunk(self, _size: int) -> bytes:
        return self._buffer.pop()

    def feed_eof(self) -> None:
        """Know the end."""
        self._eof = True

    async def _wait(self) -> None:
        raise OSError("lost")


class Response(Namespace):
    """Like aiohttp's response: it may have weak references."""


def hooked() -> tuple[Any, Any, list[Call]]:
    """Return hooks, the content that they see, and where the call goes."""
    calls: list[Call] = []
    content = Content()
    flight = Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443), [calls.append])
    return ContentHooks(Response(content=content), flight), content, calls


def test_the_end_after_the_last_bytes_is_the_end() -> None:
    """The end may come when all has been read; the content then has its own class again."""
    hooks, content, calls = hooked()
    assert content._read_nowait_chunk(-1) == b"x"
    assert not calls
    content.feed_eof()
    assert [call.outcome for call in calls] == ["complete"]
    assert type(content) is Content
    hooks.remove()
    assert type(content) is Content


def test_the_end_before_the_last_bytes_is_not() -> None:
    """What is in the buffer is still to be read."""
    _hooks, content, calls = hooked()
    content.feed_eof()
    assert not calls
    content._read_nowait_chunk(-1)
    assert [call.outcome for call in calls] == ["complete"]


@pytest.mark.anyio
async def test_a_content_without_hooks_works_as_its_own() -> None:
    """A content that outlives its response has nobody to tell."""
    hooks, content, calls = hooked()
    del hooks
    hooks_less: Any = object.__new__(_watched(Content))
    Content.__init__(hooks_less)
    assert hooks_less._read_nowait_chunk(-1) == b"x"
    hooks_less.feed_eof()
    with pytest.raises(OSError, match="lost"):
        await hooks_less._wait()
    assert not calls
    del content


def test_what_others_have_put_on_since_stays() -> None:
    """Another library may have changed the class, or a method of the response, after us."""
    hooks, content, _calls = hooked()

    class Theirs(type(content)):  # type: ignore[misc]
        pass

    content.__class__ = Theirs
    response = Response(content=content)
    hooks._response = lambda: response
    response.close = theirs = object()
    hooks.remove()
    assert type(content) is Theirs
    assert response.close is theirs
    hooks._flight.discard()


def test_what_others_have_put_on_before_is_called_and_stays() -> None:
    """A middleware may have put a `release` of its own on the response."""
    told: list[str] = []
    release = partial(told.append, "theirs")
    response = Response(content=Content(), release=release)
    calls: list[Call] = []
    flight = Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443), [calls.append])
    hooks = ContentHooks(response, flight)
    response.release()
    assert (told, [call.outcome for call in calls]) == (["theirs"], ["closed"])
    assert response.release is release
    del hooks


def test_a_response_that_is_dropped_goes_at_once() -> None:
    """What is hooked on it makes no cycle of it: its connection is free as soon as it would be without us."""
    response = Response(content=Content())
    flight = Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443), [])
    hooks, gone = ContentHooks(response, flight), ref(response)
    gc.disable()
    try:
        del response
        assert gone() is None
    finally:
        gc.enable()
    hooks.close()
    assert not flight.is_open


@pytest.mark.parametrize("name", ["close", "release"])
def test_an_answer_that_is_let_go_of_unread_is_closed(name: str) -> None:
    """By either method; the response's own does its work."""

    class Response:
        def __init__(self) -> None:
            self.content, self.done = Content(), list[str]()

        def close(self) -> None:
            self.done.append("close")

        def release(self) -> None:
            self.done.append("release")

    calls: list[Call] = []
    response = Response()
    flight = Flight(Request("chat", "openrouter", "m", "openrouter.ai", 443), [calls.append])
    hooks = ContentHooks(response, flight)
    getattr(response, name)()
    assert (response.done, [call.outcome for call in calls]) == ([name], ["closed"])
    assert name not in vars(response)
    del hooks
