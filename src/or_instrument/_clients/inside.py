"""A call that was made inside another, and whether it is the other's own: by its response, or by its request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from or_instrument._calls.delivery import Held
from or_instrument._calls.flight import Flight
from or_instrument._calls.response import body_of
from or_instrument._calls.shield import report
from or_instrument._clients.sent import Sent, sent_by

_LAST: Final = 2
"""How many of the answers to a send are its end: what was returned or raised, and the response of that."""


def response_of(exc: BaseException, read: Callable[[], Sent] | None) -> Any:
    """Return the response that an exception has, `None` where another request than the one that is sent was answered.

    A hook may have asked somebody else, and raise what became of that.
    """
    try:
        response = getattr(exc, "response", None)
        if not hasattr(response, "status_code"):
            return None  # a hook's own exception may call something else its response
        if read is None:
            return response
        sent, answers = read(), (response, *getattr(response, "history", ()))
        return response if any(_is_to(answer, sent) for answer in answers) else None
    except Exception as error:  # noqa: BLE001 - the shield
        report("looking at the response of an exception", error)
        return None


def _is_to(answer: Any, sent: Sent) -> bool:
    try:
        request = answer.request
    except RuntimeError:  # a hook has made it itself, of httpx's
        return True
    if request is None:
        return True
    if request.method.upper() != sent.method:
        return False
    # Hooks run before a response knows its history: after a redirect, or an auth, only the body is as it was.
    body = body_of(request) if hasattr(request, "extensions") else request.body
    return bool(body == sent.body) if body and sent.body else unquote(str(request.url)) == unquote(sent.url)


def answers_of(end: object, read: Callable[[], Sent] | None = None) -> tuple[object, ...]:
    """Return the response or exception itself, and the responses before it; `read` tells what was sent."""
    try:
        # Too many redirects are an exception, which has the last response.
        last = response_of(end, read) if isinstance(end, BaseException) else end
        history = getattr(last, "history", None)
        return (end, last, *history) if isinstance(history, (list, tuple)) else (end, last)
    except Exception as exc:  # noqa: BLE001 - the shield
        report("looking at the end of a send", exc)
        return (end,)


def _sends_one_of(inner: Callable[[], Sent], answers: tuple[object, ...]) -> bool:
    """Return whether a send inside another sent on one of the requests that were answered, such as after a redirect.

    Those of httpx, which follows redirects above its transport; requests does so by sends inside sends.
    """
    for answer in answers:
        try:
            if isinstance(answer, BaseException) and getattr(answer, "response", None) is not None:
                continue  # its request is that of its response, which is another answer, or none of these
            request = getattr(answer, "request", None)
            if hasattr(request, "extensions") and inner().is_same(sent_by(request)):
                return True
        except Exception as exc:  # noqa: BLE001 - an exception of httpx may have no request, and says so by another
            if not isinstance(exc, RuntimeError):
                report("looking at what was sent", exc)
    return False


class Inside(NamedTuple):
    """A call that was made inside another: it is the other's own or not, which its end tells."""

    flight: Flight
    held: Held
    """What keeps it back."""
    end: object
    """Its response or exception."""
    read: Callable[[], Sent]
    """Tells what it has sent."""
    is_of_auth: bool
    """Whether the auth of the other makes it."""

    def is_own(self, answers: tuple[object, ...]) -> bool:
        """Return whether it is the call that these are the answers to, the last first."""
        if self.is_of_auth:
            # What an auth asks is in the history too. Where its flow is closed meanwhile, the other ends by the same.
            answers = answers[:_LAST]
            if isinstance(self.end, GeneratorExit):
                return True
        return any(self.end is one for one in answers) or _sends_one_of(self.read, answers)
