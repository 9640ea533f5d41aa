"""Keeps the SDK from taking an empty variable for a set one.

The specification says that an empty variable is an unset one; templates of deployments leave such behind. The SDK for
Python takes an empty endpoint for the endpoint, and an empty timeout for an error.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing-empty-value
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
