"""Asks OpenRouter's account endpoints through the user's own OpenAI client: its key, base URL, transport and proxies.

A question that may yet be answered (a generation that is not filed yet, a server error, no connection) is asked again,
at growing intervals, until its time is up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final, Generic, TypeVar

from or_instrument._errors import ConfigError, LookupFailed
from or_instrument._openrouter.account import UnreadableError
from or_instrument._openrouter.failure import class_name, failure_of_exception

T = TypeVar("T")

FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 5.0
_SHORTEST_TIMEOUT_S: Final = 0.1
_PASSING: Final = (408, 429)
_FORBIDDEN: Final = 403


@dataclass(frozen=True)
class Question(Generic[T]):
    """A GET, and how its answer is read."""

    path: str
    params: Mapping[str, str]
    read: Callable[[object], T]
    """Takes the JSON body; raises `UnreadableError`."""
    may_come: bool = False
    """Whether "not found" may change."""
    when_forbidden: str = ""

    def __str__(self) -> str:
        """Return it as in an HTTP request."""
        return f"GET {self.path}{''.join(f'?{name}={value}' for name, value in self.params.items())}"


def check_client(client: object, kind: str) -> None:
    """Raise `ConfigError` where this is no client of the OpenAI SDK. Its type is told alone: it may be a key."""
    is_client = callable(getattr(client, "get", None)) and hasattr(client, "base_url") and not isinstance(client, type)
    if not is_client:
        shown = "None" if client is None else f"of type {type(client).__qualname__}"
        raise ConfigError(f"the client is {shown}; allowed: an openai.{kind}, made for OpenRouter's base URL")


class Attempts:
    """How often a question was asked, and whether and when to ask it again."""

    def __init__(self, question: Question[Any], timeout_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._question = question
        self._clock = clock
        self._deadline = clock() + timeout_s
        self._count = 0

    def left_s(self) -> float:
        """Return the seconds that the next answer may take."""
        return max(self._deadline - self._clock(), _SHORTEST_TIMEOUT_S)

    def wait_after(self, exc: Exception) -> float:
        """Return the seconds to wait before asking again. Raises `LookupFailed` where that is of no use."""
        self._count += 1
        status = _status(exc)
        failure = failure_of_exception(exc)
        wait = max(min(FIRST_WAIT_S * 2.0 ** (self._count - 1), LONGEST_WAIT_S), failure.retry_after or 0.0)
        if not _may_pass(exc, status, self._question.may_come) or self._clock() + wait >= self._deadline:
            hint = self._question.when_forbidden if status == _FORBIDDEN else ""
            raise LookupFailed(
                str(self._question), self._count, _answer(exc, status, failure.error_type), hint
            ) from exc
        return wait


def ask(client: Any, question: Question[T], timeout_s: float) -> T:
    """Ask until there is an answer or the time is up. Raises `LookupFailed`."""
    check_client(client, "OpenAI")
    if inspect.iscoroutinefunction(client.get):
        raise TypeError("this is an async client; use the function whose name begins with afetch_, and await it")
    attempts = Attempts(question, timeout_s)
    while True:
        try:
            return question.read(get(client, question, attempts.left_s()))
        except Exception as exc:  # noqa: BLE001 - whatever it was, it was no answer
            wait = attempts.wait_after(exc)
        sleep(wait)


async def aask(client: Any, question: Question[T], timeout_s: float) -> T:
    """`ask` with an async client."""
    import anyio  # noqa: PLC0415 - comes with openai, which `import or_instrument` must not wait for

    check_client(client, "AsyncOpenAI")
    if not inspect.iscoroutinefunction(client.get):
        raise TypeError("this is a sync client; use the function whose name begins with fetch_")
    attempts = Attempts(question, timeout_s)
    while True:
        try:
            # The client's timeout is for each read: a body that trickles in would never be late.
            with anyio.fail_after(attempts.left_s()):
                body = await get(client, question, attempts.left_s())
            return question.read(body)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it was no answer
            wait = attempts.wait_after(exc)
        await anyio.sleep(wait)


def get(
    client: Any, question: Question[Any], timeout_s: float, *, url: str | None = None, headers: Mapping[str, str] = {}
) -> Any:
    """Ask once; return the JSON body, or the text where it is none. Raises what the SDK raises.

    `url` is the whole URL, where the client's own base URL is not to be used. An async client returns an awaitable.
    """
    options = {
        "params": dict(question.params),
        "headers": dict(headers),
        "timeout": timeout_s,
        "max_retries": 0,
        # The credentials are for this host alone. Older versions of the SDK do not know the option, but httpx
        # leaves the key out when it follows a redirect to another host.
        "follow_redirects": False,
    }
    return client.get(url or question.path, cast_to=object, options=options)


def _status(exc: Exception) -> int | None:
    status = getattr(exc, "status_code", None)
    return status if isinstance(status, int) else None


def _may_pass(exc: Exception, status: int | None, may_come: bool) -> bool:
    if status is None:
        # By name: the SDK is not imported here.
        return any(base.__name__ == "APIConnectionError" for base in type(exc).__mro__)
    return status >= 500 or status in _PASSING or (may_come and status == 404)  # noqa: PLR2004 - HTTP


def _answer(exc: Exception, status: int | None, error_type: str | None) -> str:
    if isinstance(exc, UnreadableError):
        return str(exc)
    if status is None:
        return f"none ({': '.join(filter(None, (class_name(exc), _said_by_system(exc))))})"
    return f"HTTP {status} {error_type}" if error_type else f"HTTP {status}"


def _said_by_system(exc: BaseException) -> str | None:
    """Return why there is no connection; what libraries say of it may quote the key."""
    cause: BaseException | None = exc
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return None if cause is None else cause.strerror
