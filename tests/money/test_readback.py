"""What a tracker exports is read back as it was, and what cannot be read is told with its line, never raised."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from exported import FORMER_HEAD, FORMER_ROWS, call, tracker
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import Reply, Usage
from or_instrument._money import readback as _readback
from or_instrument._money.csv_text import cell_of, text_of_cell
from or_instrument._money.export import rows_csv, totals_csv, totals_json
from or_instrument._money.readback import Cut, read
from or_instrument._money.totals import Sum, Totals

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
TEXT |= st.text("'=+-@\t\r\n1.x", max_size=5)
COSTS = st.lists(st.tuples(st.none() | st.floats(0, 1e6), TEXT.filter(bool), TEXT), max_size=6)


@settings(max_examples=60)
@given(COSTS)
def test_what_is_written_is_read_back(costs: list[tuple[float | None, str, str]]) -> None:
    """Totals and rows survive both formats, whatever the texts in them."""
    made = tracker(*(call(number, cost, model, tag=tag) for number, (cost, model, tag) in enumerate(costs)))
    rows = list((made._tally.rows or {}).values())
    for text in (totals_json(made._tally.totals, {}), totals_json(made._tally.totals, {}, rows)):
        assert same(_readback._read_json(text), made._tally.totals)
    for text in (totals_csv(made._tally.totals), rows_csv(rows)):
        assert same(_readback._read_csv(text), made._tally.totals)


@pytest.mark.parametrize("text", ["=1+1", "+1;2", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "\uff1d1", "-1e5"])
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    """In CSV it has a quotation mark before it, which is taken off when it is read back; JSON has it as it is."""
    assert cell_of(text) == f"'{text}"
    made = tracker(call(1, 0.5, text, tag=text))
    assert f'"\'{text}",1,0,"0.5"' in totals_csv(made._tally.totals)
    assert list(_readback._read_csv(totals_csv(made._tally.totals))[0].groups["model"]) == [text]
    assert json.dumps(text, ensure_ascii=False) in totals_json(made._tally.totals, {})


@pytest.mark.parametrize("text", ["a/model", "-1", "-0.5", "12", "", "a=1", "'a", "'", '{"a":"=1"}'])
def test_what_no_spreadsheet_would_run_is_as_it_is(text: str) -> None:
    """Numbers stay numbers."""
    assert cell_of(text) == text_of_cell(text) == text


def test_a_long_value_is_read_back() -> None:
    """It may have more than the 128 KiB that `csv` takes for the longest."""
    made = tracker(call(1, 0.5, tag="x" * 200_000))
    for text in (totals_csv(made._tally.totals), rows_csv((made._tally.rows or {}).values())):
        assert same(_readback._read_csv(text), made._tally.totals)


def test_a_nul_is_shown_as_what_cannot_be_shown() -> None:
    """Not every Python reads a CSV that has one."""
    assert "\0" not in rows_csv((tracker(call(1, 0.5, "a\0b"))._tally.rows or {}).values())
    (model,) = _readback._read_csv(totals_csv(tracker(call(1, 0.5, "a\0b"))._tally.totals))[0].groups["model"]
    assert model == "a\ufffdb"


def same(told: tuple[Totals, list[Any]], totals: Totals) -> bool:
    """Return whether nothing was wrong and the sums are the same."""
    return told == (told[0], []) and (told[0].all, told[0].groups) == (totals.all, totals.groups)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    """Whatever is in a file, reading it ends with problems and not with an exception."""
    file = tmp_path_factory.getbasetemp() / "junk"
    file.write_bytes(junk)
    assert read(file)[1]


FORMER_SUM = '{"calls": 2, "unknown": 1, "usd": "0.25", "input_tokens": 3, "output_tokens": 4}'
FORMER_JSON_ROW = {
    **dict.fromkeys(("operation", "provider", "outcome", "missing", "source"), "x"),
    "started_at": "2026-01-01",
    "model": "m",
    "usd": "0.25",
    "is_byok": True,
    "attributes": {},
    "input_tokens": None,
    "output_tokens": 2,
}
FORMER_ROW = "or_instrument.cost/1,2026-01-01T00:00:00,chat,m,P,complete,,0.25,true,response,3,4,{}\n"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (
            f'{{"schema": "or_instrument.cost/1", "by": {{"model": {{"m": {FORMER_SUM}}}}}, "total": {FORMER_SUM}}}',
            Cut(),
        ),
        (
            f"{FORMER_HEAD}or_instrument.cost/1,model,m,2,1,0.25,3,4\nor_instrument.cost/1,total,,2,1,0.25,3,4\n",
            Cut(),
        ),
        (
            f"{FORMER_ROWS}{FORMER_ROW}{FORMER_ROW.replace('0.25', '')}".replace("3,4", "2,2", 1).replace("3,4", "1,2"),
            Cut(),
        ),
        (
            json.dumps({"schema": "or_instrument.cost/1", "rows": [FORMER_JSON_ROW, {**FORMER_JSON_ROW, "usd": None}]}),
            Cut(since="2026"),
        ),
    ],
)
def test_exports_of_the_former_schema_are_read(text: str, cut: Cut, tmp_path: Path) -> None:
    """They told of no lower bounds, and are summed as ever."""
    former = tmp_path / "former"
    former.write_text(text, "utf-8")
    totals, problems = read(former, cut)
    assert problems == []
    assert totals.all == totals.by("model")["m"] == Sum(2, 1, Decimal("0.25"), totals.all.input_tokens, 4)


def test_lower_bounds_are_counted_through_every_format(tmp_path: Path) -> None:
    """As JSON, as CSV totals and as CSV rows."""
    usage = Usage(cost=0.1, is_byok=True, upstream_cost=0.2, source="generation", lower_bound=True)
    cost = tracker(call(1, 0.5), call(2, None)._replace(reply=Reply(model="m", usage=usage)))
    assert cost.lower_bound == 1
    paths = [tmp_path / name for name in ("one.json", "two.csv", "rows.csv")]
    cost.export_json(paths[0])
    cost.export_csv(paths[1])
    cost.export_csv(paths[2], rows=True)
    for path in paths:
        totals, problems = read(path)
        assert problems == []
        assert (totals.all.lower_bound, totals.by("model")["m"].lower_bound, totals.all.calls) == (1, 1, 2)
