"""Asks for packages that a test can do without."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def need(package: str) -> None:
    """Skip the test where a package is not installed. Imports nothing: eventlet warns of every fork from then on."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
