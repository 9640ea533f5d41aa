"""Tells what every OpenRouter call really costs: OpenTelemetry spans and metrics for the OpenAI Python SDK.

import or_instrument
or_instrument.instrument()
"""

from __future__ import annotations

from or_instrument._errors import BudgetExceeded, ConfigError, LookupFailed
from or_instrument._instrument import flush, instrument, is_instrumented, uninstrument
from or_instrument._records import Call, Failure, Reply, Request, Usage
from or_instrument._scope import attributes
from or_instrument._version import __version__

__all__ = [
    "BudgetExceeded",
    "Call",
    "ConfigError",
    "Failure",
    "LookupFailed",
    "Reply",
    "Request",
    "Usage",
    "__version__",
    "attributes",
    "flush",
    "instrument",
    "is_instrumented",
    "uninstrument",
]
