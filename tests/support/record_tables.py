"""The tables of docs/reference.md that tell the records field by field, made of the texts in the source.

Run it as a program after a change of these texts: it writes the tables anew.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import or_instrument
from or_instrument._field_docs import field_docs

REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference.md"
RECORDS: Final[tuple[Any, ...]] = (
    or_instrument.Call,
    or_instrument.Request,
    or_instrument.Reply,
    or_instrument.Usage,
    or_instrument.Failure,
    or_instrument.Routing,
    or_instrument.Attempt,
    or_instrument.Stage,
    or_instrument.Content,
    or_instrument.Generation,
    or_instrument.KeyStatus,
    or_instrument.Credits,
)
_BEGIN, _END = "<!-- records -->\n", "<!-- end of records -->\n"


def tables() -> str:
    """Return the tables of all records."""
    return "".join(_table(record) for record in RECORDS)


def written() -> str:
    """Return the tables as they stand in the documentation."""
    return REFERENCE.read_text("utf-8").partition(_BEGIN)[2].partition(f"\n{_END}")[0]


def _table(record: Any) -> str:
    head = (
        f"\n### `{record.__name__}`\n\n{_flat(inspect.getdoc(record))}\n\n| field | type | meaning |\n|---|---|---|\n"
    )
    return head + "".join(
        f"| `{name}` | `{_cell(kind)}` | {_cell(_flat(text))} |\n" for name, kind, text in _rows(record)
    )


def _rows(record: Any) -> Iterator[tuple[str, str, str | None]]:
    texts = field_docs(record)
    for name in record._fields:
        yield name, record.__annotations__[name].__forward_arg__, texts.get(name)
    for name, value in vars(record).items():
        if isinstance(value, property):
            yield name, value.fget.__annotations__["return"], inspect.getdoc(value)


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _main() -> None:
    before, begin, rest = REFERENCE.read_text("utf-8").partition(_BEGIN)
    if not begin:
        sys.exit(f"{REFERENCE} has no line {_BEGIN.strip()}")
    REFERENCE.write_text(f"{before}{begin}{tables()}\n{_END}{rest.partition(_END)[2]}", "utf-8")


if __name__ == "__main__":
    _main()
