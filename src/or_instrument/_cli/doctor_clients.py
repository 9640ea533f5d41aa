"""Whose calls are seen: which clients are installed, which of them are recorded, by whose doing, and on which hosts."""

from __future__ import annotations

import gc
import inspect
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from or_instrument._cli.doctor_finding import NOTE, OK, PROBLEM, Finding, version_of
from or_instrument._clients.openai_sdk import SUPPORTED
from or_instrument._clients.registry import OPENAI
from or_instrument._instrument import installed, instrument, is_instrumented
from or_instrument._openrouter.hosts import Hosts
from or_instrument._options import ENABLED
from or_instrument._settings import Settings, enabled, resolve


class Library(NamedTuple):
    """A library that calls go through."""

    name: str
    """Of its package and of its module."""
    client: str
    """Its word in the option `clients`."""
    methods: tuple[tuple[str, str], ...]
    """Where its calls are seen: class and method."""


_SENDS: Final = (("Client", "send"), ("AsyncClient", "send"))
_LIBRARIES: Final = (
    Library("openai", OPENAI, (("OpenAI", "request"), ("AsyncOpenAI", "request"))),
    Library("httpx", "httpx", _SENDS),
    Library("httpx2", "httpx", _SENDS),
    Library("requests", "requests", (("Session", "send"),)),
    Library("aiohttp", "aiohttp", (("ClientSession", "_request"),)),
)
_ELSEWHERE: Final = {
    "claude-agent-sdk": ("from another process", "take their cost from OpenRouter's activity page"),
    "dspy": ("over sockets of its own, from 3.4 on", 'choose its other engine: dspy.LM(..., engine="litellm")'),
}
"""Packages whose calls pass none of these: how they send, and what to do."""


def clients() -> Iterator[Finding]:
    """Say which clients are installed, and which of them are recorded: where nothing was switched on, try it here."""
    if enabled(os.environ) is False:
        return
    libraries = [library for library in _LIBRARIES if version_of(library.name)]
    broken = {library: finding for library in libraries if (finding := _imported(library)) is not None}
    yield _who()
    if not is_instrumented():
        instrument()
    yield from (broken.get(library) or _seen(library) for library in libraries)
    for package, (how, remedy) in _ELSEWHERE.items():
        if version := version_of(package):
            found = f"{version} is installed; it sends its calls {how}, where they are not seen"
            yield Finding(NOTE, package, found, remedy)


def hosts() -> Iterator[Finding]:
    """Say of each host that the SDK is sent to whether its calls are recorded: by the environment, by a client here."""
    recorded = settings().hosts
    base_url = os.environ.get("OPENAI_BASE_URL", "").strip()
    sent_to = {urlsplit(base_url).hostname or base_url: "OPENAI_BASE_URL"} if base_url else {}
    for host, who in {**_hosts_of_clients(), **sent_to}.items():
        if "*" in recorded or Hosts(recorded).named("https", host, None) is not None:
            yield Finding(OK, "hosts", f"{who}: calls to {host} are recorded")
        else:
            remedy = f"OR_INSTRUMENT_HOSTS={','.join((*recorded, host))} if it is a proxy of yours"
            yield Finding(PROBLEM, "hosts", f"{who}: calls to {host} are not recorded", remedy)


def settings() -> Settings:
    """Return the settings in effect: those of the `instrument()` that was called here, else the environment's."""
    ours = installed()
    return resolve({}, os.environ) if ours is None else ours.wanted.settings


def _imported(library: Library) -> Finding | None:
    try:
        import_module(library.name)
    except ImportError as exc:
        remedy = f"pip install '{SUPPORTED}'" if library.client == OPENAI else f"pip install {library.name}"
        return Finding(PROBLEM, "client", f"{library.name} cannot be imported: {exc}", remedy)
    return None


def _who() -> Finding:
    ours = installed()
    if ours is None:
        remedy = f"{ENABLED}=true, or instrument() in the code (see it with --import MODULE)"
        return Finding(NOTE, "patch", "nothing has switched recording on here; the doctor does, to try it", remedy)
    return Finding(OK, "patch", f"recording was switched on by {ENABLED if ours.at_start else 'the code'}")


def _seen(library: Library) -> Finding:
    module = sys.modules[library.name]
    found = f"{library.name} {version_of(library.name)}"
    wanted = settings().clients
    if library.client not in wanted:
        left_out = f"{found}: calls are not recorded, as clients is {','.join(wanted)}"
        return Finding(NOTE, "client", left_out, "OR_INSTRUMENT_CLIENTS=all")
    unseen = [f"{owner}.{name}" for owner, name in library.methods if not _is_ours(getattr(module, owner, None), name)]
    if unseen:
        remedy = f"pip install '{SUPPORTED}'" if library.client == OPENAI else ""
        return Finding(PROBLEM, "client", f"{found}: {' and '.join(unseen)} is not recorded", remedy)
    return Finding(OK, "client", f"{found}: calls are recorded")


def _is_ours(owner: object, name: str) -> bool:
    method = inspect.getattr_static(owner, name, None)
    while method is not None:
        if str(getattr(getattr(method, "_self_wrapper", None), "__module__", "")).startswith("or_instrument."):
            return True
        method = getattr(method, "__wrapped__", None)
    return False


def _hosts_of_clients() -> dict[str, str]:
    openai = sys.modules.get("openai")
    if openai is None:
        return {}
    kinds = (openai.OpenAI, openai.AsyncOpenAI)
    made = [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]
    return {client.base_url.host: f"a client ({type(client).__qualname__})" for client in made}
