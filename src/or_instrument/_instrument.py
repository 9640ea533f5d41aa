"""Switches recording on and off: settings in, patch and sinks out."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context

from or_instrument._hosts import Hosts
from or_instrument._metrics import Metrics
from or_instrument._observer import Observer
from or_instrument._patch import Patch
from or_instrument._reaper import REAPER
from or_instrument._records import Sink
from or_instrument._settings import ENABLED, Settings, checked_sinks, enabled, refuse_unknown, resolve
from or_instrument._shield import report
from or_instrument._span import Spans
from or_instrument._version import __version__

_log = logging.getLogger("or_instrument")
_SCOPE: Final = "or_instrument"
_SUPPRESS_KEYS: Final = (
    _SUPPRESS_INSTRUMENTATION_KEY,
    "suppress_instrumentation",
    "suppress_language_model_instrumentation",
)
_lock = threading.Lock()


class _Installed:
    """What one `instrument()` has set up."""

    def __init__(self, settings: Settings, tracer_provider: Any, meter_provider: Any, sinks: tuple[Sink, ...]) -> None:
        self.options = (settings, tracer_provider, meter_provider, sinks)
        self.providers = (tracer_provider, meter_provider)
        spans = _spans(settings, tracer_provider)
        ours: list[Sink] = [spans] if spans else []
        if settings.metrics and not _sdk_disabled():
            meter = otel_metrics.get_meter(_SCOPE, __version__, meter_provider)
            ours.append(Metrics(meter, settings.metric_attributes))
        self.patch = Patch(
            Observer(
                Hosts(settings.hosts),
                (*ours, *sinks),
                open_span=spans.open if spans else None,
                is_suppressed=_is_suppressed,
                inject_usage=settings.inject_usage,
            )
        )


_installed: _Installed | None = None


def instrument(
    *,
    tracer_provider: otel_trace.TracerProvider | None = None,
    meter_provider: otel_metrics.MeterProvider | None = None,
    hosts: Sequence[str] | str | None = None,
    inject_usage: bool | None = None,
    spans: str | None = None,
    metrics: bool | None = None,
    sinks: Sequence[Sink] = (),
    metric_attributes: Sequence[str] | str | None = None,
    **unknown: object,
) -> None:
    """Record every OpenRouter call that goes through the OpenAI SDK from now on, also of clients made before.

    Call it before or after `import openai`; it imports the SDK in neither case. A second call does nothing, and warns
    where its options differ. With `OR_INSTRUMENT_ENABLED=false` it does nothing at all.

    Args:
        tracer_provider: where spans go; the global provider by default, also where it is set later.
        meter_provider: where metrics go, likewise.
        hosts: whose calls are recorded: host names, their subdomains included; `*` for every host, where the usage
            option is never added. Default `openrouter.ai`; variable `OR_INSTRUMENT_HOSTS`.
        inject_usage: whether `"usage": {"include": true}` is added to the body. Default true; variable
            `OR_INSTRUMENT_INJECT_USAGE`.
        spans: `own` or `off`. Default `own`; variable `OR_INSTRUMENT_SPANS`.
        metrics: whether metrics are recorded. Default true; variable `OR_INSTRUMENT_METRICS`.
        sinks: callables that get the frozen `Call` of every call, in the thread that finished it.
        metric_attributes: which keys of `attributes(...)` become metric labels. Default none; variable
            `OR_INSTRUMENT_METRIC_ATTRIBUTES`.
        unknown: any other option is refused.

    Raises:
        ConfigError: an option is unknown or has a value that is not allowed; nothing has been patched.

    """
    global _installed  # noqa: PLW0603 - one per process
    given = {
        "hosts": hosts,
        "inject_usage": inject_usage,
        "spans": spans,
        "metrics": metrics,
        "metric_attributes": metric_attributes,
    }
    refuse_unknown(unknown, (*given, "tracer_provider", "meter_provider", "sinks"))
    settings, sinks = resolve(given, os.environ), checked_sinks(sinks)
    if enabled(os.environ) is False:
        _log.info("%s is false: nothing is instrumented", ENABLED)
        return
    with _lock:
        if _installed is not None:
            if _installed.options != (settings, tracer_provider, meter_provider, sinks):
                _log.warning("already instrumented with other options; call uninstrument() first to change them")
            return
        _installed = _Installed(settings, tracer_provider, meter_provider, sinks)
        _installed.patch.install()


def uninstrument() -> None:
    """Take everything of ours off the SDK; open streams are still recorded when they end."""
    global _installed  # noqa: PLW0603 - one per process
    with _lock:
        if _installed is not None:
            _installed.patch.remove()
            _installed = None


def is_instrumented() -> bool:
    """Return whether `instrument()` is in effect."""
    return _installed is not None


def flush(timeout_s: float = 5.0) -> bool:
    """Record what finalisers have left over, then have the providers export; return whether all of it went out.

    Waits at most about `timeout_s` seconds. Providers without `force_flush`, such as the API's no-op ones, have nothing to
    flush.
    """
    REAPER.drain()
    tracer_provider, meter_provider = _installed.providers if _installed is not None else (None, None)
    providers = (
        tracer_provider or otel_trace.get_tracer_provider(),
        meter_provider or otel_metrics.get_meter_provider(),
    )
    deadline = monotonic() + timeout_s
    flushed = [_flushed(provider, deadline) for provider in providers]
    return all(flushed)


def _flushed(provider: object, deadline: float) -> bool:
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:
        return True
    try:
        return force_flush(timeout_millis=max(0, int((deadline - monotonic()) * 1000))) is not False
    except Exception as exc:  # noqa: BLE001 - the shield
        report("flushing", exc)
        return False


def _spans(settings: Settings, tracer_provider: otel_trace.TracerProvider | None) -> Spans | None:
    if settings.spans == "off" or _sdk_disabled():
        return None
    return Spans(otel_trace.get_tracer(_SCOPE, __version__, tracer_provider), settings.cost_aliases)


def _sdk_disabled() -> bool:
    # https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _is_suppressed(context: Context) -> bool:
    return bool(context) and any(context.get(key) for key in _SUPPRESS_KEYS)
