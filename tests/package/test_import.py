"""What `import or_instrument` brings, and what only its use does."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_install import ROOT

import or_instrument

HEAVY = ("openai", "opentelemetry", "wrapt", "logging", "threading")
FAKE = sorted((ROOT / "src" / "or_instrument" / "testing").glob("*.py"))


def test_every_public_name_is_there_and_listed() -> None:
    """A name that is imported later is had and seen like any other."""
    assert all(getattr(or_instrument, name) is not None for name in or_instrument.__all__)
    assert set(or_instrument.__all__) <= set(dir(or_instrument))


def test_a_name_that_there_is_not() -> None:
    """A misspelt name is the usual error."""
    with pytest.raises(AttributeError, match="'or_instrument' has no attribute 'instrumnet'"):
        _ = or_instrument.instrumnet  # type: ignore[attr-defined]


def test_the_import_is_light() -> None:
    """Neither the SDKs nor wrapt nor what is slow of the standard library are imported before they are needed."""
    code = f"import sys, or_instrument; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_switching_on_imports_no_openai() -> None:
    """The SDK is patched when the application imports it."""
    code = "import sys, or_instrument; or_instrument.instrument(); print('openai' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"


def test_what_sees_calls_is_imported_with_the_first_client() -> None:
    """A process that is switched on and imports none of the clients need not wait for it."""
    seen = "[name for name in sys.modules if name.startswith('or_instrument._clients.openai')]"
    code = f"import sys, or_instrument; or_instrument.instrument(); print({seen}); import httpx; print(bool({seen}))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["[]", "True"]


@pytest.mark.parametrize("file", FAKE, ids=lambda file: file.stem)
def test_the_fake_stands_alone(file: Path) -> None:
    """It imports its own parts and the standard library, nothing else of ours."""
    assert set(_foreign(file)) == set()


def test_the_hook_imports_one_thing() -> None:
    """What runs at interpreter start, which is no part of the package, imports of it what switches recording on."""
    assert set(_foreign(ROOT / "src" / "_or_instrument_startup.py")) == {"or_instrument._instrument"}


def _foreign(file: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it, beside its neighbours and the standard library."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level != 1:
            names = ["." * node.level + (node.module or "")]
        else:
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)
