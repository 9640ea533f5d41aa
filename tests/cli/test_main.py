"""What every command does where that which it prints cannot be taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from filled_ledger import call, fill

FORMATS = ("table", "json", "csv", "focus")


def printed_to(output: int | IO[bytes], *args: str | Path, **environ: str) -> tuple[int, str]:
    """Return the exit code of `or-instrument cost`, and what it says besides."""
    command = [sys.executable, "-m", "or_instrument", "cost", *map(str, args)]
    ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, env={**os.environ, **environ}, check=False)
    return ended.returncode, ended.stderr.decode()


@pytest.mark.parametrize("form", FORMATS)
def test_a_reader_that_has_gone_is_nobody_s_fault(form: str, book: Path) -> None:
    """Neither the ledger is blamed for it nor a traceback shown, as where `head` has seen enough."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, said = printed_to(writer, "--ledger", book, "--format", form)
    finally:
        os.close(writer)
    assert code != 0
    assert "Traceback" not in said
    assert "pipe" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_told_as_what_it_is(form: str, book: Path) -> None:
    """Of what is printed, and not of the ledger."""
    with Path("/dev/full").open("wb") as full:
        assert printed_to(full, "--ledger", book, "--format", form) == (
            2,
            "or-instrument cost: [Errno 28] No space left on device\n",
        )


def test_a_name_that_a_terminal_cannot_show_ends_no_command(tmp_path: Path) -> None:
    """The rest of the table is worth more than one letter."""
    book = fill(tmp_path / "costs.db", [call(1, 0.1, tenant="S\u00e3o Paulo \u2603")])
    args = ("--ledger", book, "--by", "tenant")
    assert printed_to(subprocess.DEVNULL, *args, PYTHONIOENCODING="ascii") == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="closes it by a shell")
def test_output_that_is_closed_is_no_failure(book: Path) -> None:
    """A job that nobody wants to hear of has pruned its ledger, and says so by its exit code."""
    pruned = [sys.executable, "-m", "or_instrument", "ledger", "prune", "--keep", "90d", "--ledger", book]
    ended = subprocess.run(["/bin/sh", "-c", '"$@" >&-', "sh", *pruned], stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_what_was_printed_before_an_error_is_kept() -> None:
    """An error that is none of the output's let go of it all the same."""
    code = """
from or_instrument._cli import main
def run(args):
    print("printed before")
    raise ConnectionResetError(104, "reset")
main._COMMANDS = {"demo": main._COMMANDS["demo"]._replace(run=run)}
print(main.main(["demo"]))
"""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert (ended.stdout, ended.stderr) == ("printed before\n2\n", "or-instrument demo: [Errno 104] reset\n")
