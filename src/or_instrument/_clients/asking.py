"""Asks about a call afterwards through the HTTP client that made it: its proxies, its certificates, the call's own key.

An asker has the `get` of the OpenAI SDK's clients as far as a look-up uses it, so that whoever asks need not care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeAlias

from or_instrument._clients.target import NoTargetError, Target, generation_url, http_client, http_library

_CREDENTIALS: Final = ("authorization", "x-api-key", "cookie", "user-agent")
_GOOD: Final = range(200, 300)
Opened: TypeAlias = Callable[[Mapping[str, str]], AbstractContextManager[Callable[..., Any]]]
"""Takes the headers of a question; opens the `get` of a client, by which it is asked."""


class APIConnectionError(Exception):
    """No answer came; named like the SDK's own."""


class StatusError(Exception):
    """The answer was no good one."""

    def __init__(self, response: Any, body: object) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response
        self.status_code = response.status_code
        self.body = body.get("error") if isinstance(body, dict) else None


class Asker:
    """Somebody to ask."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def is_closed(self) -> bool:
        """Return that it can always be asked."""
        return False

    def get(self, url: str, *, options: Mapping[str, Any], cast_to: object) -> object:  # noqa: ARG002 - the SDK's
        """Return the JSON body that a GET is answered with.

        Raises `APIConnectionError`, `StatusError`, and `NoTargetError` where there is no way to ask.
        """
        headers = options["headers"]
        try:
            with self._opened(headers) as get:
                response = get(url, params=options["params"], headers=headers, timeout=options["timeout"])
        except NoTargetError:
            raise
        except Exception as exc:
            raise APIConnectionError from exc
        try:
            body = response.json()
        except ValueError:
            body = response.text
        if response.status_code not in _GOOD:
            raise StatusError(response, body)
        return body


def target_of_httpx(client: Any, request: Any) -> Target:
    """Return whom to ask about a request that a client of httpx sends."""
    return _target(partial(_through_httpx, client), request.url, request.headers)


def target_of_requests(session: Any, request: Any, settings: Mapping[str, Any]) -> Target:
    """Return whom to ask about a request that a session of requests sends with these settings."""
    proxies = settings.get("proxies")
    if proxies is None:  # whoever prepares a request himself has those of the environment found by `send`
        resolve = import_module("requests.utils").resolve_proxies
        proxies = resolve(request, session.proxies, session.trust_env)
    return _target(partial(_through_requests, session, proxies, settings), request.url, request.headers)


def target_of_aiohttp(session: Any, url: Any, settings: Mapping[str, Any]) -> Target:
    """Return whom to ask about a request that a session of aiohttp sends to a URL with these settings.

    Raises `NoTargetError` where the session's connector is none of aiohttp's own on TCP.
    """
    connector = session.connector
    if type(connector) is not import_module("aiohttp").TCPConnector:
        raise NoTargetError(f"what a connector of type {type(connector).__qualname__} does is not known")
    ssl = settings.get("ssl", True)
    ssl = getattr(connector, "_ssl", True) if ssl is True else ssl
    headers = {name.lower(): value for name, value in session.headers.items()}
    headers.update({name.lower(): value for name, value in dict(settings.get("headers") or {}).items()})
    opened = partial(_in_place_of_aiohttp, _proxy(session, settings), ssl, session.trust_env)
    return _target(opened, url, headers)


def _target(opened: Opened, url: object, headers: Mapping[str, str]) -> Target:
    credentials = {name: value for name, value in headers.items() if name.lower() in _CREDENTIALS}
    return Target(Asker(opened), generation_url(str(url)), credentials)


@contextmanager
def _through_httpx(client: Any, headers: Mapping[str, str]) -> Iterator[Callable[..., Any]]:
    with http_client(client) as http:
        # What the call was sent with goes before what the client sends by itself, and asks nobody for a new token.
        yield partial(http.get, auth=None) if any(name.lower() == "authorization" for name in headers) else http.get


@contextmanager
def _through_requests(
    theirs: Any, proxies: Mapping[str, str], settings: Mapping[str, Any], _headers: Mapping[str, str]
) -> Iterator[Callable[..., Any]]:
    ours: Any = import_module("requests").Session()
    # The credentials come with the question; a netrc of the machine's must not take their place.
    ours.trust_env = False
    ours.adapters = theirs.adapters
    ours.proxies = dict(proxies)
    ours.verify = settings.get("verify", theirs.verify)
    ours.cert = settings.get("cert", theirs.cert)
    # Its adapters are the user's, so it is not closed.
    yield partial(ours.get, allow_redirects=False)


@contextmanager
def _in_place_of_aiohttp(
    proxy: Mapping[str, Any], ssl: object, trust_env: bool, _headers: Mapping[str, str]
) -> Iterator[Callable[..., Any]]:
    """Open a client of httpx: a session of aiohttp works in its event loop only."""
    library = http_library()
    with library.Client(
        proxy=library.Proxy(**proxy) if proxy else None,
        verify=ssl if ssl is False or hasattr(ssl, "check_hostname") else True,
        trust_env=trust_env,
        follow_redirects=False,
    ) as http:
        yield http.get


def _proxy(session: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a proxy of httpx; nothing where a request goes through none."""
    url = settings.get("proxy") or getattr(session, "_default_proxy", None)
    if url is None:
        return {}
    auth = settings.get("proxy_auth") or getattr(session, "_default_proxy_auth", None)
    headers = settings.get("proxy_headers")
    return {
        "url": str(url),
        "auth": None if auth is None else (auth.login, auth.password),
        "headers": None if headers is None else dict(headers),
    }
