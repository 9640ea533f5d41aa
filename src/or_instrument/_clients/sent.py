"""What a client sends, as far as it can be seen without reading what is the user's to read, and what is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from or_instrument._calls.response import body_of
from or_instrument._openrouter.request import SESSION_HEADER, with_session

_JSON_LIMIT: Final = 32 * 1024 * 1024
_BEGINS: Final = (b"{", "{")

_AGENT: Final = "OpenAI/Python "


class Sent(NamedTuple):
    """One request that is sent."""

    method: str
    """In upper case."""
    url: str
    body: object = None
    """Bytes, a text or an object; `None` where there is none or it is a stream, a generator or a file."""
    agent: str = ""
    """Who says that it sends this."""
    session: object = None
    """Which session a header says that this is of."""

    @property
    def is_sdks(self) -> bool:
        """Whether it says that the SDK sends it; where our wrappers are not on the SDK, nothing else tells."""
        return _AGENT in self.agent

    def is_same(self, other: Sent) -> bool:
        """Return whether another is the same request; a body that cannot be seen is taken for the same.

        Libraries escape the same URL in different ways, and have the same body as an object, a text or bytes.
        """
        if self.method != other.method or unquote(self.url) != unquote(other.url):
            return False
        if self.body is None or other.body is None or self.body == other.body:
            return True
        return plain(self.body) == plain(other.body)

    def asked(self) -> tuple[Mapping[str, object], bool]:
        """Return the JSON object that is sent, and whether it asks for a stream."""
        body = _object(self.body)
        return with_session(body, self.session), body.get("stream") is True


def plain(body: object) -> object:
    """Return what a body says: a JSON text as its value, any other text as bytes."""
    if not isinstance(body, (bytes, str)):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")


def _object(body: object) -> Mapping[str, object]:
    """Return the JSON object that a body is; what is no JSON, or of an extraordinary size, tells nothing."""
    if isinstance(body, (bytes, str)) and len(body) <= _JSON_LIMIT and body[:64].lstrip()[:1] in _BEGINS:
        body = plain(body)
    return body if isinstance(body, Mapping) else {}


def sent_by(request: Any) -> Sent:
    """Return what a request of httpx sends."""
    agent, session = request.headers.get("user-agent", ""), request.headers.get(SESSION_HEADER)
    return Sent(request.method.upper(), str(request.url), body_of(request), agent, session)


def says_same(given: object, sent: object) -> bool:
    """Return whether a body as it was given is what was sent as JSON; the first difference tells, however long it is.

    A tuple is sent as a list, a key that is a number as a text.
    """
    if isinstance(given, Mapping):
        if not isinstance(sent, Mapping) or len(given) != len(sent):
            return False
        return all(str(key) in sent and says_same(value, sent[str(key)]) for key, value in given.items())
    if isinstance(given, (list, tuple)):
        return isinstance(sent, list) and len(given) == len(sent) and all(map(says_same, given, sent))
    return given == sent
