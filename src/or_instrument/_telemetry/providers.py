"""Chooses where telemetry goes: to a provider that was given, else to the application's, else to one of ours.

OpenTelemetry's global providers can be set once only, so ours are never set as such: an application that sets its own
later than our first call must not be refused. Ours are made with the first call that needs them, so that processes
forked before it (gunicorn's workers) each get their own; a child forked later drops what it inherited likewise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, Span, SpanKind, Tracer, TracerProvider

from or_instrument._calls.shield import report, warn_once
from or_instrument._calls.worker import PerKind, PerProcess, new_lock
from or_instrument._errors import ConfigError
from or_instrument._records import Call, Request, Sink
from or_instrument._telemetry.exit import EXIT
from or_instrument._telemetry.shown_accounts import application_meters, stand_in, with_accounts
from or_instrument._telemetry.undelivered import UNDELIVERED

if TYPE_CHECKING:
    from or_instrument._telemetry.exporters import Exporters

OpenSpan: TypeAlias = Callable[[Request, int], Context]
P = TypeVar("P")
T = TypeVar("T")


class Ours(Generic[P]):
    """A provider of ours for `what`, spans or metrics, made when it is first asked for."""

    def __init__(self, what: str, make: Callable[[], P], otherwise: Callable[[], P]) -> None:
        self._what, self._make, self._otherwise = what, make, otherwise
        self._lock = PerKind(new_lock)
        self._ours = PerProcess(self._made_or_not)

    def __call__(self) -> P:
        """Return the provider; where it cannot be made, one that does nothing."""
        with self._lock():
            return self._ours()

    @property
    def made(self) -> P | None:
        """The provider of this process, if there is one yet."""
        return self._ours.made

    def _made_or_not(self) -> P:
        try:
            return self._make()
        except Exception as exc:  # noqa: BLE001 - the shield
            # What the SDK says of a setting; no call has been made with it.
            reason = f"{type(exc).__qualname__}: {exc}"
            warn_once(f"no {self._what} are exported:", f"the exporter cannot be set up ({reason}). Calls go on.")
            return self._otherwise()


class Switch(Generic[P, T]):
    """What is made of the application's provider once it has set one, of ours until then."""

    def __init__(self, application: Callable[[], P | None], ours: Ours[P], make: Callable[[P], T]) -> None:
        self._application, self._ours, self._make = application, ours, make
        self._final: T | None = None
        self._current: tuple[P, T] | None = None

    def __call__(self) -> T:
        """Return it."""
        if self._final is not None:
            return self._final
        theirs = self._application()
        if theirs is not None:
            self._final = self._make(theirs)
            return self._final
        provider = self._ours.made or self._ours()
        current = self._current
        if current is None or current[0] is not provider:
            current = self._current = (provider, self._make(provider))
        return current[1]


class SwitchedTracer(Tracer):
    """A tracer that asks the switch with every span."""

    def __init__(self, switch: Switch[TracerProvider, Tracer]) -> None:
        self._switch = switch

    def start_span(
        self, name: str, context: Context | None = None, kind: SpanKind = SpanKind.INTERNAL, *args: Any, **kwargs: Any
    ) -> Span:
        """Start a span."""
        return self._switch().start_span(name, context, kind, *args, **kwargs)

    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Start a span and make it current inside the returned context manager."""
        return self._switch().start_as_current_span(name, *args, **kwargs)


class Providers:
    """The providers of one `instrument()`."""

    def __init__(
        self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None, exporters: Exporters | None
    ) -> None:
        self._tracer_provider, self._meter_provider = tracer_provider, meter_provider
        self._our_tracers: Ours[TracerProvider] | None = None
        self._our_meters: Ours[MeterProvider] | None = None
        self._switches: list[Callable[[], object]] = []
        if exporters and tracer_provider is None:
            self._our_tracers = Ours("spans", exporters.tracer_provider, NoOpTracerProvider)
        if exporters and meter_provider is None:
            self._our_meters = Ours("metrics", lambda: with_accounts(exporters.meter_provider()), NoOpMeterProvider)
            stand_in(self._our_meters)

    def tracer(self, scope: str, version: str) -> Tracer:
        """Return the tracer of an instrumentation scope."""
        if self._our_tracers is None:
            return trace.get_tracer(scope, version, self._tracer_provider)
        switch = Switch(_application_tracers, self._our_tracers, lambda provider: provider.get_tracer(scope, version))
        self._switches.append(switch)
        return SwitchedTracer(switch)

    def metered(self, make: Callable[[Meter], Sink], scope: str, version: str) -> Sink:
        """Return the sink that `make` makes of the meter of an instrumentation scope."""
        if self._our_meters is None:
            return make(metrics.get_meter(scope, version, self._meter_provider))
        switch = Switch(application_meters, self._our_meters, lambda provider: make(provider.get_meter(scope, version)))
        self._switches.append(switch)

        def switched(call: Call) -> None:
            switch()(call)

        return switched

    def prepared(self, open_span: OpenSpan | None) -> OpenSpan:
        """Return `open_span`, with what may fail done first.

        Our providers are made, since when a call ends it may be too late to start threads; and the end of the process
        is prepared for.
        """

        def opened(request: Request, started_ns: int) -> Context:
            for switch in self._switches:
                switch()
            EXIT.prepare()
            return get_current() if open_span is None else open_span(request, started_ns)

        return opened

    @property
    def has_ours(self) -> bool:
        """Whether providers of ours were made, which nobody else makes export what they hold."""
        return any(ours is not None and ours.made is not None for ours in (self._our_tracers, self._our_meters))

    def in_use(self) -> tuple[object, ...]:
        """Return all providers that something may have been recorded with."""
        providers = (
            self._tracer_provider or trace.get_tracer_provider(),
            self._meter_provider or metrics.get_meter_provider(),
            self._our_tracers.made if self._our_tracers else None,
            self._our_meters.made if self._our_meters else None,
        )
        return tuple(provider for provider in providers if provider is not None)


def check_provider(option: str, provider: object, method: str) -> None:
    """Raise `ConfigError` where what was given is no provider with such a method, or its class; `None` is allowed."""
    if provider is not None and (isinstance(provider, type) or not callable(getattr(provider, method, None))):
        raise ConfigError(
            f"{option}={provider!r} is not allowed; allowed: a provider, with {method}(), or None for the global one"
        )


def flush_within(timeout_s: float, provider: object) -> bool:
    """Have a provider export what it holds; return whether it did so in time."""
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:
        return True
    results: list[bool] = []
    done = threading.Event()

    def flush() -> None:
        try:
            results.append(force_flush(timeout_millis=int(timeout_s * 1000)) is not False)
        except Exception as exc:  # noqa: BLE001 - the shield
            if UNDELIVERED.problem is None:  # else it is that of an exporter of ours, told below
                report(f"flushing the {type(provider).__qualname__}", exc)
        finally:
            done.set()

    # The SDK's own span processor does not keep to the timeout.
    try:
        threading.Thread(target=flush, name="or_instrument-flush", daemon=True).start()
    except RuntimeError:  # at exit Python starts no thread
        flush()
    done.wait(timeout_s)
    if results != [True]:
        UNDELIVERED.tell()
    return results == [True]


def _application_tracers() -> TracerProvider | None:
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider
