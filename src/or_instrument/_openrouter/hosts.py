"""Decides from a base URL whose calls are recorded, as which provider, and whether the usage option may be added."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

_log = logging.getLogger("or_instrument")

OPENROUTER: Final = "openrouter"
OPENROUTER_HOST: Final = "openrouter.ai"

_WELL_KNOWN: Final = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""Values of `gen_ai.provider.name` that the GenAI conventions list, by the host that serves them."""

_NOTHING: Final = r"(?!)"
_CACHE_LIMIT: Final = 256
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class URL(Protocol):
    """What httpx and httpx2 URLs have in common."""

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...


class Endpoint(NamedTuple):
    """Where a call goes."""

    host: str
    port: int
    provider: str
    is_named: bool
    """A named host is OpenRouter or a proxy of it; only there the usage option is added."""


class Hosts:
    """Matches base URLs against the configured hosts; remembers the answer for each URL object it has seen."""

    def __init__(self, hosts: Iterable[str]) -> None:
        names = [host.lower().rstrip(".") for host in hosts]
        self._named = tuple(name for name in names if name != "*")
        self._any = "*" in names
        self._seen: dict[int, tuple[URL, Endpoint | None]] = {}
        self._told: set[str] = set()
        # Most requests of a process go to other hosts, and this search is all that they cost.
        named = "|".join(map(re.escape, self._named)) or _NOTHING
        self.search: Callable[[str], object] = re.compile(named).search
        """Finds a configured host in a host or a URL in lower case; what it does not find is none of them."""

    def endpoint(self, url: URL) -> Endpoint | None:
        """Return where the URL leads, `None` where its calls are not recorded."""
        seen = self._seen.get(id(url))
        if seen is not None and seen[0] is url:
            return seen[1]
        endpoint = self._resolve(url)
        if len(self._seen) >= _CACHE_LIMIT:
            self._seen.clear()
        # The entry holds the URL, so that its id stays its own.
        self._seen[id(url)] = (url, endpoint)
        return endpoint

    def named(self, scheme: str, host: str, port: int | None) -> Endpoint | None:
        """Return where a URL with these parts leads, `None` where its host is none of the configured ones by name."""
        lower = host.lower().rstrip(".")
        if not any(_is_within(lower, name) for name in self._named):
            return None
        return Endpoint(lower, port or _DEFAULT_PORTS.get(scheme, 443), OPENROUTER, is_named=True)

    def _resolve(self, url: URL) -> Endpoint | None:
        if (named := self.named(url.scheme, url.host, url.port)) is not None:
            return named
        host = url.host.lower().rstrip(".")
        if self._any:
            return Endpoint(host, url.port or _DEFAULT_PORTS.get(url.scheme, 443), _provider(host), is_named=False)
        self._tell(host)
        return None

    def _tell(self, host: str) -> None:
        """Say once of a host that its calls are not recorded."""
        if host not in self._told and len(self._told) < _CACHE_LIMIT:
            self._told.add(host)
            _log.debug("calls to %s are not recorded; the hosts that are: %s", host, ", ".join(self._named))


def account_host(host: str) -> str:
    """Return the host that an account is of: whichever region answers, the account is one."""
    return OPENROUTER_HOST if _is_within(host, OPENROUTER_HOST) else host


def _is_within(host: str, name: str) -> bool:
    return host == name or host.endswith(f".{name}")


def _provider(host: str) -> str:
    return next((provider for name, provider in _WELL_KNOWN.items() if _is_within(host, name)), host)
