"""What `or-instrument doctor` looks at: each check yields findings, and what to do about them."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from opentelemetry import metrics, trace

from or_instrument._cli.doctor_clients import settings
from or_instrument._cli.doctor_finding import NOTE, OK, PROBLEM, Finding, version_of
from or_instrument._extras import MissingExtra
from or_instrument._instrument import installed
from or_instrument._options import ENABLED
from or_instrument._settings import enabled, explain
from or_instrument._telemetry.variables import is_sdk_disabled

_PREFIX: Final = "OR_INSTRUMENT_"
_HOOK: Final = "or_instrument_startup.pth"
_PACKAGES: Final = ("or-instrument", "openai", "wrapt", "opentelemetry-api", "opentelemetry-sdk")
_ENDPOINTS: Final = tuple(f"OTEL_EXPORTER_OTLP{signal}_ENDPOINT" for signal in ("", "_TRACES", "_METRICS"))
_HTTP_PORT: Final = 4318
_NO_PATH: Final = re.compile(r"\b40[45]\b|Not Found")
_DISTRIBUTION: Final = "opentelemetry-distro"
_OTHERS: Final = (
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-openai-v2",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
    "logfire",
)


def versions() -> Iterator[Finding]:
    """Say what is installed."""
    for package in _PACKAGES:
        version = version_of(package)
        if version is None:
            yield Finding(PROBLEM, package, "not installed", f"pip install {package}")
        else:
            yield Finding(OK, package, version)
    for package in _OTHERS:
        if version := version_of(package):
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
    if is_sdk_disabled():
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


def providers() -> Iterator[Finding]:
    """Say whether telemetry goes anywhere from here."""
    exporter, ours = settings().exporter, installed()
    given = (None, None) if ours is None else ours.wanted[1:3]
    found = (("spans", given[0] or trace.get_tracer_provider()), ("metrics", given[1] or metrics.get_meter_provider()))
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
    if settings().exporter != "otlp" and not any(os.environ.get(variable, "").strip() for variable in _ENDPOINTS):
        return
    from or_instrument._cli.doctor_probe import (  # noqa: PLC0415 - need the exporter
        refused_settings,
        send_no_metrics,
        send_test_span,
    )

    try:
        for signal, said in refused_settings():
            yield Finding(
                PROBLEM, "otlp", f"no {signal} are exported: {said}", "mend the OTEL_BSP_* or OTEL_METRIC_* variable"
            )
    except MissingExtra as exc:
        yield Finding(PROBLEM, "otlp", str(exc))
        return
    for send, signal, what in ((send_test_span, "TRACES", "a test span"), (send_no_metrics, "METRICS", "metrics")):
        sent = send(timeout_s)
        if sent is None:
            yield Finding(NOTE, "otlp", f"OTEL_{signal}_EXPORTER is none: of {what} nothing is sent")
        elif sent.is_accepted:
            yield Finding(OK, "otlp", f"{sent.endpoint} ({sent.protocol}) took {what}")
        else:
            found = f"{sent.endpoint} ({sent.protocol}) did not take {what}: {sent.reason}"
            yield Finding(PROBLEM, "otlp", found, _remedy(signal, sent.reason))


def distribution() -> Iterator[Finding]:
    """Say where `opentelemetry-instrument` would speak gRPC to an endpoint of HTTP: without a word it takes gRPC."""
    protocols = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    if version_of(_DISTRIBUTION) is None or any(os.environ.get(variable, "").strip() for variable in protocols):
        return
    for variable in _ENDPOINTS:
        if f":{_HTTP_PORT}" in (endpoint := os.environ.get(variable, "")):
            found = (
                f"opentelemetry-instrument speaks gRPC where no protocol is set; {variable}={endpoint} is HTTP's port"
            )
            yield Finding(NOTE, "otlp", found, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")


def greenlets() -> Iterator[Finding]:
    """Say whether gevent or eventlet is installed, and has patched this process."""
    patches = {
        "gevent": ("monkey", "is_module_patched", "threading"),
        "eventlet": ("patcher", "is_monkey_patched", "thread"),
    }
    for library, (module, name, threads) in patches.items():
        if version := version_of(library):
            asked = getattr(sys.modules.get(f"{library}.{module}"), name, None)
            patched = "threads are patched here" if asked is not None and asked(threads) else "nothing is patched here"
            yield Finding(OK, library, f"{version} is installed; {patched}. It may patch before us or after")
    if version_of("gevent") and version_of(_DISTRIBUTION):
        found = "its gunicorn worker is not to be run by opentelemetry-instrument: a request may never be answered"
        yield Finding(NOTE, "gevent", found, "OR_INSTRUMENT_ENABLED=true OR_INSTRUMENT_EXPORTER=otlp instead")


def _remedy(signal: str, reason: str) -> str:
    if reason == "connection refused":
        return "nobody listens there: start the collector, or check OTEL_EXPORTER_OTLP_ENDPOINT"
    if _NO_PATH.search(reason):
        return f"the server has no such path: OTEL_{signal}_EXPORTER=none where it takes no {signal.lower()}"
    if "HTTP/2" in reason:
        return "HTTP is spoken there, not gRPC: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    return "check OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL (4318 is http/protobuf, 4317 grpc) and _HEADERS"
