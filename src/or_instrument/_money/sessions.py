"""Tells where a session went to another provider and lost its prompt cache: why a conversation suddenly costs more.

It sees the calls of this process alone, and remembers the sessions that were last used, a few thousand of them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from or_instrument._records import Call

_SESSION: Final = "gen_ai.conversation.id"
_CAPACITY: Final = 4096
_CACHED: Final = "HIT"


class _Key(NamedTuple):
    """One model's part of a session. What is a session's name at one service, or of one kind, may be another's."""

    host: str
    port: int
    is_session_id: bool
    name: str
    model: str | None


class _Last(NamedTuple):
    """What is remembered of a session's last call."""

    provider: str
    cache_read_tokens: int | None


class Sessions:
    """The sessions of this process; any thread may use it."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        # Each of its methods is one step for the interpreter: no thread sees it half changed, and none waits.
        self._last: OrderedDict[_Key, _Last] = OrderedDict()
        self._capacity = capacity

    def judge(self, call: Call) -> Call:
        """Return the call with what can be said of its session: it is the call's `session_id`, or `prompt_cache_key`.

        The cache is lost where the model's last call in the session read from it at another provider, and this one has
        read nothing. Answers from OpenRouter's own cache came from no provider.
        """
        request, reply = call.request, call.reply
        session = request.parameters.get(_SESSION)
        name = session or request.prompt_cache_key
        if name is None or reply.provider is None or reply.usage is None or reply.cache_status == _CACHED:
            return call
        key = _Key(request.host, request.port, bool(session), str(name), reply.model or request.model)
        now, former = _Last(reply.provider, reply.usage.cache_read_tokens), self._last.pop(key, None)
        self._last[key] = now
        if len(self._last) > self._capacity:
            self._last.popitem(last=False)
        if former is None or former.cache_read_tokens is None or now.cache_read_tokens is None:
            return call
        is_lost = former.provider != now.provider and former.cache_read_tokens > 0 and now.cache_read_tokens == 0
        return call._replace(provider_switched=is_lost)
