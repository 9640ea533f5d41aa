"""What options there are: the variable of each, how a value is read, and what is allowed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from or_instrument._calls.own_names import is_ours
from or_instrument._clients.registry import CLIENTS
from or_instrument._telemetry.backends import BACKENDS, NO_SPEND, READ_OTHERWISE
from or_instrument._telemetry.names import LABELS_OF_OURS, is_taken

ENABLED: Final = "OR_INSTRUMENT_ENABLED"
_TRUE: Final = frozenset(("true", "1", "yes", "on"))
_FALSE: Final = frozenset(("false", "0", "no", "off"))

BroadcastWord: TypeAlias = Literal["off", "link", "propagate"]
ContentWord: TypeAlias = Literal[
    "NO_CONTENT",
    "SPAN_ONLY",
    "EVENT_ONLY",
    "SPAN_AND_EVENT",
    "no_content",
    "span_only",
    "event_only",
    "span_and_event",
]
ExporterWord: TypeAlias = Literal["none", "otlp", "console"]
LookupWord: TypeAlias = Literal["off", "missing"]
SpansWord: TypeAlias = Literal["own", "enrich", "off"]


class Option(NamedTuple):
    """One option, as a keyword or its variable gives it."""

    variable: str
    parse: Callable[[object], object]
    """Takes what was given, returns the setting; raises `ValueError` for what is not allowed."""
    allowed: str
    """What is allowed, in words."""


class PartlyRefusedError(ValueError):
    """Some names of a list are not allowed; the others stand."""

    def __init__(self, others: tuple[str, ...], allowed: str) -> None:
        super().__init__(allowed)
        self.others = others
        self.allowed = allowed


def switch(value: object) -> bool:
    """Return whether a switch is on. Raises `ValueError` for what says neither."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _one_of(variable: str, words: Any) -> Option:
    """Return the option that is one word of a `Literal`, in either case; told in the spelling that stands first."""
    told: dict[str, str] = {}
    for word in get_args(words):
        told.setdefault(word.lower(), word)
    *first, last = told.values()

    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in told:
            raise ValueError
        return word

    return Option(variable, parse, f"{', '.join(first)} or {last}")


def _names(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise ValueError
    return tuple(dict.fromkeys(name.strip() for name in listed if name.strip()))


def _metric_attributes(value: object) -> tuple[str, ...]:
    keys = _names(value)
    others = tuple(key for key in keys if key in LABELS_OF_OURS or not is_ours(key))
    if keys != others:
        raise PartlyRefusedError(others, _KEYS_ALLOWED)
    return keys


def _backends(value: object) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.lower() for name in _names(value)))
    if not BACKENDS.keys() >= set(names):
        raise ValueError
    return names


def _aliases(value: object) -> tuple[str, ...]:
    names = _names(value)
    refused = {name: why for name in names if (why := _why_no_alias(name))}
    if refused:
        others = tuple(name for name in names if name not in refused)
        told = (f"{name} {why}" for name, why in refused.items())
        raise PartlyRefusedError(others, "; ".join((_ALIASES_ALLOWED, *told)))
    return names


def _why_no_alias(name: str) -> str | None:
    if name in NO_SPEND:
        return f"is no number of USD, for it set {_BACKEND}={NO_SPEND[name]}"
    if is_taken(name):
        return "is ours and tells something else"
    readers = [
        who for read, who in READ_OTHERWISE.items() if name == read or (read.endswith(".") and name.startswith(read))
    ]
    return f"is read as something else by {readers[0]}" if readers else None


def _whole(value: object, *, smallest: int) -> int:
    if isinstance(value, (str, int)) and not isinstance(value, bool) and int(value) >= smallest:
        return int(value)
    raise ValueError


def _hosts(value: object) -> tuple[str, ...]:
    hosts = _names(value)
    if not hosts or any(mark in host for host in hosts if host != "*" for mark in "/:@ *"):
        raise ValueError
    return hosts


def _clients(value: object) -> tuple[str, ...]:
    words = {word.lower() for word in _names(value)}
    if not words or not words <= {_ALL, *CLIENTS}:
        raise ValueError
    return tuple(word for word in CLIENTS if word in words or _ALL in words)


def _file(value: object) -> str:
    path = os.fsdecode(value) if isinstance(value, (str, os.PathLike)) else ""
    # SQLite's own words for what is no file, or is named by a URL, are none of a file: `cost` would look elsewhere.
    if not path.strip() or "\0" in path or path.startswith((":memory:", "file:")):
        raise ValueError
    try:
        # Resolved once: a process that changes its directory goes on writing into the same file.
        resolved = str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError) as exc:  # no such user's home; links in a circle
        raise ValueError from exc
    if os.path.exists(resolved) and not os.path.isfile(resolved):  # noqa: PTH110, PTH113 - they raise nothing
        raise ValueError
    return resolved


_KEYS_ALLOWED: Final = (
    f"keys of attributes(...), a list or separated by commas; of our own names only {', '.join(LABELS_OF_OURS)}"
)
_ALL: Final = "all"
SWITCH_WORDS: Final = "true or false"
_BACKEND: Final = "OR_INSTRUMENT_BACKEND"
_ALIASES_ALLOWED: Final = "names of span attributes that hold a number, a list or separated by commas"
_SMALLEST_CONTENT_LIMIT: Final = 256
OPTIONS: Final[Mapping[str, Option]] = {
    "hosts": Option(
        "OR_INSTRUMENT_HOSTS",
        _hosts,
        "host names without scheme, port or path (a list, or separated by commas), or *",
    ),
    "clients": Option(
        "OR_INSTRUMENT_CLIENTS",
        _clients,
        f"{_ALL}, or one or more of {', '.join(CLIENTS)}, a list or separated by commas",
    ),
    "inject_usage": Option("OR_INSTRUMENT_INJECT_USAGE", switch, SWITCH_WORDS),
    "spans": _one_of("OR_INSTRUMENT_SPANS", SpansWord),
    "metrics": Option("OR_INSTRUMENT_METRICS", switch, SWITCH_WORDS),
    "router_metadata": Option("OR_INSTRUMENT_ROUTER_METADATA", switch, SWITCH_WORDS),
    "content": _one_of("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", ContentWord),
    "content_limit": Option(
        "OR_INSTRUMENT_CONTENT_LIMIT",
        partial(_whole, smallest=_SMALLEST_CONTENT_LIMIT),
        f"a whole number of characters, at least {_SMALLEST_CONTENT_LIMIT}",
    ),
    "metric_attributes": Option("OR_INSTRUMENT_METRIC_ATTRIBUTES", _metric_attributes, _KEYS_ALLOWED),
    "metric_values_limit": Option(
        "OR_INSTRUMENT_METRIC_VALUES_LIMIT", partial(_whole, smallest=1), "a whole number, at least 1"
    ),
    "exporter": _one_of("OR_INSTRUMENT_EXPORTER", ExporterWord),
    "lookup": _one_of("OR_INSTRUMENT_LOOKUP", LookupWord),
    "broadcast": _one_of("OR_INSTRUMENT_BROADCAST", BroadcastWord),
    "backend": Option(_BACKEND, _backends, f"one or more of {', '.join(BACKENDS)}, a list or separated by commas"),
    "estimate": Option("OR_INSTRUMENT_ESTIMATE", switch, SWITCH_WORDS),
    "ledger": Option("OR_INSTRUMENT_LEDGER", _file, "the path of a regular file, which is made where there is none"),
    "cost_aliases": Option("OR_INSTRUMENT_COST_ALIASES", _aliases, _ALIASES_ALLOWED),
}
