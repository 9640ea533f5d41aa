"""Puts the parts of one `instrument()` together as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from or_instrument._clients.registry import Seams
from or_instrument._money.open_ledgers import ledger_at
from or_instrument._records import Call, Sink
from or_instrument._settings import Settings
from or_instrument._telemetry import names
from or_instrument._telemetry.enrich import Enricher, is_unwanted
from or_instrument._telemetry.exit import EXIT
from or_instrument._telemetry.metrics import Metrics
from or_instrument._telemetry.providers import Providers
from or_instrument._telemetry.servers import SERVERS
from or_instrument._telemetry.sigterm import SIGTERM
from or_instrument._telemetry.span import Spans
from or_instrument._telemetry.variables import is_sdk_disabled
from or_instrument._version import __version__

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

    from or_instrument._calls.observer import BeginCapture, Recovery
    from or_instrument._clients.patch import Seam
    from or_instrument._content.text import Redact
    from or_instrument._money.ledger import Ledger
    from or_instrument._telemetry.backends import Backend
    from or_instrument._telemetry.content import Events
    from or_instrument._telemetry.exporters import Exporters

_SCOPE: Final = "or_instrument"


class Wanted(NamedTuple):
    """What one `instrument()` asks for; where two are equal, the second changes nothing."""

    settings: Settings
    tracer_provider: Any
    meter_provider: Any
    sinks: tuple[Sink, ...]
    logger_provider: LoggerProvider | None
    redact: Redact | None


class Assembly:
    """What one `instrument()` has set up."""

    def __init__(self, wanted: Wanted, exporters: Exporters | None, estimate: Callable[[Call], Call] | None) -> None:
        settings = wanted.settings
        self.wanted = wanted
        self.at_start = False
        self.providers = Providers(wanted.tracer_provider, wanted.meter_provider, exporters)
        self.events = _events(settings, wanted.logger_provider)
        spans = _spans(settings, self.providers)
        ours = self._telemetry(spans)
        ledger = None if settings.ledger is None else ledger_at(settings.ledger)
        if ours or ledger:
            ours.append(EXIT.note)
        self.patch = Seams(partial(self._seams, spans, (*ours, *wanted.sinks), ledger, estimate))

    def _seams(
        self,
        spans: Enricher | None,
        sinks: Sequence[Sink],
        ledger: Ledger | None,
        estimate: Callable[[Call], Call] | None,
    ) -> Mapping[str, Seam]:
        # All that sees a call comes with them, which takes as long to import as the rest.
        from or_instrument._calls.observer import Observer  # noqa: PLC0415 - see above
        from or_instrument._clients.openai_body import Additions  # noqa: PLC0415
        from or_instrument._clients.seams import seams_of  # noqa: PLC0415
        from or_instrument._openrouter.hosts import Hosts  # noqa: PLC0415

        settings = self.wanted.settings
        observer = Observer(
            Hosts(settings.hosts),
            sinks,
            open_span=self.providers.prepared(spans.open if spans else None),
            is_suppressed=is_unwanted,
            capture=_capture(settings, self.wanted.redact),
            look_inside=spans.look_inside if spans and settings.spans == "enrich" else None,
            amend=_amend(settings, estimate),
            recovery=_recovery(settings),
            keyed=None if ledger is None else ledger.keyed,
        )
        additions = Additions(
            inject_usage=settings.inject_usage,
            propagate=settings.broadcast == "propagate",
            router_metadata=settings.router_metadata,
        )
        return seams_of(observer, additions, settings.clients)

    def _telemetry(self, spans: Enricher | None) -> list[Sink]:
        """Return what writes calls into OpenTelemetry; a span takes its content before it ends."""
        settings = self.wanted.settings
        ours: list[Sink] = [self.events] if self.events else []
        if spans and settings.content in ("span_only", "span_and_event"):
            from or_instrument._telemetry.content import SpanContent  # noqa: PLC0415 - see `_capture`

            ours.append(SpanContent(only_theirs=settings.spans == "enrich", backend=_backend(settings)))
        if spans:
            ours.append(spans)
        if settings.metrics and not is_sdk_disabled():
            labels = settings.metric_attributes, settings.metric_values_limit
            ours.append(self.providers.metered(lambda meter: Metrics(meter, *labels), _SCOPE, __version__))
        return ours

    def install(self) -> None:
        """Put everything on: the SDK is patched, and the end of the process heard."""
        self.patch.install()
        EXIT.watch(self.in_use)
        SIGTERM.listen()
        SERVERS.install()

    def remove(self) -> None:
        """Take everything off."""
        self.patch.remove()
        SERVERS.remove()
        SIGTERM.unlisten()
        if not self.providers.has_ours:
            EXIT.unwatch(self.in_use)

    def in_use(self) -> tuple[object, ...]:
        """Return all providers that something may have been recorded with."""
        providers = self.providers.in_use()
        return providers if self.events is None else (*providers, self.events.provider)


def _amend(settings: Settings, estimate: Callable[[Call], Call] | None) -> Callable[[Call], Call]:
    from or_instrument._money.sessions import Sessions  # noqa: PLC0415 - only seams need it

    steps: list[Callable[[Call], Call]] = [Sessions().judge]
    if settings.lookup == "missing":
        from or_instrument._money.lookup import mark_pending  # noqa: PLC0415 - see `_recovery`

        steps.append(mark_pending)
    if estimate is not None:
        steps.append(estimate)
    return partial(_in_turn, steps) if len(steps) > 1 else steps[0]


def _in_turn(steps: Sequence[Callable[[Call], Call]], call: Call) -> Call:
    for step in steps:
        call = step(call)
    return call


def _recovery(settings: Settings) -> Recovery | None:
    if settings.lookup != "missing":
        return None
    from or_instrument._money.lookup import recovery  # noqa: PLC0415 - who has nothing looked up need not wait for it

    return recovery


def _capture(settings: Settings, redact: Redact | None) -> BeginCapture | None:
    if settings.content == "no_content":
        return None
    from or_instrument._content.capture import Capture  # noqa: PLC0415 - who captures nothing need not wait for it

    return Capture(settings.content_limit, redact).begin


def _spans(settings: Settings, providers: Providers) -> Enricher | None:
    if settings.spans == "off" or is_sdk_disabled():
        return None
    tracer = providers.tracer(_SCOPE, __version__)
    own = Spans(tracer, settings.cost_aliases, link_broadcast=settings.broadcast == "link", backend=_backend(settings))
    return Enricher(own, always=settings.spans == "enrich")


def _backend(settings: Settings) -> Backend | None:
    if not settings.backend:
        return None
    from or_instrument._telemetry.backends import together  # noqa: PLC0415 - few ask for one

    return together(settings.backend)


def _events(settings: Settings, logger_provider: LoggerProvider | None) -> Events | None:
    if settings.content not in ("event_only", "span_and_event") or is_sdk_disabled():
        return None
    from or_instrument._telemetry.content import open_events  # noqa: PLC0415 - see `_capture`

    spend_names = (names.SPEND, names.SPEND_ALIAS, *settings.cost_aliases)
    return open_events(_SCOPE, __version__, logger_provider, spend_names)
