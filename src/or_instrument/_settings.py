"""Reads the options once: a keyword wins over its environment variable, which wins over the default.

A wrong keyword raises `ConfigError`; a wrong variable is one warning and the default, since telemetry never stops a
service from starting.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from or_instrument._clients.registry import CLIENTS
from or_instrument._errors import ConfigError
from or_instrument._options import ENABLED, OPTIONS, SWITCH_WORDS, Option, PartlyRefusedError, switch

_log = logging.getLogger("or_instrument")


class Settings(NamedTuple):
    """The options of `instrument()`, resolved."""

    hosts: tuple[str, ...] = ("openrouter.ai",)
    inject_usage: bool = True
    spans: str = "own"
    metrics: bool = True
    router_metadata: bool = False
    content: str = "no_content"
    content_limit: int = 60_000
    metric_attributes: tuple[str, ...] = ()
    metric_values_limit: int = 100
    exporter: str = "none"
    lookup: str = "off"
    broadcast: str = "off"
    backend: tuple[str, ...] = ()
    estimate: bool = False
    ledger: str | None = None
    cost_aliases: tuple[str, ...] = ()
    clients: tuple[str, ...] = CLIENTS


def resolve(keywords: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Return the settings that keywords (`None`: not given) and environment add up to.

    Raises `ConfigError` for a keyword value that is not allowed.
    """
    values: dict[str, object] = {}
    for name, option in OPTIONS.items():
        keyword = keywords.get(name)
        if keyword is not None:
            values[name] = _from_keyword(name, option, keyword)
        elif environ.get(option.variable, "").strip():
            _add_from_variable(values, name, option, environ[option.variable])
    return Settings(**values)  # type: ignore[arg-type]


def explain(environ: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return, for every variable of ours, what it is set to and, where that is not allowed, what is."""
    told: dict[str, tuple[str | None, str | None]] = {}
    for option in (Option(ENABLED, switch, SWITCH_WORDS), *OPTIONS.values()):
        text = environ.get(option.variable, "").strip() or None
        told[option.variable] = (text, _refusal(option, text) if text else None)
    return told


def refuse_unknown(unknown: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise `ConfigError` where an option is given that there is not."""
    if unknown:
        name, value = next(iter(unknown.items()))
        raise ConfigError(f"there is no option {name} (given: {value!r}); allowed: {', '.join(sorted(known))}")


def enabled(environ: Mapping[str, str]) -> bool | None:
    """Return what the master switch says, `None` where it says nothing that can be understood."""
    value = environ.get(ENABLED, "").strip()
    if not value:
        return None
    try:
        return switch(value)
    except ValueError:
        _warn_of_variable(ENABLED, value, SWITCH_WORDS, "ignored")
        return None


def _refusal(option: Option, text: str) -> str | None:
    try:
        option.parse(text)
    except PartlyRefusedError as exc:
        return exc.allowed
    except ValueError:
        return option.allowed
    return None


def _from_keyword(name: str, option: Option, keyword: object) -> object:
    try:
        return option.parse(keyword)
    except ValueError:
        raise ConfigError(f"{name}={keyword!r} is not allowed; allowed: {option.allowed}") from None


def _add_from_variable(values: dict[str, object], name: str, option: Option, text: str) -> None:
    try:
        values[name] = option.parse(text)
    except PartlyRefusedError as exc:
        values[name] = exc.others
        _warn_of_variable(option.variable, text, exc.allowed, "the others are used")
    except ValueError:
        _warn_of_variable(option.variable, text, option.allowed, "the default is used")


def _warn_of_variable(variable: str, text: str, allowed: str, instead: str) -> None:
    _log.warning("%s=%r is not allowed (allowed: %s); %s", variable, text, allowed, instead)
