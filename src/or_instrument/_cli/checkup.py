"""What `or-instrument doctor` looks at: each check yields findings, and what to do about them."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

from or_instrument._clients.openai_sdk import SUPPORTED
from or_instrument._extras import MissingExtra
from or_instrument._instrument import instrument, is_instrumented
from or_instrument._openrouter.hosts import Hosts
from or_instrument._options import ENABLED
from or_instrument._settings import enabled, explain, resolve

OK: Final = "ok"
NOTE: Final = "note"
PROBLEM: Final = "problem"

_PREFIX: Final = "OR_INSTRUMENT_"
_HOOK: Final = "or_instrument_startup.pth"
_PACKAGES: Final = ("or-instrument", "openai", "wrapt", "opentelemetry-api", "opentelemetry-sdk")
_UNSEEN: Final = ("claude-agent-sdk",)
"""It runs the Claude CLI, another process."""
_OTHERS: Final = (
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-openai-v2",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
    "logfire",
)


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: str
    """`ok`, `note` (works, but perhaps not as meant) or `problem` (something is not recorded)."""
    subject: str
    found: str
    remedy: str = ""


def versions() -> Iterator[Finding]:
    """Say what is installed."""
    for package in _PACKAGES:
        version = _version(package)
        if version is None:
            yield Finding(PROBLEM, package, "not installed", f"pip install {package}")
        else:
            yield Finding(OK, package, version)
    for package in _UNSEEN:
        if version := _version(package):
            found = f"{version} is installed; it sends its calls from another process, where they are not seen"
            yield Finding(NOTE, package, found, "take their cost from OpenRouter's activity page")
    for package in _OTHERS:
        if version := _version(package):
            yield Finding(
                NOTE,
                package,
                f"{version} is installed; where it is switched on it makes spans of the same calls",
                "set OR_INSTRUMENT_SPANS=enrich to have the cost written on its spans instead of second ones",
            )


def switches() -> Iterator[Finding]:
    """Say what the environment says."""
    told = explain(os.environ)
    for variable, (text, allowed) in told.items():
        if allowed is not None:
            yield Finding(PROBLEM, variable, f"{text!r} is not allowed, so it is ignored", f"set it to {allowed}")
        elif text is not None:
            yield Finding(OK, variable, f"{text} (environment)")
    for variable in sorted(os.environ):
        if variable.startswith(_PREFIX) and variable not in told:
            yield Finding(NOTE, variable, "there is no such variable", f"the variables are {', '.join(told)}")
    if enabled(os.environ) is False:
        yield Finding(PROBLEM, "switch", f"{ENABLED} is false: nothing is recorded", f"unset it, or {ENABLED}=true")
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding(PROBLEM, "switch", "OTEL_SDK_DISABLED is true: no span and no metric is made", "unset it")
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")
    if {"openrouter", "*"} & {name.strip() for name in disabled}:
        yield Finding(NOTE, "switch", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: opentelemetry-instrument leaves us out")


def start_up() -> Iterator[Finding]:
    """Say whether the start-up hook is there, and runs."""
    folders = dict.fromkeys((sysconfig.get_path("purelib"), *sys.path))
    hook = next((path for folder in folders if (path := Path(folder) / _HOOK).is_file()), None)
    if hook is not None:
        yield Finding(OK, "start-up hook", f"{hook}")
    else:
        yield Finding(NOTE, "start-up hook", "not installed", "use or-instrument run CMD..., or call instrument()")
    if enabled(os.environ) and "_or_instrument_startup" not in sys.modules:
        yield Finding(PROBLEM, "start-up hook", "it has not run", "use or-instrument run CMD..., or call instrument()")
    if not os.environ.get(ENABLED, "").strip():
        yield Finding(NOTE, "start-up hook", f"{ENABLED} is not set: the code must call instrument()")


def patch() -> Iterator[Finding]:
    """Say whether the SDK can be patched: try it in this process."""
    if enabled(os.environ) is False:
        return
    try:
        openai = import_module("openai")
    except ImportError as exc:
        yield Finding(PROBLEM, "patch", f"openai cannot be imported: {exc}", f"pip install '{SUPPORTED}'")
        return
    instrument()
    for name in ("OpenAI", "AsyncOpenAI"):
        if is_instrumented() and "request" in vars(getattr(openai, name)):
            yield Finding(OK, "patch", f"{name}.request is recorded")
        else:
            yield Finding(PROBLEM, "patch", f"{name}.request is not recorded", f"pip install '{SUPPORTED}'")


def providers() -> Iterator[Finding]:
    """Say whether telemetry goes anywhere from here."""
    exporter = resolve({}, os.environ).exporter
    found = (("spans", trace.get_tracer_provider()), ("metrics", metrics.get_meter_provider()))
    for signal, provider in found:
        kind = f"{type(provider).__module__.partition('._')[0]}.{type(provider).__qualname__}"
        if hasattr(provider, "force_flush"):
            yield Finding(OK, signal, f"go to the application's {kind}")
        elif exporter != "none":
            yield Finding(OK, signal, f"go to the exporter {exporter}, unless the application sets a provider")
        else:
            yield Finding(
                NOTE,
                signal,
                "go nowhere from this process, which has no provider",
                "set OR_INSTRUMENT_EXPORTER=otlp, or have the application set a provider (see it with --import MODULE)",
            )


def endpoint(timeout_s: float) -> Iterator[Finding]:
    """Say whether the OTLP endpoint takes spans and metrics, where it is used."""
    if resolve({}, os.environ).exporter != "otlp":
        return
    from or_instrument._cli.probe import send_no_metrics, send_test_span  # noqa: PLC0415 - need the exporter

    for send, signal, what in ((send_test_span, "TRACES", "a test span"), (send_no_metrics, "METRICS", "metrics")):
        try:
            sent = send(timeout_s)
        except MissingExtra as exc:
            yield Finding(PROBLEM, "otlp", str(exc))
            return
        if sent is None:
            yield Finding(NOTE, "otlp", f"OTEL_{signal}_EXPORTER is none: of {what} nothing is sent")
        elif sent.is_accepted:
            yield Finding(OK, "otlp", f"{sent.endpoint} ({sent.protocol}) took {what}")
        else:
            found = f"{sent.endpoint} ({sent.protocol}) did not take {what}: {sent.reason}"
            yield Finding(PROBLEM, "otlp", found, _remedy(signal, sent.reason))


def _remedy(signal: str, reason: str) -> str:
    if reason == "connection refused":
        return "nobody listens there: start the collector, or check OTEL_EXPORTER_OTLP_ENDPOINT"
    if "404" in reason or "405" in reason or "Not Found" in reason:
        return f"the server has no such path: OTEL_{signal}_EXPORTER=none where it takes no {signal.lower()}"
    return "check OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL (4318 is http/protobuf, 4317 grpc) and _HEADERS"


def recorded_host() -> Iterator[Finding]:
    """Say whether the host that the environment sends the SDK to is one that is recorded."""
    base_url = os.environ.get("OPENAI_BASE_URL", "").strip()
    if not base_url:
        return
    host, hosts = urlsplit(base_url).hostname or base_url, resolve({}, os.environ).hosts
    if "*" in hosts or Hosts(hosts).named("https", host, None) is not None:
        yield Finding(OK, "hosts", f"OPENAI_BASE_URL: calls to {host} are recorded")
    else:
        found = f"OPENAI_BASE_URL: calls to {host} are not recorded"
        yield Finding(
            PROBLEM, "hosts", found, f"OR_INSTRUMENT_HOSTS={','.join((*hosts, host))} if it is a proxy of yours"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
