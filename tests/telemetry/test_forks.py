"""What the SDK's objects of ours do in a forked child: nothing."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from or_instrument._calls.worker import OF_THIS_PROCESS
from or_instrument._money.lookup_queue import LOOKUPS
from or_instrument._telemetry.exit import EXIT
from or_instrument._telemetry.exporters import load
from or_instrument._telemetry.forks import without_fork_hooks
from or_instrument._telemetry.undelivered import UNDELIVERED

pytestmark = pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="there is no fork")


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what is registered, which the interpreter is not told of."""
    registered: list[Any] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hooks: registered.append(hooks))
    return registered


def test_providers_of_ours_register_no_fork_hook(hooks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither they, nor their processor and reader, which would start threads in the child."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    exporters = load("otlp")
    providers: list[Any] = [exporters.tracer_provider(), exporters.meter_provider()]
    assert [hook for hook in hooks if "opentelemetry.sdk" in repr(hook)] == []
    for provider in providers:
        provider.shutdown()


def test_hooks_of_others_are_registered_all_the_same(hooks: list[Any]) -> None:
    """A module that is imported meanwhile has its hooks, and so does the SDK in another thread."""

    def theirs() -> None: ...

    def of_the_sdk() -> None: ...

    of_the_sdk.__module__ = "opentelemetry.sdk.trace"
    register = os.register_at_fork
    with without_fork_hooks():
        os.register_at_fork(before=theirs)
        os.register_at_fork(after_in_child=of_the_sdk)
        other = threading.Thread(target=lambda: os.register_at_fork(after_in_child=of_the_sdk))
        other.start()
        other.join()
    assert hooks == [{"before": theirs}, {"after_in_child": of_the_sdk}]
    assert os.register_at_fork is register


def test_a_child_forgets_what_its_parent_has_still_to_do() -> None:
    """Whose look-ups, exports and troubles are none of its own."""
    assert {LOOKUPS, EXIT, UNDELIVERED} <= set(OF_THIS_PROCESS)
