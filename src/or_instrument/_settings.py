"""Reads the options once: a keyword wins over its environment variable, which wins over the default.

A wrong keyword raises `ConfigError`; a wrong variable is one warning and the default, since telemetry never stops a
service from starting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from or_instrument._content.text import Redact
from or_instrument._errors import ConfigError
from or_instrument._records import Sink
from or_instrument._telemetry.backends import BACKENDS, NO_NUMBER

_log = logging.getLogger("or_instrument")
T = TypeVar("T")

ENABLED: Final = "OR_INSTRUMENT_ENABLED"
_TRUE: Final = frozenset(("true", "1", "yes", "on"))
_FALSE: Final = frozenset(("false", "0", "no", "off"))


class Settings(NamedTuple):
    """The options of `instrument()`, resolved."""

    hosts: tuple[str, ...] = ("openrouter.ai",)
    inject_usage: bool = True
    spans: str = "own"
    metrics: bool = True
    content: str = "no_content"
    content_limit: int = 60_000
    metric_attributes: tuple[str, ...] = ()
    metric_values_limit: int = 100
    exporter: str = "none"
    lookup: str = "off"
    broadcast: str = "off"
    backend: tuple[str, ...] = ()
    estimate: bool = False
    cost_aliases: tuple[str, ...] = ()


class _Option(NamedTuple):
    variable: str
    parse: Callable[[object], object]
    allowed: str


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError
        return word

    return parse


def _names(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise ValueError
    return tuple(dict.fromkeys(name.strip() for name in listed if name.strip()))


def _backends(value: object) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.lower() for name in _names(value)))
    if not BACKENDS.keys() >= set(names):
        raise ValueError
    return names


class _PartlyRefusedError(ValueError):
    """Some names of a list are not allowed; the others stand."""

    def __init__(self, others: tuple[str, ...], allowed: str) -> None:
        super().__init__(allowed)
        self.others = others
        self.allowed = allowed


def _aliases(value: object) -> tuple[str, ...]:
    names = _names(value)
    others = tuple(name for name in names if name not in NO_NUMBER)
    if names != others:
        instead = (f"{name} is a text, for it set {_BACKEND}={NO_NUMBER[name]}" for name in names if name in NO_NUMBER)
        raise _PartlyRefusedError(others, "; ".join((_ALIASES_ALLOWED, *instead)))
    return names


def _content_limit(value: object) -> int:
    limit = int(value) if isinstance(value, str) else value
    if type(limit) is not int or limit < _SMALLEST_CONTENT_LIMIT:
        raise ValueError
    return limit


def _count(value: object) -> int:
    if isinstance(value, (str, int)) and not isinstance(value, bool) and int(value) > 0:
        return int(value)
    raise ValueError


def _hosts(value: object) -> tuple[str, ...]:
    hosts = _names(value)
    if not hosts or any(mark in host for host in hosts if host != "*" for mark in "/:@ *"):
        raise ValueError
    return hosts


_SWITCH_WORDS: Final = "true or false"
_BACKEND: Final = "OR_INSTRUMENT_BACKEND"
_ALIASES_ALLOWED: Final = "names of span attributes that hold a number, a list or separated by commas"
_SMALLEST_CONTENT_LIMIT: Final = 256
_OPTIONS: Final[Mapping[str, _Option]] = {
    "hosts": _Option(
        "OR_INSTRUMENT_HOSTS",
        _hosts,
        "host names without scheme, port or path (a list, or separated by commas), or *",
    ),
    "inject_usage": _Option("OR_INSTRUMENT_INJECT_USAGE", _switch, _SWITCH_WORDS),
    "spans": _Option("OR_INSTRUMENT_SPANS", _one_of("own", "enrich", "off"), "own, enrich or off"),
    "metrics": _Option("OR_INSTRUMENT_METRICS", _switch, _SWITCH_WORDS),
    "content": _Option(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        _one_of("no_content", "span_only", "event_only", "span_and_event"),
        "NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT",
    ),
    "content_limit": _Option(
        "OR_INSTRUMENT_CONTENT_LIMIT",
        _content_limit,
        f"a whole number of characters, at least {_SMALLEST_CONTENT_LIMIT}",
    ),
    "metric_attributes": _Option(
        "OR_INSTRUMENT_METRIC_ATTRIBUTES", _names, "keys of attributes(...), a list or separated by commas"
    ),
    "metric_values_limit": _Option("OR_INSTRUMENT_METRIC_VALUES_LIMIT", _count, "a whole number, at least 1"),
    "exporter": _Option("OR_INSTRUMENT_EXPORTER", _one_of("none", "otlp", "console"), "none, otlp or console"),
    "lookup": _Option("OR_INSTRUMENT_LOOKUP", _one_of("off", "missing"), "off or missing"),
    "broadcast": _Option("OR_INSTRUMENT_BROADCAST", _one_of("off", "link", "propagate"), "off, link or propagate"),
    "backend": _Option(_BACKEND, _backends, f"one or more of {', '.join(BACKENDS)}, a list or separated by commas"),
    "estimate": _Option("OR_INSTRUMENT_ESTIMATE", _switch, _SWITCH_WORDS),
    "cost_aliases": _Option("OR_INSTRUMENT_COST_ALIASES", _aliases, _ALIASES_ALLOWED),
}


def resolve(keywords: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Return the settings that keywords (`None`: not given) and environment add up to.

    Raises `ConfigError` for a keyword value that is not allowed.
    """
    values: dict[str, object] = {}
    for name, option in _OPTIONS.items():
        keyword = keywords.get(name)
        if keyword is not None:
            values[name] = _from_keyword(name, option, keyword)
        elif environ.get(option.variable, "").strip():
            _add_from_variable(values, name, option, environ[option.variable])
    return Settings(**values)  # type: ignore[arg-type]


def explain(environ: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return, for every variable of ours, what it is set to and, where that is not allowed, what is."""
    told: dict[str, tuple[str | None, str | None]] = {}
    switch = _Option(ENABLED, _switch, _SWITCH_WORDS)
    for option in (switch, *_OPTIONS.values()):
        text = environ.get(option.variable, "").strip() or None
        told[option.variable] = (text, _refusal(option, text) if text else None)
    return told


def refuse_unknown(unknown: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise `ConfigError` where an option is given that there is not."""
    if unknown:
        name, value = next(iter(unknown.items()))
        raise ConfigError(f"there is no option {name} (given: {value!r}); allowed: {', '.join(sorted(known))}")


def checked_sinks(sinks: object) -> tuple[Sink, ...]:
    """Return the sinks as a tuple. Raises `ConfigError` where one cannot be called."""
    listed = tuple(sinks) if isinstance(sinks, Iterable) else (sinks,)
    for sink in listed:
        if not callable(sink):
            raise ConfigError(f"sinks has {sink!r}; allowed: a list of callables that take one Call")
    return listed


def checked_redact(redact: object) -> Redact | None:
    """Return the redact function. Raises `ConfigError` where it cannot be called."""
    if redact is not None and not callable(redact):
        raise ConfigError(f"redact={redact!r} is not allowed; allowed: a callable from a text to a text or None")
    return redact


def enabled(environ: Mapping[str, str]) -> bool | None:
    """Return what the master switch says, `None` where it says nothing that can be understood."""
    value = environ.get(ENABLED, "").strip()
    if not value:
        return None
    try:
        return _switch(value)
    except ValueError:
        _warn_of_variable(ENABLED, value, _SWITCH_WORDS, "ignored")
        return None


def _refusal(option: _Option, text: str) -> str | None:
    try:
        option.parse(text)
    except _PartlyRefusedError as exc:
        return exc.allowed
    except ValueError:
        return option.allowed
    return None


def _from_keyword(name: str, option: _Option, keyword: object) -> object:
    try:
        return option.parse(keyword)
    except ValueError:
        raise ConfigError(f"{name}={keyword!r} is not allowed; allowed: {option.allowed}") from None


def _add_from_variable(values: dict[str, object], name: str, option: _Option, text: str) -> None:
    try:
        values[name] = option.parse(text)
    except _PartlyRefusedError as exc:
        values[name] = exc.others
        _warn_of_variable(option.variable, text, exc.allowed, "the others are used")
    except ValueError:
        _warn_of_variable(option.variable, text, option.allowed, "the default is used")


def _warn_of_variable(variable: str, text: str, allowed: str, instead: str) -> None:
    _log.warning("%s=%r is not allowed (allowed: %s); %s", variable, text, allowed, instead)
