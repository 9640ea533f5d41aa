"""Our two wrappers among those of others: in any order, nothing of ours is left and nothing of theirs is lost."""

# ruff: noqa: D103 - the small ones' names say what they do; fixtures are arguments
from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import openai
import pytest
import wrapt
from in_memory import HOSTS, Telemetry

import or_instrument
from or_instrument._clients.openai import OpenAIPatch
from or_instrument.testing import FakeOpenRouter

CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
ORIGINAL = openai.OpenAI.request


class Theirs:
    """A patch of somebody else's on `OpenAI.request`, made with wrapt or by plain assignment."""

    def __init__(self, kind: str) -> None:
        self.seen = 0
        self._kind = kind
        self._had_own = "request" in vars(openai.OpenAI)
        self._before = openai.OpenAI.request

    def put_on(self) -> None:
        """Patch."""
        self._had_own = "request" in vars(openai.OpenAI)
        self._before = before = vars(openai.OpenAI).get("request", openai.OpenAI.request)
        if self._kind == "wrapt":
            wrapt.wrap_function_wrapper(openai.OpenAI, "request", self._wrapper)
            return

        @functools.wraps(before)
        def request(client: Any, *args: Any, **kwargs: Any) -> Any:
            self.seen += 1
            return before.__get__(client)(*args, **kwargs)

        openai.OpenAI.request = request  # type: ignore[method-assign]

    def take_off(self) -> None:
        """Put back what was there before, as such patches do."""
        if self._had_own:
            openai.OpenAI.request = self._before  # type: ignore[method-assign]
        else:
            del openai.OpenAI.request  # type: ignore[misc]

    def _wrapper(self, wrapped: Callable[..., Any], _client: Any, args: Any, kwargs: Any) -> Any:
        self.seen += 1
        return wrapped(*args, **kwargs)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the SDK as it was."""
    yield
    or_instrument.uninstrument()
    if "request" in vars(openai.OpenAI):
        del openai.OpenAI.request  # type: ignore[misc]
    assert openai.OpenAI.request is ORIGINAL


@pytest.fixture
def calls() -> list[Any]:
    """Return the list that `switch_on` records to."""
    return []


def switch_on(calls: list[Any]) -> None:
    or_instrument.instrument(hosts=HOSTS, sinks=[calls.append], spans="off", metrics=False)


@pytest.mark.parametrize("kind", ["wrapt", "plain"])
@pytest.mark.parametrize("under", [True, False])
def test_both_see_the_call(kind: str, under: bool, calls: list[Any], client: openai.OpenAI) -> None:
    """A foreign patch under or over ours sees the call, and we record it once."""
    theirs = Theirs(kind)
    for act in (theirs.put_on, lambda: switch_on(calls))[:: 1 if under else -1]:
        act()
    client.chat.completions.create(**CHAT)

    assert (theirs.seen, len(calls)) == (1, 1)


@pytest.mark.parametrize("kind", ["wrapt", "plain"])
@pytest.mark.parametrize("under", [True, False])
def test_uninstrument_leaves_theirs(kind: str, under: bool, calls: list[Any], client: openai.OpenAI) -> None:
    """After `uninstrument()` theirs still sees the calls; switched on again we record each once."""
    theirs = Theirs(kind)
    for act in (theirs.put_on, lambda: switch_on(calls))[:: 1 if under else -1]:
        act()
    or_instrument.uninstrument()
    client.chat.completions.create(**CHAT)
    assert (theirs.seen, len(calls)) == (1, 0)

    switch_on(calls)
    client.chat.completions.create(**CHAT)
    assert (theirs.seen, len(calls)) == (2, 1)
    or_instrument.uninstrument()
    theirs.take_off()


@pytest.mark.parametrize("kinds", list(itertools.product(["wrapt", "plain"], repeat=2)))
def test_between_two_of_theirs(kinds: tuple[str, str], calls: list[Any], client: openai.OpenAI) -> None:
    """Between two foreign patches we come off and go on again, and each sees each call once."""
    inner, outer = map(Theirs, kinds)
    inner.put_on()
    switch_on(calls)
    outer.put_on()
    client.chat.completions.create(**CHAT)
    or_instrument.uninstrument()
    client.chat.completions.create(**CHAT)

    assert (inner.seen, outer.seen, len(calls)) == (2, 2, 1)


def test_theirs_taken_off_first(calls: list[Any], client: openai.OpenAI) -> None:
    """A patch over ours that is taken off leaves ours working, and then nothing is left."""
    switch_on(calls)
    theirs = Theirs("wrapt")
    theirs.put_on()
    theirs.take_off()
    client.chat.completions.create(**CHAT)
    or_instrument.uninstrument()

    assert len(calls) == 1
    assert "request" not in vars(openai.OpenAI)


def test_theirs_that_takes_ours_with_it_is_noticed_and_mended(
    calls: list[Any], client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """An uninstrument that restores what was there before both: the next `instrument()` puts ours on again, once."""
    theirs = Theirs("plain")
    theirs.put_on()
    switch_on(calls)
    assert or_instrument.is_instrumented()
    theirs.take_off()
    assert not or_instrument.is_instrumented()

    for _ in range(2):
        switch_on(calls)
    assert or_instrument.is_instrumented()
    client.chat.completions.create(**CHAT)
    assert len(calls) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the patch on OpenAI.request had been taken off by another library; it is on again"
    ]
    or_instrument.uninstrument()
    assert not hasattr(openai.OpenAI.request, "__wrapped__")


def test_ours_that_theirs_puts_back_is_ours(
    calls: list[Any], client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """Read from the class it is another object, as where OpenInference or Logfire was over ours and is taken off."""
    switch_on(calls)
    before = openai.OpenAI.request
    openai.OpenAI.request = before  # type: ignore[method-assign]
    assert or_instrument.is_instrumented()
    switch_on(calls)
    client.chat.completions.create(**CHAT)
    assert len(calls) == 1
    assert caplog.records == []

    or_instrument.uninstrument()
    assert "request" not in vars(openai.OpenAI)


def test_theirs_over_ours_as_it_was_read_is_not_taken_off_with_it(calls: list[Any], client: openai.OpenAI) -> None:
    """Theirs holds ours bound, as it was read from the class: it goes on seeing calls, and ours none."""
    seen: list[object] = []

    def theirs(wrapped: Any, _instance: object, args: Any, kwargs: Any) -> Any:
        seen.append(wrapped)
        return wrapped(*args, **kwargs)

    switch_on(calls)
    openai.OpenAI.request = wrapt.FunctionWrapper(openai.OpenAI.request, theirs)  # type: ignore[method-assign]
    assert or_instrument.is_instrumented()
    client.chat.completions.create(**CHAT)
    or_instrument.uninstrument()
    client.chat.completions.create(**CHAT)
    assert (len(seen), len(calls)) == (2, 1)


def test_a_patch_that_hides_ours_is_not_taken_for_a_loss(calls: list[Any], client: openai.OpenAI) -> None:
    """A function over ours that does not say what it calls: we stay where we are, and record each call once."""
    switch_on(calls)
    before = vars(openai.OpenAI)["request"]
    openai.OpenAI.request = lambda self, *args, **kwargs: before.__get__(self)(*args, **kwargs)  # type: ignore[method-assign]
    switch_on(calls)
    client.chat.completions.create(**CHAT)
    assert len(calls) == 1
    assert or_instrument.is_instrumented()


def test_theirs_from_under_ours(calls: list[Any], client: openai.OpenAI) -> None:
    """A patch under ours that restores the original takes ours with it, and `uninstrument()` does no harm."""
    theirs = Theirs("plain")
    theirs.put_on()
    switch_on(calls)
    theirs.take_off()
    client.chat.completions.create(**CHAT)
    or_instrument.uninstrument()
    client.chat.completions.create(**CHAT)

    assert len(calls) == 0
    assert openai.OpenAI.request is ORIGINAL


def test_nothing_is_left(telemetry: Telemetry) -> None:
    """After `uninstrument()` the clients have the methods that they had, and no attribute more."""
    assert "request" in vars(openai.OpenAI)
    or_instrument.uninstrument()

    assert telemetry.calls == []
    for client in (openai.OpenAI, openai.AsyncOpenAI):
        assert "request" not in vars(client)
        assert not isinstance(client.request, wrapt.ObjectProxy)


def test_a_stream_open_at_uninstrument(client: openai.OpenAI, telemetry: Telemetry) -> None:
    """A stream begun before is recorded when it ends."""
    stream = client.chat.completions.create(stream=True, **CHAT)
    or_instrument.uninstrument()
    list(stream)

    assert [call.outcome for call in telemetry.calls] == ["complete"]


def test_a_subclass_with_a_request_of_its_own(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """A client class that overrides `request` and calls up is recorded once."""

    class Own(openai.OpenAI):
        def request(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            return super().request(*args, **kwargs)

    with Own(api_key="k", base_url=fake.base_url) as client:
        client.chat.completions.create(**CHAT)

    assert len(telemetry.calls) == 1


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("openai._version", "__version__", "1.39.0"),
        ("openai._version", "__version__", "4.0.0"),
        ("openai._version", "__version__", "next"),
        ("openai._client", "OpenAI", object),
        ("openai._client", "AsyncOpenAI", object),
    ],
)
def test_an_unsupported_sdk(
    module: str,
    name: str,
    value: object,
    calls: list[Any],
    client: openai.OpenAI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where a part of the SDK that we need is missing: one warning that says which, no patch, no harm."""
    imported: ModuleType = __import__(module, fromlist=["x"])
    with monkeypatch.context() as patched:
        patched.setattr(imported, name, value)
        switch_on(calls)

    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "supported: openai>=1.40,<4" in line.getMessage()
    assert "request" not in vars(openai.OpenAI)
    assert client.chat.completions.create(**CHAT).choices
    assert calls == []


def test_ours_is_spliced_out_from_under_theirs(calls: list[Any], client: openai.OpenAI) -> None:
    """Under a wrapt wrapper of theirs, nothing of ours is left in the chain, and theirs goes on seeing calls."""
    seen: list[object] = []

    def theirs(wrapped: Any, _instance: object, args: Any, kwargs: Any) -> Any:
        seen.append(wrapped)
        return wrapped(*args, **kwargs)

    or_instrument.instrument(hosts=["127.0.0.1"], sinks=[calls.append])
    ours = vars(openai.OpenAI)["request"]
    outer = wrapt.wrap_function_wrapper(openai.OpenAI, "request", theirs)
    try:
        or_instrument.uninstrument()

        assert outer.__wrapped__ is not ours
        assert not isinstance(outer.__wrapped__, wrapt.FunctionWrapper)
        client.models.list()
        assert len(seen) == 1
    finally:
        del openai.OpenAI.request


@pytest.mark.parametrize("kind", ["wrapt", "plain"])
def test_a_wrapper_under_theirs_is_not_lost(kind: str, calls: list[Any]) -> None:
    """Another wrapper over ours calls it; only where the SDK's own method is back, ours is lost."""
    patch = OpenAIPatch(SimpleNamespace(search=None), None)  # type: ignore[arg-type]
    patch.wrap(openai)
    theirs = Theirs(kind)
    theirs.put_on()
    assert not patch.lost()
    theirs.take_off()
    patch.remove()
    assert not calls
