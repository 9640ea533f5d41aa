"""Facts about `attributes(...)`."""

from __future__ import annotations

import enum
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import attributes
from or_instrument._calls import shield
from or_instrument._calls.scope import ATTRIBUTES, plain_attributes

SCALARS: Any = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.uuids()
    | st.decimals()
    | st.datetimes()
)
VALUES: Any = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=5)


def current() -> dict[str, object]:
    """Return what calls that begin here are given."""
    return dict(ATTRIBUTES.get())


def test_attributes_hold_inside_and_only_there() -> None:
    """Nothing is left after the block."""
    with attributes(feature="search"):
        assert current() == {"feature": "search"}
    assert current() == {}


def test_nested_scopes_add_up_and_the_inner_one_wins() -> None:
    """And what it covered comes back."""
    with attributes(feature="search", tenant="acme"):
        with attributes(feature="chat", step=2):
            assert current() == {"feature": "chat", "tenant": "acme", "step": 2}
        assert current() == {"feature": "search", "tenant": "acme"}


def test_none_is_left_out_and_covers_nothing() -> None:
    """So a value that may be unknown can be passed as it is."""
    with attributes(feature="search"), attributes(feature=None, tenant=None):
        assert current() == {"feature": "search"}


def test_zero_and_false_are_values() -> None:
    """Only `None` is none."""
    with attributes(step=0, cached=False, name=""):
        assert current() == {"step": 0, "cached": False, "name": ""}


def test_a_list_is_taken_as_it_is_now() -> None:
    """What the application appends later changes no record, and a tuple can be a metric label."""
    tags = ["a", "b"]
    with attributes(tags=tags):
        tags.append("c")
        assert current() == {"tags": ("a", "b")}


def test_an_exception_leaves_the_scope_too() -> None:
    """And passes through it unchanged."""
    error = ValueError()
    with pytest.raises(ValueError) as caught, attributes(feature="search"):  # noqa: PT011 - this very one
        raise error
    assert caught.value is error
    assert current() == {}


def test_a_scope_can_be_a_decorator() -> None:
    """As every context manager of the standard library can."""

    @attributes(feature="search")
    def inside() -> dict[str, object]:
        return current()

    assert inside() == inside() == {"feature": "search"}
    assert current() == {}


def test_a_generator_is_ended_in_any_context() -> None:
    """Each step of one is in a context of its own where Starlette streams it, and a loop ends one in a task."""

    def steps() -> Iterator[dict[str, object]]:
        with attributes(tenant="acme"):
            yield current()

    generator = steps()
    assert copy_context().run(next, generator) == {"tenant": "acme"}
    assert copy_context().run(list, generator) == []
    assert current() == {}


def test_scopes_are_left_in_any_order() -> None:
    """Of two generators the first may end first: what it said holds no longer, what the other says still does."""
    first, second = attributes(tenant="acme", feature="a"), attributes(feature="b")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert current() == {"feature": "b"}
    second.__exit__(None, None, None)
    assert current() == {}


def test_a_scope_that_ended_elsewhere_is_left_by_the_next() -> None:
    """Who broke off a generator for each message kept the attributes of all of them, and took longer for each."""

    def break_off(number: int) -> None:
        generator = steps(number)
        next(generator)
        copy_context().run(generator.close)

    def steps(number: int) -> Iterator[None]:
        with attributes(**{f"message.{number}": True}):
            yield

    def consume() -> dict[str, object]:
        for number in range(3):
            break_off(number)
        with attributes(feature="b"):
            return current()

    assert copy_context().run(consume) == {"feature": "b"}


def test_another_thread_has_a_scope_of_its_own() -> None:
    """Attributes do not leak into a worker that serves somebody else."""
    seen: list[Any] = []
    with attributes(feature="search"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [{}]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_tasks_inherit_a_scope_and_keep_their_own_apart() -> None:
    """A task begins with its parent's attributes and changes nobody else's."""
    seen: dict[str, object] = {}
    both = anyio.Event()

    async def task(name: str) -> None:
        with attributes(task=name):
            if len(seen) == 1:
                both.set()
            seen[name] = None
            await both.wait()
            seen[name] = current()

    with attributes(feature="search"):
        async with anyio.create_task_group() as group:
            group.start_soon(task, "a")
            group.start_soon(task, "b")
        assert current() == {"feature": "search"}
    assert seen == {name: {"feature": "search", "task": name} for name in "ab"}


class Plan(enum.Enum):
    """Of the application."""

    PRO = "pro"
    LIMIT = 5
    TAGS = ("a", "b")
    NESTED = Decimal("1.50")


class Tier(str, enum.Enum):
    """As web frameworks have them."""

    PRO = "pro"


class Name(str):
    """Such as a marked-up text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Count(int):
    """Such as an id with methods."""


class Share(float):
    """Such as a number of numpy's."""


TAKEN: dict[str, tuple[Any, object]] = {
    "text": ("acme", "acme"),
    "flag": (True, True),
    "whole number": (7, 7),
    "real number": (0.5, 0.5),
    "Enum": (Plan.PRO, "pro"),
    "Enum of a number": (Plan.LIMIT, 5),
    "Enum of a tuple": (Plan.TAGS, ("a", "b")),
    "Enum of a Decimal": (Plan.NESTED, "1.50"),
    "Enum that is a text": (Tier.PRO, "pro"),
    "UUID": (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "Decimal": (Decimal("0.10"), "0.10"),
    "date": (date(2026, 11, 26), "2026-11-26"),
    "datetime": (datetime(2026, 11, 26, 18, tzinfo=timezone.utc), "2026-11-26T18:00:00+00:00"),
    "time": (time(18, 15), "18:15:00"),
    "kind of text": (Name("acme"), "acme"),
    "kind of whole number": (Count(7), 7),
    "kind of real number": (Share(0.5), 0.5),
    "list": (["a", "b"], ("a", "b")),
    "list of UUIDs": ([UUID(int=5)], ("00000000-0000-0000-0000-000000000005",)),
    "list of Enums and texts": ([Tier.PRO, Plan.PRO, Name("x"), "y"], ("pro", "pro", "x", "y")),
    "list with a gap": (["a", None], ("a",)),
    "empty list": ([], ()),
    "range": (range(2), (0, 1)),
    "largest whole number": (2**63 - 1, 2**63 - 1),
}


@pytest.mark.parametrize(("given", "expected"), TAKEN.values(), ids=TAKEN)
def test_a_value_becomes_what_spans_and_metric_labels_can_have(given: Any, expected: object) -> None:
    """Of a plain type, all through."""
    with attributes(tenant=given):
        (value,) = current().values()
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(value, tuple) and isinstance(expected, tuple):
        assert [type(item) for item in value] == [type(item) for item in expected]


class Broken(Sequence[str]):
    """A list that cannot be read."""

    def __len__(self) -> int:
        raise ZeroDivisionError

    def __getitem__(self, index: Any) -> Any:
        raise ZeroDivisionError


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)
LEFT_OUT: dict[str, Any] = {
    "object": object(),
    "bytes": b"acme",
    "dict": {"a": 1},
    "set": {"a"},
    "function": print,
    "complex number": 1j,
    "list of several types": ["a", 1],
    "list of a flag and a number": [True, 1],
    "list of lists": [["a"]],
    "list of objects": [object()],
    "list of itself": ENDLESS,
    "broken list": Broken(),
    "whole number that OTLP cannot carry": 2**63,
}


@pytest.mark.parametrize("value", LEFT_OUT.values(), ids=LEFT_OUT)
def test_any_other_value_is_left_out_with_one_warning(
    value: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the key and the type, never the value; nothing is raised, and the other attributes stay."""
    monkeypatch.setattr(shield, "_reported", set())
    for _ in range(3):
        with attributes(tenant=value, feature="search"):
            assert current() == {"feature": "search"}
    (record,) = caplog.records
    kind = type(value).__qualname__
    assert record.getMessage().startswith(f"the attribute tenant is left out: a value of type {kind} cannot be one.")


OURS: dict[str, Any] = {
    "gen_ai.usage.cost": 5,
    "openrouter.usage.spend": 7,
    "openrouter.team": "x",
    "error.type": "x",
    "gen_ai.request.model": "ZZ",
    "server.address": "x",
    "gen_ai.output.messages": "x",
}


@pytest.mark.parametrize("name", OURS)
def test_what_has_a_name_of_ours_is_left_out_with_one_warning(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the attribute and says what to do; nothing is raised, and the other attributes stay."""
    monkeypatch.setattr(shield, "_reported", set())
    for _ in range(3):
        with attributes(**{name: OURS[name], "feature": "search"}):
            assert current() == {"feature": "search"}
    (record,) = caplog.records
    why = f"is left out: only what was recorded has this name. Give yours another, such as app.{name}."
    assert (record.name, record.getMessage()) == ("or_instrument", f"the attribute {name} {why}")


YOURS = ("gen_ai.conversation.id", "gen_ai.agent.name", "user.id", "session.id", "error.types", "langfuse.trace.tags")


@pytest.mark.parametrize("name", YOURS)
def test_other_names_of_the_conventions_are_the_users(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """We write them on no span, or know them from the user alone."""
    with attributes(**{name: "x"}):
        assert current() == {name: "x"}
    assert caplog.records == []


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_whatever_is_given_opentelemetry_takes_what_is_made_of_it(value: object) -> None:
    """A value is made plain once and for all, or left out."""
    (made,) = plain_attributes({"key": value}).values() or (None,)
    scalars = made if type(made) is tuple else (made,)
    assert len({type(scalar) for scalar in scalars}) <= 1
    assert {type(scalar) for scalar in scalars} <= {str, bool, int, float, type(None)}
    assert made is None or plain_attributes({"key": made}) == {"key": made} or made != made  # noqa: PLR0124 - NaN


def test_the_import_of_the_package_needs_no_uuid() -> None:
    """Whoever gives texts pays for no other type."""
    code = (
        "import sys, or_instrument\nwith or_instrument.attributes(tenant='a'): pass\n"
        "print('or_instrument._calls.values' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"
