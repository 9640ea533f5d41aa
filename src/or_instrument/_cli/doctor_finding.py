"""What `or-instrument doctor` says: one finding for each thing that it has looked at."""

from __future__ import annotations

from importlib import metadata
from typing import Final, NamedTuple

OK: Final = "ok"
NOTE: Final = "note"
PROBLEM: Final = "problem"


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: str
    """`ok`, `note` (works, but perhaps not as meant) or `problem` (something is not recorded)."""
    subject: str
    found: str
    remedy: str = ""


def version_of(package: str) -> str | None:
    """Return the version of an installed package, `None` where it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
