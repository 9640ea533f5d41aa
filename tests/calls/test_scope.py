"""Facts about `attributes(...)`."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from or_instrument import attributes
from or_instrument._calls.scope import ATTRIBUTES


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
    with attributes(feature="search"), attributes(feature=None, tenant=None):  # type: ignore[arg-type]
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
