"""`or-instrument cost` adds exports of several processes up, and names file and line of what it cannot read."""

from __future__ import annotations

import argparse
import csv
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from exported import FORMER_HEAD, call, tracker

from or_instrument import Reply, Usage
from or_instrument._cli import cost as _cost
from or_instrument._extras import MissingExtra
from or_instrument._money.readback import read
from or_instrument._money.totals import Row


def run(*args: str | Path) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser()
    _cost.add_arguments(parser)
    return _cost.run(parser.parse_args([str(arg) for arg in args]))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return three exports: JSON totals, CSV totals, CSV rows."""
    one, two, three = (tmp_path / name for name in ("one.json", "two.csv", "rows.csv"))
    tracker(call(1, 0.1, feature="a")).export_json(one)
    tracker(call(1, 0.2, "b/other", feature="b"), call(2, None)).export_csv(two)
    tracker(call(1, 1e-07, feature="a"), call(2, 0.3, "b/other")).export_csv(three, rows=True)
    return [one, two, three]


def test_exports_of_every_kind_add_up(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """JSON totals, CSV totals and CSV rows of several processes are one exact sum."""
    assert run(*files, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == {
        "calls": 5,
        "unknown": 1,
        "usd": "0.6000001",
        "input_tokens": 12,
        "output_tokens": 8,
        "lower_bound": 0,
    }
    assert told["by"]["model"]["b/other"]["usd"] == "0.5"
    assert {name: part["usd"] for name, part in told["by"]["attributes.feature"].items()} == {
        "a": "0.1000001",
        "b": "0.2",
    }


def test_sums_are_exports_themselves(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the command prints as JSON or CSV can be summed again."""
    for kind in ("json", "csv"):
        assert run(*files, "--format", kind) == 0
        again = tmp_path / f"again.{kind}"
        again.write_text(capsys.readouterr().out, "utf-8")
        totals, problems = read(again)
        assert (totals.all.usd, totals.all.calls, problems) == (Decimal("0.6000001"), 5, [])
        assert totals.by("feature")["b"].usd == Decimal("0.2")


def test_one_dimension_can_be_chosen(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`--by` says what is summed by: nothing else is printed."""
    assert run(*files, "--by", "feature", "--format", "csv") == 0
    _, *lines = csv.reader(capsys.readouterr().out.splitlines())
    assert [line[1:3] for line in lines] == [["attributes.feature", "a"], ["attributes.feature", "b"], ["total", ""]]


def test_table_shows_what_has_no_value(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The table sums by a dimension, with the calls outside it, the total, and a word on what is unknown."""
    pytest.importorskip("rich")
    assert run(*files, "--by", "feature") == 0
    shown = capsys.readouterr().out
    for text in ("attributes.feature", "0.1000001", "(none)", "0.6000001", "The cost of 1 of 5 calls is unknown"):
        assert text in shown


LONG = "a-vendor/a-model-whose-name-alone-is-longer-than-a-line-of-a-terminal-that-nobody-has-made-any-wider"


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Return an export whose table is wider than most terminals."""
    tracker(call(1, 0.12345678901234, LONG, feature="search")).export_csv(tmp_path / "wide.csv", rows=True)
    return tmp_path / "wide.csv"


def test_what_is_no_terminal_has_each_row_in_a_line(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However long: programs read it, and files keep it."""
    pytest.importorskip("rich")
    assert run(wide, "--by", "model,feature") == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if LONG in line)
    assert "0.12345678901234" in row


@pytest.mark.parametrize("columns", ["20", "60", "80"])
def test_no_terminal_is_too_narrow_for_an_amount(
    columns: str, wide: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are folded for it, numbers are whole; each is in every row."""
    pytest.importorskip("rich")
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": columns}.items():
        monkeypatch.setenv(name, value)
    assert run(wide, "--by", "model,feature") == 0
    shown = capsys.readouterr().out
    assert shown.count("0.12345678901234") == 2
    assert "search" in shown
    assert LONG not in shown


def test_a_file_that_is_given_twice_is_counted_once(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whatever path; the command says so, and that is no failure."""
    link = tmp_path / "link.json"
    link.symlink_to(files[0])
    assert run(files[0], files[0], link, tmp_path / "." / ".." / tmp_path.name / "one.json", "--format", "json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["total"]["usd"] == "0.1"
    assert told.err.splitlines()[:2] == [
        f"or-instrument cost: {files[0]} is {files[0]} once more, and is counted once",
        f"or-instrument cost: {link} is {files[0]} once more, and is counted once",
    ]
    assert len(told.err.splitlines()) == 3


def test_a_dimension_that_there_is_not_is_told(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One that there is, is not."""
    assert run(*files, "--by", "nosuch", "--by", "feature", "--by", "day", "--format", "csv") == 0
    assert capsys.readouterr().err == "or-instrument cost: --by nosuch: no call has it\n"


def test_values_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like markup in a value is shown, not obeyed."""
    pytest.importorskip("rich")
    tracker(call(1, 0.1, "[red]a/model[/red] :smile:")).export_json(tmp_path / "cost.json")
    assert run(tmp_path / "cost.json") == 0
    assert "[red]a/model[/red] :smile:" in capsys.readouterr().out


def test_table_without_rich_names_the_extra(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rich is not installed, the error says what to install; JSON and CSV need nothing."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr("or_instrument._extras.import_module", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'or-instrument\[cli\]'"):
        run(*files)
    assert run(*files, "--format", "csv") == 0


GOOD = '{"calls": 1, "unknown": 0, "usd": "0.5", "input_tokens": 0, "output_tokens": 0, "lower_bound": 0}'
HEAD = "schema,dimension,value,calls,unknown,usd,input_tokens,output_tokens,lower_bound\n"
ROWS = f"schema,{','.join(Row._fields)}\n"
ROW = "or_instrument.cost/2,2026-01-01T00:00:00,chat,m,P,complete,,{usd},{byok},response,1,2,{attributes},{bound}\n"


@pytest.mark.parametrize(
    "case",
    [
        ('{\n "schema": "or_instrument.cost/2",\n "by": {', 3, "is corrupt or half-written"),
        ('{\n "schema": "or_instrument.cost/3"\n}', 2, "has the schema 'or_instrument.cost/3'"),
        ('{\n "schema": "or_instrument.cost/2",\n "by": 7}', 3, "has no sums under `by`"),
        ('{"schema": "or_instrument.cost/2",\n "by": {},\n "total": 7}', 3, "has no sum for 'total'"),
        (
            '{"schema": "or_instrument.cost/2", "by": {},\n "total":\n ' + GOOD.replace('"0.5"', '"NaN"') + "}",
            3,
            "has usd 'NaN', which is no amount",
        ),
        (
            '{"schema": "or_instrument.cost/2", "by": {},\n "total":\n ' + GOOD.replace('"0.5"', "0.5") + "}",
            3,
            "written as a decimal text",
        ),
        ('{"schema": "or_instrument.cost/2", "by": {}, "total":\n' + GOOD.replace("1", "-1") + "}", 2, "has calls -1"),
        ('{"calls": ' + "9" * 5000 + "}", 1, "a number too long"),
        ("[" * 10 + "\n", 1, "is no export of costs"),
        ("", 1, "is no export of costs"),
        (HEAD, 1, "the line with the total is missing"),
        (HEAD + "or_instrument.cost/2,model,m,1,0,0.5,0,0,0\nor_instrument.cost/2,total,,1", 3, "is half-written"),
        (HEAD + "or_instrument.cost/2,total,,1,0\n", 2, "has 5 fields instead of 9"),
        (HEAD + "or_instrument.cost/2,total,,1,0,-1,0,0,0\n", 2, "has usd '-1'"),
        (HEAD + "or_instrument.cost/2,total,,1,0,1e9999999999,0,0,0\n", 2, "has usd '1e9999999999'"),
        (HEAD + "or_instrument.cost/2,total,,1,0,1_0,0,0,0\n", 2, "has usd '1_0'"),
        (ROWS + ROW.format(usd="x", byok="true", attributes="{}", bound="false"), 2, "has usd 'x'"),
        (ROWS + ROW.format(usd="1", byok="maybe", attributes="{}", bound="false"), 2, "has is_byok 'maybe'"),
        (ROWS + ROW.format(usd="1", byok="", attributes="{}", bound="0"), 2, "has lower_bound '0'"),
        (FORMER_HEAD + "or_instrument.cost/1,total,,1,0,1,0,0,0\n", 2, "has 9 fields instead of 8"),
        (FORMER_HEAD + "or_instrument.cost/2,total,,1,0,1,0,0\n", 2, "has the schema 'or_instrument.cost/2', but not"),
        (HEAD + "or_instrument.cost/1,total,,1,0,1,0,0,0\n", 2, "has the schema 'or_instrument.cost/1', but not"),
        (ROWS + ROW.format(usd="1", byok="", attributes="[]", bound=""), 2, "which are no JSON object"),
        (ROWS + ROW.format(usd="1", byok="", attributes='"{}', bound=""), 2, "is corrupt or half-written"),
    ],
)
def test_corrupt_files_are_named_with_the_line(
    case: tuple[str, int, str], files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A corrupt export is told with file and line; nothing is summed unless the rest is asked for."""
    text, line, why = case
    bad = tmp_path / "bad"
    bad.write_text(text, "utf-8")
    assert run(*files, bad, "--format", "json") == 2
    told = capsys.readouterr()
    assert f"{bad}:{line}: " in told.err
    assert why in told.err
    assert told.out == ""
    assert run(files[0], bad, "--format", "json", "--skip-bad") == 1
    assert json.loads(capsys.readouterr().out)["total"]["usd"] == "0.1"


def test_good_lines_of_a_corrupt_file_are_summed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of rows, those that can be read are summed where that is asked for; a cut number is not among them."""
    bad = tmp_path / "rows.csv"
    good, corrupt = (ROW.format(usd=usd, byok="false", attributes="{}", bound="false") for usd in ("0.25", "much"))
    bad.write_text(ROWS + good + corrupt + good + good[:60], "utf-8")
    assert run(bad, "--format", "json", "--skip-bad") == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["total"]["usd"] == "0.50"
    assert re.findall(r"rows.csv:(\d+): (is half|has usd)", told.err) == [("3", "has usd"), ("5", "is half")]


def test_exports_put_together_are_not_half_summed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that goes on after its total is told, since its sums by model and its total would not agree."""
    both = tmp_path / "both.csv"
    tracker(call(1, 0.25)).export_csv(both)
    text = both.read_text()
    both.write_text(text + text.split("\n", 1)[1])
    assert run(both, "--format", "json", "--skip-bad") == 1
    told = capsys.readouterr()
    assert f"both.csv:{text.count(chr(10)) + 1}: goes on after the total" in told.err
    summed = json.loads(told.out)
    assert summed["total"] == summed["by"]["model"]["a/model"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, or that is no text, is named."""
    (tmp_path / "bytes").write_bytes(b"{\n\xff\xfe")
    assert run(tmp_path / "none", tmp_path / "bytes") == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'none'}: cannot be read: No such file" in told
    assert f"{tmp_path / 'bytes'}:2: is no UTF-8 text" in told


def test_the_table_says_which_costs_are_lower_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, where there are any."""
    usage = Usage(cost=0.1, is_byok=True, upstream_cost=0.2, source="generation", lower_bound=True)
    tracker(call(1, 0.5)).export_json(tmp_path / "whole.json")
    tracker(call(2, None)._replace(reply=Reply(model="m", usage=usage))).export_json(tmp_path / "part.json")
    assert run(tmp_path / "whole.json") == 0
    assert "lower bound" not in capsys.readouterr().out
    assert run(tmp_path / "whole.json", tmp_path / "part.json") == 0
    assert "The cost of 1 of 2 calls is a lower bound" in " ".join(capsys.readouterr().out.split())
