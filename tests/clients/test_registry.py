"""The seams of one `instrument()` together: made with the first library, each put on its own, all taken off."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from or_instrument._clients import registry
from or_instrument._clients.patch import Seam
from or_instrument._clients.registry import Library, Seams


class Wrapped(Seam):
    """A seam that notes what it is put on."""

    def __init__(self) -> None:
        super().__init__(observer=object())  # type: ignore[arg-type]
        self.libraries: list[ModuleType] = []

    def _wrap(self, library: ModuleType) -> None:
        self.libraries.append(library)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a library that is the only one, imported when a test says so."""
    module = ModuleType("a_client")
    monkeypatch.setattr(registry, "_LIBRARIES", (Library("word", "a_client"),))
    return module


def test_seams_are_made_when_a_library_is_there(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is, nothing is; a second library gets the same."""
    made: list[Wrapped] = []

    def make() -> Mapping[str, Seam]:
        made.append(Wrapped())
        return {"word": made[-1]}

    Seams(make).install()
    assert not made
    monkeypatch.setitem(sys.modules, "a_client", library)
    monkeypatch.setattr(registry, "_LIBRARIES", (Library("word", "a_client"),) * 2)
    Seams(make).install()
    (seam,) = made
    assert seam.libraries == [library, library]


def test_a_client_that_is_not_asked_for_is_left_alone(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library is imported, and no seam is its own."""
    other = Wrapped()
    monkeypatch.setitem(sys.modules, "a_client", library)
    Seams(lambda: {"another": other}).install()
    assert not other.libraries


def test_after_the_end_nothing_is_made(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is imported after `uninstrument()` stays as it is."""
    seams = Seams(lambda: pytest.fail("was made"))
    seams.remove()
    monkeypatch.setitem(sys.modules, "a_client", library)
    seams.install()
    assert seams.lost() == []


def test_what_is_taken_off_while_it_is_made_stays_off(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may do so in the middle of an import."""
    seam = Wrapped()

    def make() -> Mapping[str, Seam]:
        seams.remove()
        return {"word": seam}

    seams = Seams(make)
    monkeypatch.setitem(sys.modules, "a_client", library)
    seams.install()
    assert seam._observer is None


def test_an_import_goes_on_where_we_fail(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is that we cannot do, it is one line; what waits for a library runs inside its import."""

    def fail() -> Any:
        raise OSError("secret")

    monkeypatch.setitem(sys.modules, "a_client", library)
    seams = Seams(fail)
    seams.install()
    assert "patching a_client failed with OSError" in caplog.text
    assert "secret" not in caplog.text
    seams.remove()


def test_two_threads_that_import_at_once_share_the_seams(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both may have made them; all wrappers are those of the first, so that all can be taken off."""
    both, made = threading.Barrier(2), list[Wrapped]()

    def make() -> Mapping[str, Seam]:
        both.wait(30)
        made.append(Wrapped())
        return {"word": made[-1]}

    monkeypatch.setitem(sys.modules, "a_client", library)
    seams = Seams(make)
    threads = [threading.Thread(target=seams.install) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 2
    assert sorted(len(seam.libraries) for seam in made) == [0, 2]
