"""A fake service whose account endpoints answer as a test wants: late, wrong, or never."""

from __future__ import annotations

import threading
from typing import Any

from or_instrument.testing import FakeOpenRouter, Received
from or_instrument.testing._reply import Reply, json_reply
from or_instrument.testing._streams import Step


class OddAccount(FakeOpenRouter):
    """Answers GETs with the `answers` first, then as the fake does."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Reply] = []
        self.gate = threading.Event()

    def reply(self, request: Received) -> Reply:
        """Return what a request gets."""
        usual = super().reply(request)
        return self.answers.pop(0) if request.method == "GET" and self.answers else usual

    def stop(self) -> None:
        """Let go of those that hang, and stop."""
        self.gate.set()
        super().stop()

    def lookups(self) -> list[Received]:
        """Return the GETs so far."""
        return [request for request in self.requests if request.method == "GET"]

    def hanging(self) -> Reply:
        """Return an answer that does not come."""
        return Reply(200, {"Content-Type": "application/json"}, (Step(b"{}"),), gate=self.gate)


def status(code: int, **error: Any) -> Reply:
    """Return an error."""
    return json_reply(code, {"error": {"code": code, "message": "the prompt was: secret", **error}})


def html() -> Reply:
    """Return what a gateway says that has lost its service."""
    return Reply(200, {"Content-Type": "text/html"}, (Step(b"<html>down</html>"),))


def body(payload: object) -> Reply:
    """Return any JSON."""
    return json_reply(200, payload)


def raw(text: bytes) -> Reply:
    """Return any bytes as JSON."""
    return Reply(200, {"Content-Type": "application/json"}, (Step(text),))


def trickling() -> Reply:
    """Return an answer that comes by the byte, for two seconds."""
    steps = tuple(Step(b" ", pause_s=0.05) for _ in range(40))
    return Reply(200, {"Content-Type": "application/json"}, steps, streamed=True)
