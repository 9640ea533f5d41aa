"""Reads the options once: a keyword wins over its environment variable, which wins over the default.

A wrong keyword raises `ConfigError`; a wrong variable is one warning and the default, since telemetry never stops a
service from starting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from or_instrument._errors import ConfigError
from or_instrument._records import Sink

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
    metric_attributes: tuple[str, ...] = ()
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


def _hosts(value: object) -> tuple[str, ...]:
    hosts = _names(value)
    if not hosts or any(mark in host for host in hosts for mark in "/:@ "):
        raise ValueError
    return hosts


_SWITCH_WORDS: Final = "true or false"
_OPTIONS: Final[Mapping[str, _Option]] = {
    "hosts": _Option(
        "OR_INSTRUMENT_HOSTS",
        _hosts,
        "host names without scheme, port or path (a list, or separated by commas), or *",
    ),
    "inject_usage": _Option("OR_INSTRUMENT_INJECT_USAGE", _switch, _SWITCH_WORDS),
    "spans": _Option("OR_INSTRUMENT_SPANS", _one_of("own", "off"), "own or off"),
    "metrics": _Option("OR_INSTRUMENT_METRICS", _switch, _SWITCH_WORDS),
    "metric_attributes": _Option(
        "OR_INSTRUMENT_METRIC_ATTRIBUTES", _names, "keys of attributes(...), a list or separated by commas"
    ),
    "cost_aliases": _Option(
        "OR_INSTRUMENT_COST_ALIASES", _names, "span attribute names, a list or separated by commas"
    ),
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


def _from_keyword(name: str, option: _Option, keyword: object) -> object:
    try:
        return option.parse(keyword)
    except ValueError:
        raise ConfigError(f"{name}={keyword!r} is not allowed; allowed: {option.allowed}") from None


def _add_from_variable(values: dict[str, object], name: str, option: _Option, text: str) -> None:
    try:
        values[name] = option.parse(text)
    except ValueError:
        _warn_of_variable(option.variable, text, option.allowed, "the default is used")


def _warn_of_variable(variable: str, text: str, allowed: str, instead: str) -> None:
    _log.warning("%s=%r is not allowed (allowed: %s); %s", variable, text, allowed, instead)
