"""The seam of httpx and httpx2: `send` of their clients, which every request passes, with its redirects and its auth.

Through it go the official `openrouter` SDK, langchain-openrouter, LiteLLM, the anthropic SDK, and httpx itself.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from or_instrument._calls.response import Answer, answer_of
from or_instrument._calls.shield import report
from or_instrument._clients.asking import target_of_httpx
from or_instrument._clients.http_base import Args, Kwargs, Parts, SendSeam, request_of
from or_instrument._clients.http_send import Sending
from or_instrument._clients.httpx_auth import watched
from or_instrument._clients.sent import Sent, sent_by


class HTTPXPatch(SendSeam):
    """The wrappers of one `instrument()`; they do nothing once it is removed."""

    client = "httpx"

    def _wrap(self, library: ModuleType) -> None:
        self.put_on(library.Client, "send", self._send)
        self.put_on(library.AsyncClient, "send", self._asend)

    def _with_auth(self, http: Any, kwargs: Kwargs) -> Kwargs:
        if "auth" not in kwargs and getattr(http, "_auth", None) is None:
            return kwargs
        # What it sends passes no `send`.
        try:
            auth = watched(kwargs.get("auth", http._auth), http._auth, partial(self._begin_of_auth, http), self._came)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("looking at an auth", exc)
            return kwargs
        return kwargs if auth is None else {**kwargs, "auth": auth}

    def _begin_of_auth(self, http: Any, request: Any) -> Sending | None:
        return None if self._is_other(http, (request,), {}) else self._begin(http, (request,), {})

    def _text(self, _http: Any, args: Args, kwargs: Kwargs) -> str:
        return request_of(args, kwargs).url.host  # type: ignore[no-any-return]

    def _parts(self, _http: Any, args: Args, kwargs: Kwargs) -> Parts:
        url = request_of(args, kwargs).url
        return url.scheme, url.host, url.port

    def _sent(self, _http: Any, args: Args, kwargs: Kwargs) -> Sent:
        return sent_by(request_of(args, kwargs))

    def _target(self, http: Any, args: Args, kwargs: Kwargs) -> Any:
        return target_of_httpx(http, request_of(args, kwargs))

    def _answer(self, response: Any) -> Answer:
        return answer_of(response)
