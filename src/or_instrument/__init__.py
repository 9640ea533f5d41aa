"""Tells what every OpenRouter call really costs: OpenTelemetry spans and metrics, whichever client makes the call.

Seen are the OpenAI SDK, and what goes through httpx, requests and aiohttp.

import or_instrument
or_instrument.instrument()
"""

from __future__ import annotations

import typing as _typing
from importlib import import_module as _import_module

from or_instrument._calls.scope import attributes
from or_instrument._errors import BudgetExceeded, ConfigError, LookupFailed
from or_instrument._records import Call, Content, Failure, Reply, Request, Usage
from or_instrument._routing_records import Attempt, Routing, Stage
from or_instrument._version import __version__

if _typing.TYPE_CHECKING:
    from or_instrument._instrument import flush, instrument, is_instrumented, uninstrument
    from or_instrument._instrumentor import OpenRouterInstrumentor
    from or_instrument._money.account import (
        afetch_credits,
        afetch_generation,
        afetch_key,
        fetch_credits,
        fetch_generation,
        fetch_key,
    )
    from or_instrument._money.tracker import CostTracker, track
    from or_instrument._openrouter.account_records import Credits, Generation, KeyStatus
    from or_instrument._telemetry.gauges import AccountGauges, observe_account

__all__ = [
    "AccountGauges",
    "Attempt",
    "BudgetExceeded",
    "Call",
    "ConfigError",
    "Content",
    "CostTracker",
    "Credits",
    "Failure",
    "Generation",
    "KeyStatus",
    "LookupFailed",
    "OpenRouterInstrumentor",
    "Reply",
    "Request",
    "Routing",
    "Stage",
    "Usage",
    "__version__",
    "afetch_credits",
    "afetch_generation",
    "afetch_key",
    "attributes",
    "fetch_credits",
    "fetch_generation",
    "fetch_key",
    "flush",
    "instrument",
    "is_instrumented",
    "observe_account",
    "track",
    "uninstrument",
]

_LATER = {
    "AccountGauges": "_telemetry.gauges",
    "CostTracker": "_money.tracker",
    "Credits": "_openrouter.account_records",
    "Generation": "_openrouter.account_records",
    "KeyStatus": "_openrouter.account_records",
    "OpenRouterInstrumentor": "_instrumentor",
    "afetch_credits": "_money.account",
    "afetch_generation": "_money.account",
    "afetch_key": "_money.account",
    "fetch_credits": "_money.account",
    "fetch_generation": "_money.account",
    "fetch_key": "_money.account",
    "flush": "_instrument",
    "instrument": "_instrument",
    "is_instrumented": "_instrument",
    "observe_account": "_telemetry.gauges",
    "track": "_money.tracker",
    "uninstrument": "_instrument",
}
"""Names that are imported when they are first asked for, and from where: what is not used costs nothing at start."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
