"""What the drives of the frameworks share: how one is named and found, and what it asks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any, Final, NamedTuple

import pytest

from or_instrument.testing import Answer, FakeOpenRouter

MODEL: Final = "openai/gpt-5-mini"
ASKED: Final = "Name a moon."
MESSAGES: Final = [{"role": "user", "content": ASKED}]
KEY: Final = "sk-or-test"
MOON: Final = {"name": "Titan", "diameter_km": 5149}
TOOL_ANSWER: Final = Answer(tool_calls=[("Moon", MOON)], cost="0.0003")
EXPECTED: Final = frozenset(os.environ.get("OR_INSTRUMENT_TESTS_FRAMEWORKS", "").split())
"""The modules of the frameworks that must be there, each driven; without any, those that are there are driven."""


class Drive(NamedTuple):
    """One way to have a framework ask a model: a function of the fake that returns what the framework gives."""

    module: str
    """What has to be importable."""
    run: Callable[[FakeOpenRouter], Any]

    @property
    def name(self) -> str:
        """The test's name."""
        return self.run.__name__

    @property
    def is_async(self) -> bool:
        """Whether `run` returns what is to be awaited."""
        return inspect.iscoroutinefunction(self.run)

    def require(self) -> None:
        """Skip the test where the framework is not installed, unless it must be."""
        if self.module in EXPECTED:
            import_module(self.module)
        else:
            pytest.importorskip(self.module)


class Drives:
    """The drives of one file, in its order."""

    def __init__(self) -> None:
        self._all: list[Drive] = []

    def of(
        self, module: str
    ) -> Callable[[Callable[[FakeOpenRouter], Any | Awaitable[Any]]], Callable[[FakeOpenRouter], Any]]:
        """Return a decorator for the drives of a framework, by the module to import."""

        def add(run: Callable[[FakeOpenRouter], Any]) -> Callable[[FakeOpenRouter], Any]:
            self._all.append(Drive(module, run))
            return run

        return add

    def __iter__(self) -> Iterator[Drive]:
        """Go through those to be driven here."""
        return (drive for drive in self._all if not EXPECTED or drive.module in EXPECTED)
