"""Commands, run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from or_instrument._cli import main


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    """Run `or-instrument cost`; return its exit code and what it printed."""
    code = main.main(["cost", *map(str, args)])
    told = capsys.readouterr()
    return code, told.out, told.err
