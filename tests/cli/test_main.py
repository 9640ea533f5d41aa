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
