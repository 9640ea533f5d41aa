"""Facts about the package as users find it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from importlib import metadata, resources
from pathlib import Path

import pytest
from fresh_install import ROOT

import or_instrument

PUBLIC = {
    *("instrument", "uninstrument", "is_instrumented", "flush", "attributes"),
    *("Call", "Request", "Reply", "Usage", "Failure", "Routing", "Attempt", "Stage"),
    *("ConfigError", "LookupFailed", "BudgetExceeded", "__version__"),
}


def run(code: str) -> str:
    """Run code in a fresh interpreter that takes warnings for errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_all_is_sorted_and_complete() -> None:
    """Every public name is listed once and is there."""
    names = or_instrument.__all__
    assert list(names) == sorted(set(names))
    assert set(names) >= PUBLIC
    assert [name for name in names if not hasattr(or_instrument, name)] == []


def test_what_is_not_listed_is_private() -> None:
    """Nothing is imported by accident; modules of the package apart."""
    listed = {*or_instrument.__all__, "annotations", "testing"}
    visible = {name for name in vars(or_instrument) if not name.startswith("_")}
    assert visible <= listed


def test_the_version_is_that_of_the_distribution() -> None:
    """It stands in one place."""
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", or_instrument.__version__)
    assert metadata.version("or-instrument") == or_instrument.__version__


def test_the_package_is_typed() -> None:
    """Type checkers of users read its annotations."""
    assert resources.files("or_instrument").joinpath("py.typed").is_file()


def test_the_package_needs_four_others_and_no_more() -> None:
    """Everything else is an extra."""
    required = [name for name in metadata.requires("or-instrument") or [] if "extra ==" not in name]
    assert {re.split(r"[<>=~!]", name)[0] for name in required} == {
        *("openai", "wrapt", "opentelemetry-api", "opentelemetry-sdk")
    }


@pytest.mark.parametrize("code", ["import or_instrument", "import or_instrument; or_instrument.instrument()"])
def test_neither_importing_nor_instrumenting_imports_openai(code: str) -> None:
    """A service that never calls it does not pay for it."""
    asked = "[name for name in ('openai', 'httpx', 'httpx2', 'pydantic', 'rich') if name in sys.modules]"
    assert run(f"import sys; {code}; print({asked})") == "[]"


def test_instrumenting_before_the_import_of_openai_takes_effect() -> None:
    """As soon as it is imported."""
    code = "import or_instrument as o; o.instrument(); import openai; print('request' in vars(openai.OpenAI))"
    assert run(code) == "True"


def test_switching_off_before_the_import_of_openai_takes_effect_too() -> None:
    """The waiting hook does nothing then."""
    code = (
        "import or_instrument as o; o.instrument(); o.uninstrument(); import openai; "
        "print('request' in vars(openai.OpenAI), 'request' in vars(openai.AsyncOpenAI))"
    )
    assert run(code) == "False False"


def test_the_licence_is_in_the_metadata() -> None:
    """Tools that look after licences find it, with its text, and who grants it."""
    told = metadata.metadata("or-instrument")
    assert (told["License-Expression"], told["License-File"]) == ("Apache-2.0", "LICENSE")
    assert told["Author"] == "The or_instrument authors"
    (text,) = [file for file in metadata.files("or-instrument") or [] if file.name == "LICENSE"]
    assert text.read_text() == (ROOT / "LICENSE").read_text()


def test_the_source_archive_is_enough_to_work_on_it(tmp_path: Path) -> None:
    """It holds what a packager and a contributor need beside the code."""
    pytest.importorskip("hatchling", reason="the archive is built with hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}

    assert {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "noxfile.py", "pyproject.toml"} <= held
    assert {".ci/run", ".pre-commit-config.yaml", "docs/architecture.md", "tests/conftest.py"} <= held
    assert {"examples/quickstart.py", "benchmarks/work.py", "src/or_instrument/py.typed"} <= held
