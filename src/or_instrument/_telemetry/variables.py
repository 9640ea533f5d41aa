"""The variables of OpenTelemetry's SDK: what we read of them, and that it takes no empty one for a set one.

The specification says that an empty variable is an unset one; templates of deployments leave such behind. The SDK for
Python takes an empty endpoint for the endpoint, and an empty timeout for an error.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing-empty-value
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def is_sdk_disabled() -> bool:
    """Return whether nothing is to be made of what is recorded.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
    """
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


@contextmanager
def without_empty_variables() -> Iterator[None]:
    """Hide the `OTEL_*` variables that are empty."""
    empty = {name: value for name, value in os.environ.items() if name.startswith("OTEL_") and not value.strip()}
    for name in empty:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in empty.items():
            os.environ.setdefault(name, value)
