"""Switches recording on and off: settings in, patch and sinks out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn

from or_instrument._assembly import Assembly, Wanted
from or_instrument._calls.reaper import REAPER
from or_instrument._calls.scope import RECORDING
from or_instrument._calls.worker import PerKind, new_lock
from or_instrument._checks import checked_redact, checked_sinks, checked_timeout
from or_instrument._money.lookup_queue import LOOKUPS
from or_instrument._money.open_ledgers import flush_ledgers, leave_ledger
from or_instrument._optional import checked_ledger, load_estimator, load_exporters
from or_instrument._options import ENABLED, OPTIONS
from or_instrument._records import Sink
from or_instrument._settings import enabled, refuse_unknown, resolve
from or_instrument._telemetry.providers import Providers, check_provider, flush_within

if TYPE_CHECKING:
    from opentelemetry import metrics as otel_metrics
    from opentelemetry import trace as otel_trace
    from opentelemetry._logs import LoggerProvider

    from or_instrument._content.text import Redact
    from or_instrument._options import BroadcastWord, ContentWord, ExporterWord, LookupWord, SpansWord

_log = logging.getLogger("or_instrument")
_LOOKUP_SHARE: Final = 0.8
_lock = PerKind(new_lock)

_installed: Assembly | None = None


def instrument(
    *,
    tracer_provider: otel_trace.TracerProvider | None = None,
    meter_provider: otel_metrics.MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    exporter: ExporterWord | None = None,
    hosts: Sequence[str] | str | None = None,
    clients: Sequence[str] | str | None = None,
    inject_usage: bool | None = None,
    spans: SpansWord | None = None,
    metrics: bool | None = None,
    router_metadata: bool | None = None,
    content: ContentWord | None = None,
    content_limit: int | None = None,
    redact: Redact | None = None,
    sinks: Sequence[Sink] = (),
    metric_attributes: Sequence[str] | str | None = None,
    metric_values_limit: int | None = None,
    lookup: LookupWord | None = None,
    broadcast: BroadcastWord | None = None,
    backend: Sequence[str] | str | None = None,
    estimate: bool | None = None,
    ledger: str | os.PathLike[str] | None = None,
    **unknown: NoReturn,
) -> None:
    """Record every OpenRouter call of this process from now on, also of clients made before.

    That is: through the OpenAI SDK, and through whatever sends by httpx, httpx2, requests or aiohttp. Call it before or
    after they are imported; it imports none of them. A second call does nothing, and warns where its options differ.
    With `OR_INSTRUMENT_ENABLED=false` it does nothing at all.

    Args:
        tracer_provider: where spans go; the global provider by default, also where it is set later.
        meter_provider: where metrics go, likewise.
        logger_provider: where content events go, likewise.
        exporter: `otlp` or `console`: where the application sets no provider, before or later, an SDK provider of ours
            exports the spans and metrics, set up from the standard `OTEL_*` variables. Default `none`; variable
            `OR_INSTRUMENT_EXPORTER`.
        hosts: whose calls are recorded: host names, their subdomains included; `*` for every host, where the usage
            option is never added. Default `openrouter.ai`; variable `OR_INSTRUMENT_HOSTS`.
        clients: through which clients calls are seen: `all`, or of `openai`, `httpx` (httpx2 too), `requests` and
            `aiohttp` those that are named; through the last three, calls to the hosts that are named, and nothing of a
            request is changed. Default `all`; variable `OR_INSTRUMENT_CLIENTS`.
        inject_usage: whether `"usage": {"include": true}` is added to the body. Default true; variable
            `OR_INSTRUMENT_INJECT_USAGE`.
        spans: `own`; `enrich` to write onto the span that another instrumentation makes of the same call, and make one
            only for a billed call that has none to write on; or `off`. Default `own`; variable `OR_INSTRUMENT_SPANS`.
        metrics: whether metrics are recorded. Default true; variable `OR_INSTRUMENT_METRICS`.
        router_metadata: whether OpenRouter is asked, by one header of chat and text completions, to tell how it routed
            a call: see `Call.routing`. A header of your own wins. Default false; variable
            `OR_INSTRUMENT_ROUTER_METADATA`.
        content: whether prompts and completions are captured, and where they go: `NO_CONTENT`, `SPAN_ONLY`,
            `EVENT_ONLY` or `SPAN_AND_EVENT`; `Call.content` has them too. Default `NO_CONTENT`; variable
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.
        content_limit: how many characters one content attribute may have; longer texts are cut. Default 60000; variable
            `OR_INSTRUMENT_CONTENT_LIMIT`.
        redact: takes every captured text and returns what may be shown of it, or `None`. Where it raises, nothing of
            that call's content is shown.
        sinks: callables that get the frozen `Call` of every call, in the thread that finished it.
        metric_attributes: which keys of `attributes(...)` become metric labels. Default none; variable
            `OR_INSTRUMENT_METRIC_ATTRIBUTES`.
        metric_values_limit: how many values each label may have, those of models, providers and errors too; further
            ones become `other`, with one warning. Default 100; variable `OR_INSTRUMENT_METRIC_VALUES_LIMIT`.
        lookup: `missing`: the cost of calls that ended without usage, such as streams broken off, is looked up in the
            background, with the call's own credentials at the host that served it; sinks get a second `Call` that
            `recovers` the first. Default `off`; variable `OR_INSTRUMENT_LOOKUP`.
        broadcast: `link`: a span link to the trace that OpenRouter's Broadcast exports of the same call. `propagate`:
            sends our span's ids in the body, so that Broadcast's spans nest under ours; as every body then differs,
            OpenRouter's response cache never hits. Default `off`; variable `OR_INSTRUMENT_BROADCAST`.
        backend: `mlflow`, `phoenix`, `signoz`, `langwatch`, `posthog`, `langfuse`, `openlit`, or several of them:
            further span attributes with which that backend shows the reported cost. Default none; variable
            `OR_INSTRUMENT_BACKEND`.
        estimate: whether calls whose reply tells tokens but no cost get an estimate at list prices (needs the extra
            `prices`), never added to reported cost. Default false; variable `OR_INSTRUMENT_ESTIMATE`.
        ledger: a file: every call becomes a row in an SQLite database, also across processes and restarts, for
            `or-instrument cost` and `reconcile`. Needs a Python with SQLite. Default none; variable
            `OR_INSTRUMENT_LEDGER`.
        unknown: any other option is refused.

    Raises:
        ConfigError: an option is unknown or has a value that is not allowed; nothing has been patched.

    """
    global _installed  # noqa: PLW0603 - one per process
    given = {name: value for name, value in locals().items() if name in OPTIONS}
    refuse_unknown(unknown, (*given, "tracer_provider", "meter_provider", "logger_provider", "redact", "sinks"))
    check_provider("tracer_provider", tracer_provider, "get_tracer")
    check_provider("meter_provider", meter_provider, "get_meter")
    check_provider("logger_provider", logger_provider, "get_logger")
    settings, sinks, redact = resolve(given, os.environ), checked_sinks(sinks), checked_redact(redact)
    if enabled(os.environ) is False:
        _log.info("%s is false: nothing is instrumented", ENABLED)
        return
    estimator = load_estimator(is_asked=estimate is not None) if settings.estimate else None
    settings = settings._replace(ledger=checked_ledger(settings.ledger, is_asked=ledger is not None))
    exporters = load_exporters(settings.exporter, is_asked=exporter is not None)
    wanted = Wanted(settings, tracer_provider, meter_provider, sinks, logger_provider, redact)
    with _lock():
        if _installed is None or _gives_way(_installed, wanted):
            _installed = Assembly(wanted, exporters, estimator)
            _installed.install()
            RECORDING.is_on = True


def _gives_way(installed: Assembly, wanted: Wanted) -> bool:
    """Mend what is installed; return whether it was taken off, as something else is wanted than at the start."""
    if lost := installed.patch.lost():
        installed.patch.mend()
        _log.warning("the patch on %s had been taken off by another library; it is on again", " and ".join(lost))
    if installed.wanted == wanted:
        return False
    if not installed.at_start:
        _log.warning("instrument(): already instrumented with other options; call uninstrument() first to change them")
        return False
    installed.remove()
    return True


def instrument_at_start() -> None:
    """Instrument as the environment says, unless the code has done so: what the start-up hook runs.

    A later `instrument()` with other options takes its place.
    """
    if _installed is None and enabled(os.environ):
        instrument()
        if _installed is not None:
            _installed.at_start = True


def uninstrument() -> None:
    """Take everything of ours off the SDK; open streams are still recorded when they end."""
    global _installed  # noqa: PLW0603 - one per process
    with _lock():
        if _installed is not None:
            _installed.remove()
            _installed = None
            RECORDING.is_on = False
            leave_ledger()


def installed() -> Assembly | None:
    """Return what the `instrument()` that is in effect has set up, `None` where none is."""
    return _installed


def is_instrumented() -> bool:
    """Return whether `instrument()` is in effect.

    It is not where another library has taken our patch off with its own; a second `instrument()` puts it on again.
    """
    installed = _installed
    return installed is not None and not installed.patch.lost()


def flush(timeout_s: float = 5.0) -> bool:
    """Record what finalisers have left over, export it and write the ledger; return whether all of it went out.

    Look-ups under way are waited for. Waits at most about `timeout_s` seconds in all. Providers without `force_flush`,
    such as the API's no-op ones, have nothing to flush.

    Raises:
        ConfigError: `timeout_s` is no number of seconds from 0 on.

    """
    deadline = monotonic() + checked_timeout(timeout_s)
    is_drained = REAPER.drain(timeout_s)
    # Some of the time is kept for exporting what there is.
    is_looked_up = LOOKUPS.wait(_LOOKUP_SHARE * timeout_s)
    is_written = flush_ledgers(max(0.0, deadline - monotonic()))
    providers = (_installed if _installed is not None else Providers(None, None, None)).in_use()
    flushed = [flush_within(max(0.0, deadline - monotonic()), provider) for provider in providers]
    return all(flushed) and is_drained and is_looked_up and is_written
