"""Hands a finished call to every sink."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from or_instrument._calls.shield import report, warn_once
from or_instrument._records import Call, Sink


def deliver(call: Call, sinks: Sequence[Sink]) -> None:
    """Hand a call to every sink; the failure of one is none of the others'."""
    for sink in sinks:
        try:
            answer: object = sink(call)
            if answer is not None:
                _let_go_of(answer, sink)
        except Exception as exc:  # noqa: BLE001 - the shield
            report(f"the sink {_name(sink)}", exc)


def _let_go_of(answer: object, sink: Sink) -> None:
    """Close what a sink wants to be awaited, since nobody does. A task or future runs by itself."""
    if not inspect.isawaitable(answer) or hasattr(answer, "add_done_callback"):
        return
    if hasattr(answer, "close"):
        answer.close()
    warn_once(
        f"the sink {_name(sink)}",
        "returns an awaitable, which nobody awaits, so it gets no call. Give a plain function, which may start a task.",
    )


def _name(sink: Sink) -> str:
    return getattr(sink, "__qualname__", type(sink).__qualname__)
