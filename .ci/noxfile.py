"""The matrix: SDK versions with their HTTP libraries, Python versions, and the frameworks that sit on the SDK.

nox -f .ci/noxfile.py --list
"""

from __future__ import annotations

from pathlib import Path

import nox

ROOT = Path(__file__).parent.parent
CORE_TESTS = (
    "tests/test_sdk_contract.py",
    "tests/test_recorded.py",
    "tests/test_shapes.py",
    "tests/test_endings.py",
    "tests/test_aendings.py",
    "tests/test_errors_over_http.py",
    "tests/test_patch.py",
)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# httpx 0.28 dropped an argument that these versions of the SDK still pass.
SDKS = {
    "1.40.0": ("httpx<0.28",),
    "1.66.0": (),
    "1.99.9": (),
    "2.0.0": (),
    "2.54.0": (),
    "3.0.0": (),
    "newest": (),
}
OLDEST = ("opentelemetry-api==1.30.0", "opentelemetry-sdk==1.30.0", "wrapt==1.17.0")

_BASE = ("pytest>=9", "anyio", "hypothesis", "trio")
_PROJECT = nox.project.load_toml(str(ROOT / "pyproject.toml"))

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True


def _install(session: nox.Session, *packages: str) -> None:
    session.chdir(ROOT)
    session.install(".", *packages)


def _sdk(version: str) -> tuple[str, ...]:
    return ("openai<4",) if version == "newest" else (f"openai=={version}", *SDKS[version])


@nox.session(python=PYTHONS)
@nox.parametrize("openai", list(SDKS))
def sdk(session: nox.Session, openai: str) -> None:
    """Every supported SDK on every supported Python: the shapes, endings and errors of calls."""
    _install(session, *_sdk(openai), *_BASE)
    session.run("pytest", "-q", *CORE_TESTS, *session.posargs)


@nox.session(python="3.12")
def frameworks(session: nox.Session) -> None:
    """The frameworks that sit on the SDK, driven for real."""
    _install(session, *_BASE, *nox.project.dependency_groups(_PROJECT, "frameworks"))
    session.run("pytest", "-q", "tests/test_frameworks.py", *session.posargs)


@nox.session(python="3.13")
def coexist(session: nox.Session) -> None:
    """Other instrumentations of the same SDK, installed for real, in both orders."""
    _install(session, *_BASE, *nox.project.dependency_groups(_PROJECT, "coexist"))
    session.run("pytest", "-q", "tests/test_coexist.py", *session.posargs)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """The oldest of everything that is supported, together."""
    _install(session, *_sdk("1.40.0"), *OLDEST, *_BASE)
    session.run("pytest", "-q", *CORE_TESTS, *session.posargs)
