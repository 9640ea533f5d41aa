"""Whom to ask about a call afterwards: the host that served it, with the credentials it was sent with.

An async client's transport belongs to its event loop, and a closed client has none: then a sync client with the same
settings asks. These are internals of the SDK and of httpx; what cannot be had is not replaced by a guess.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from or_instrument._openrouter.headers import Named

_HTTP_LIBRARIES: Final = ("httpx", "httpx2")
_NOT_OURS: Final = ("accept", "content-length", "content-type", "idempotency-key")
_KEYS: Final = ("authorization", "x-api-key")
_PORTS: Final = {"https": 443, "http": 80}


class NoTargetError(Exception):
    """The client's transport is of a kind that only its event loop can use."""


class Target(NamedTuple):
    """The client that made a call, and what the call's own request adds to it."""

    client: Any
    url: str
    """The whole URL of `/generation` at the host that served the call."""
    headers: Mapping[str, str]
    """The call's credentials, in case the client's change."""

    def sent_with(self, headers: Named, url: str) -> Target:
        """Return the same with the credentials of a request that went to a URL, if that is of the host to be asked."""
        if _origin(url) != _origin(self.url):
            return self  # a redirect led to another one
        sent = {name: value for name in _KEYS if (value := headers.get(name))}
        return self._replace(headers={**{n: v for n, v in self.headers.items() if n.lower() not in sent}, **sent})


def target_of(client: Any, options: Any) -> Target:
    """Return whom to ask about the call that a client makes with these options."""
    given = options.headers if isinstance(options.headers, Mapping) else {}
    own = {
        name: value
        for name, value in given.items()
        # What says how the SDK shall treat the reply is not for another request.
        if isinstance(value, str) and not name.lower().startswith("x-stainless-") and name.lower() not in _NOT_OURS
    }
    # A key that a callable provides is there only once the call is on its way.
    credentials = client.auth_headers if client.api_key else {}
    names = {name.lower() for name in own}
    is_whole = "://" in options.url
    url = generation_url(options.url) if is_whole else f"{str(client.base_url).rstrip('/')}/generation"
    return Target(client, url, {**{n: v for n, v in credentials.items() if n.lower() not in names}, **own})


@contextmanager
def sync_client(client: Any) -> Iterator[Any]:
    """Yield the client where any thread can use it, else a sync one with its settings, closed afterwards.

    Raises `NoTargetError` where that cannot be made.
    """
    if not inspect.iscoroutinefunction(client.get) and not client.is_closed():
        yield client
        return
    with http_client(client._client) as http:
        yield sys.modules["openai"].OpenAI(
            # The key itself is in the headers of the target; the constructor insists on one.
            api_key=client.api_key or "none",
            organization=client.organization,
            project=client.project,
            base_url=client.base_url,
            timeout=client.timeout,
            max_retries=0,
            default_headers=client._custom_headers,
            default_query=client._custom_query,
            http_client=http,
        )


def generation_url(url: str) -> str:
    """Return the URL of `/generation` at the host that serves a whole URL."""
    for below in ("/v1/", "/api/"):
        head, found, _ = url.partition("?")[0].rpartition(below)
        if found:
            return f"{head}{'/api' if below == '/api/' else ''}/v1/generation"
    whole = urlsplit(url)
    return f"{whole.scheme}://{whole.netloc}/generation"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def http_library() -> ModuleType:
    """Return the HTTP library that the OpenAI SDK brings."""
    return import_module("httpx2" if find_spec("httpx2") else "httpx")


@contextmanager
def http_client(theirs: Any) -> Iterator[Any]:
    """Yield a sync client of httpx with the settings and the transports of another, closed afterwards."""
    library = _library(theirs)
    with library.Client(
        transport=_transport(library, theirs._transport),
        mounts={pattern.pattern: _transport(library, mounted) for pattern, mounted in theirs._mounts.items()},
        headers=theirs.headers,
        cookies=theirs.cookies,
        auth=theirs.auth,
        # Proxies from the environment are among the mounts already; credentials go to no other host.
        trust_env=False,
        follow_redirects=False,
    ) as http:
        yield http


def _library(http: Any) -> ModuleType:
    names = (base.__module__.partition(".")[0] for base in type(http).__mro__)
    return sys.modules[next(name for name in names if name in _HTTP_LIBRARIES)]


def _transport(library: ModuleType, theirs: Any) -> Any:
    if theirs is None:
        return None
    if type(theirs) is library.HTTPTransport or isinstance(theirs, library.AsyncHTTPTransport):
        pool = theirs._pool
        return library.HTTPTransport(
            verify=pool._ssl_context,
            http1=pool._http1,
            http2=pool._http2,
            uds=pool._uds,
            local_address=pool._local_address,
            proxy=_proxy(library, pool),
            trust_env=False,
        )
    if hasattr(theirs, "handle_request"):
        # It works in any thread, and is not ours to close.
        borrowed = library.BaseTransport()
        borrowed.handle_request = theirs.handle_request
        return borrowed
    raise NoTargetError(f"a transport of type {type(theirs).__qualname__} works in its event loop only")


def _proxy(library: ModuleType, pool: Any) -> Any:
    url = getattr(pool, "_proxy_url", None)
    if url is None:
        return None
    scheme, host = url.scheme.decode(), url.host.decode("ascii")
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{url.port or (443 if scheme == 'https' else 80)}"
    auth = getattr(pool, "_proxy_auth", None)
    return library.Proxy(
        address,
        auth=None if auth is None else tuple(part.decode() for part in auth),
        headers=getattr(pool, "_proxy_headers", None),
        ssl_context=getattr(pool, "_proxy_ssl_context", None),
    )
