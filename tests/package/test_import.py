"""What `import or_instrument` brings, and what only its use does."""

from __future__ import annotations

import subprocess
import sys

import pytest

import or_instrument

HEAVY = ("openai", "opentelemetry", "wrapt")


def test_every_public_name_is_there_and_listed() -> None:
    """A name that is imported later is had and seen like any other."""
    assert all(getattr(or_instrument, name) is not None for name in or_instrument.__all__)
    assert set(or_instrument.__all__) <= set(dir(or_instrument))


def test_a_name_that_there_is_not() -> None:
    """A misspelt name is the usual error."""
    with pytest.raises(AttributeError, match="'or_instrument' has no attribute 'instrumnet'"):
        _ = or_instrument.instrumnet  # type: ignore[attr-defined]


def test_the_import_is_light() -> None:
    """Neither the SDKs nor wrapt are imported before they are needed."""
    code = f"import sys, or_instrument; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_switching_on_imports_no_openai() -> None:
    """The SDK is patched when the application imports it."""
    code = "import sys, or_instrument; or_instrument.instrument(); print('openai' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"
