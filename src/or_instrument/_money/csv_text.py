"""Texts in CSV: a spreadsheet takes one that begins like a formula for one, and runs what came from outside.

As OWASP says, such a text gets a quotation mark before it (https://owasp.org/www-community/attacks/CSV_Injection). So
does one that has the marks already, that reading back takes one off and finds the text as it was. A number is none.
"""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""The last four are the first four in full width."""
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def cell_of(text: str) -> str:
    """Return a text as a cell of CSV. A NUL, which not every reader takes, is shown as what cannot be shown."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def text_of_cell(cell: str) -> str:
    """Return the text that a cell of ours holds."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
