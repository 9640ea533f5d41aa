"""Asks about a call afterwards through the HTTP client that made it: its proxies, its certificates, the call's own key.

Each asker has the `get` of the OpenAI SDK's clients as far as a look-up uses it, so that whoever asks need not care.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, Final, Protocol

from or_instrument._clients.target import NoTargetError, Target, generation_url, http_client, http_library

_CREDENTIALS: Final = ("authorization", "x-api-key", "cookie", "user-agent")


class APIConnectionError(Exception):
    """No answer came; named like the SDK's own."""


class StatusError(Exception):
    """The answer was no good one."""

    def __init__(self, response: Any, body: object) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response
        self.status_code = response.status_code
        self.body = body.get("error") if isinstance(body, dict) else None


class _HTTP(Protocol):
    """What the clients of httpx and the sessions of requests have in common."""

    def get(self, url: str, **options: Any) -> Any: ...


class Asker:
    """Somebody to ask; sub-classes say through which client."""

    def is_closed(self) -> bool:
        """Return that it can always be asked."""
        return False

    def get(self, url: str, *, options: Mapping[str, Any], cast_to: object) -> object:  # noqa: ARG002 - the SDK's
        """Return the JSON body that a GET is answered with.

        Raises `APIConnectionError`, `StatusError`, and `NoTargetError` where there is no way to ask.
        """
        try:
            with self._opened() as http:
                headers = options["headers"]
                more = self._more(headers)
                response = http.get(url, params=options["params"], headers=headers, timeout=options["timeout"], **more)
        except NoTargetError:
            raise
        except Exception as exc:
            raise APIConnectionError from exc
        try:
            body = response.json()
        except ValueError:
            body = response.text
        if not _OK[0] <= response.status_code < _OK[1]:
            raise StatusError(response, body)
        return body

    def _more(self, headers: Mapping[str, str]) -> Mapping[str, Any]:  # noqa: ARG002 - sub-classes use it
        return {}

    def _opened(self) -> AbstractContextManager[_HTTP]:
        raise NotImplementedError


class HTTPXAsker(Asker):
    """Asks through a client of httpx with the settings of the user's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def target(cls, client: Any, request: Any) -> Target:
        """Return whom to ask about a request that a client sends."""
        headers = _credentials(request.headers)
        return Target(cls(client), generation_url(str(request.url)), headers)

    def _more(self, headers: Mapping[str, str]) -> Mapping[str, Any]:
        # What the call was sent with goes before what the client sends by itself, and asks nobody for a new token.
        return {"auth": None} if any(name.lower() == "authorization" for name in headers) else {}

    def _opened(self) -> AbstractContextManager[_HTTP]:
        return http_client(self._client)


class RequestsAsker(Asker):
    """Asks through a session of requests with the adapters, proxies and certificates of the user's."""

    def __init__(self, session: Any, proxies: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        self._session = session
        self._proxies = proxies
        self._settings = settings

    @classmethod
    def target(cls, session: Any, request: Any, settings: Mapping[str, Any]) -> Target:
        """Return whom to ask about a request that a session sends with these settings."""
        proxies = settings.get("proxies")
        if proxies is None:  # whoever prepares a request himself has those of the environment found by `send`
            resolve = import_module("requests.utils").resolve_proxies
            proxies = resolve(request, session.proxies, session.trust_env)
        return Target(cls(session, proxies, settings), generation_url(request.url), _credentials(request.headers))

    def _more(self, headers: Mapping[str, str]) -> Mapping[str, Any]:  # noqa: ARG002 - see above
        return {"allow_redirects": False}

    @contextmanager
    def _opened(self) -> Iterator[_HTTP]:
        theirs = self._session
        ours: Any = import_module("requests").Session()
        # The credentials come with the question; a netrc of the machine's must not take their place.
        ours.trust_env = False
        ours.adapters = theirs.adapters
        ours.proxies = dict(self._proxies)
        ours.verify = self._settings.get("verify", theirs.verify)
        ours.cert = self._settings.get("cert", theirs.cert)
        # Its adapters are the user's, so it is not closed.
        yield ours


class AiohttpAsker(Asker):
    """Asks through a client of httpx: a session of aiohttp works in its event loop only."""

    def __init__(self, proxy: Mapping[str, Any], ssl: object, *, trust_env: bool) -> None:
        self._proxy = proxy
        self._ssl = ssl
        self._trust_env = trust_env

    @classmethod
    def target(cls, session: Any, url: Any, settings: Mapping[str, Any]) -> Target:
        """Return whom to ask about a request that a session sends to a URL with these settings.

        Raises `NoTargetError` where the session's connector is none of aiohttp's own on TCP.
        """
        connector = session.connector
        if type(connector) is not import_module("aiohttp").TCPConnector:
            raise NoTargetError(f"what a connector of type {type(connector).__qualname__} does is not known")
        ssl = settings.get("ssl", True)
        ssl = getattr(connector, "_ssl", True) if ssl is True else ssl
        headers = {name.lower(): value for name, value in session.headers.items()}
        headers.update({name.lower(): value for name, value in dict(settings.get("headers") or {}).items()})
        asker = cls(_proxy(session, settings), ssl, trust_env=session.trust_env)
        return Target(asker, generation_url(str(url)), _credentials(headers))

    def _opened(self) -> AbstractContextManager[_HTTP]:
        verify: Any = self._ssl if self._ssl is False or hasattr(self._ssl, "check_hostname") else True
        library = http_library()
        client: AbstractContextManager[_HTTP] = library.Client(
            proxy=library.Proxy(**self._proxy) if self._proxy else None,
            verify=verify,
            trust_env=self._trust_env,
            follow_redirects=False,
        )
        return client


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


_OK: Final = (200, 300)


def _credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _CREDENTIALS}
