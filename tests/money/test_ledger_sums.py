"""`or-instrument cost --ledger` adds a ledger up: by what is asked for, since a day, to the last digit."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from filled_ledger import call, fill, note_lost
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import CostTracker
from or_instrument._cli import main
from or_instrument._cli.ledgers import day, last_days
from or_instrument._money import readonly
from or_instrument._money.focus import COLUMNS, MANDATORY
from or_instrument._money.prune import prune
from or_instrument._money.query import totals_of
from or_instrument._money.readings import Reading, note_reading, readings_of
from or_instrument._money.schema import NotALedgerError, open_ledger
from or_instrument._money.totals import NONE, dimension_of


@pytest.fixture(autouse=True)
def _no_ledger_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OR_INSTRUMENT_LEDGER", raising=False)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Return a ledger with calls of three days, two models and two tenants."""
    return fill(
        tmp_path / "costs.db",
        [
            call(1, 0.1, "2026-11-24T23:59", tenant="acme", input_tokens=3, output_tokens=2),
            call(2, 0.2, "2026-11-25T00:00", tenant="zeta", model="b/other", input_tokens=3),
            call(3, 1e-07, tenant="acme", provider="Q"),
            call(4, None, tenant="acme"),
            call(5, 0.3, model="b/other"),
        ],
    )


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    """Run `or-instrument cost`; return its exit code and what it printed."""
    code = main.main(["cost", *map(str, args)])
    told = capsys.readouterr()
    return code, told.out, told.err


def by(out: str, dimension: str) -> dict[str, str]:
    """Return the USD of one dimension."""
    return {value: part["usd"] for value, part in json.loads(out)["by"][dimension].items()}


def test_a_ledger_is_added_up(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By everything where nothing is said, the calls of unknown cost counted beside."""
    code, out, err = run(capsys, "--ledger", book, "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out)["total"] == {
        "calls": 5,
        "unknown": 1,
        "usd": "0.6000001",
        "input_tokens": 6,
        "output_tokens": 2,
        "lower_bound": 0,
    }
    assert by(out, "model") == {"b/other": "0.5", "a/model": "0.1000001"}
    assert by(out, "provider") == {"P": "0.6", "Q": "0.0000001"}
    assert by(out, "day") == {"2026-11-24": "0.1", "2026-11-25": "0.2", "2026-11-26": "0.3000001"}
    assert by(out, "attributes.tenant") == {"acme": "0.1000001", "zeta": "0.2"}


def test_since_takes_whole_days(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From midnight UTC on."""
    _, out, _ = run(capsys, "--ledger", book, "--since", "2026-11-25", "--by", "model", "--format", "json")
    assert by(out, "model") == {"b/other": "0.5", "a/model": "0.0000001"}


def test_several_at_once_are_a_cross(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--by model,tenant`; calls without the attribute are in it too, so that it adds up."""
    _, out, _ = run(capsys, "--ledger", book, "--by", "model,tenant", "--by", "day", "--format", "json")
    crossed = {tuple(json.loads(value)): usd for value, usd in by(out, "model,attributes.tenant").items()}
    assert crossed == {
        ("a/model", "acme"): "0.1000001",
        ("b/other", "zeta"): "0.2",
        ("b/other", NONE): "0.3",
    }
    assert set(json.loads(out)["by"]) == {"model,attributes.tenant", "day"}


def test_a_cross_beyond_the_limit_of_values(
    book: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond it is a row of its own."""
    pytest.importorskip("rich")
    monkeypatch.setattr("or_instrument._money.totals._VALUES_LIMIT", 1)
    code, out, _ = run(capsys, "--ledger", book, "--by", "model,tenant")
    assert code == 0
    assert "(other)" in out


def test_the_dearest_are_kept_beyond_the_limit_of_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all ledgers and exports together, in whatever order they come; the others are one row."""
    monkeypatch.setattr("or_instrument._money.totals._VALUES_LIMIT", 2)
    one = fill(tmp_path / "one.db", [call(1, 0.1, user="a"), call(2, 0.2, user="b"), call(3, 4.0, user="z")])
    two = fill(tmp_path / "two.db", [call(1, 0.4, user="a"), call(2, 3.0, user="y")])
    tracker = CostTracker(rows=True)
    tracker(call(1, 5.0, user="y"))
    tracker.export_csv(tmp_path / "rows.csv", rows=True)
    files = (tmp_path / "rows.csv", "--ledger", one, "--ledger", two)
    _, out, _ = run(capsys, *files, "--by", "user", "--format", "json")
    assert by(out, "attributes.user") == {"y": "8.0", "z": "4", "(other)": "0.7"}


def test_a_table_that_is_asked_for_twice_is_one(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And its sums are no larger."""
    _, out, _ = run(capsys, "--ledger", book, "--by", "tenant", "--by", "attributes.tenant", "--format", "json")
    assert by(out, "attributes.tenant") == {"acme": "0.1000001", "zeta": "0.2"}


@pytest.mark.parametrize("wrong", ["", ",", " ", "model,", ",tenant", "model,,tenant"])
def test_a_table_by_nothing_is_an_error(wrong: str, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That says what there is."""
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "--ledger", book, "--by", wrong)
    assert f"argument --by: {wrong!r} is none of: model, provider, day" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["json", "csv", "focus", "table"])
def test_absurd_counts_of_tokens_are_added_up(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond 64 bits; one that is beyond them itself is not known, and its row is written."""
    pytest.importorskip("rich")
    most = 2**63 - 1
    calls = [call(number, 0.5, input_tokens=most, output_tokens=2**62) for number in range(5)]
    path = fill(tmp_path / "costs.db", [*calls, call(9, 0.5, input_tokens=2**63, output_tokens=10**30)])
    code, out, _ = run(capsys, "--ledger", path, "--format", form)
    assert code == 0
    assert str(5 * (most + 2**62 if form == "focus" else most)) in out.replace("\n", "")


def test_a_cross_is_one_table(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a column for each part."""
    pytest.importorskip("rich")
    _, out, _ = run(capsys, "--ledger", book, "--by", "model,tenant")
    (line,) = [line for line in out.splitlines() if "zeta" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["b/other", "zeta", "0.2", "1", "0", "3", "0"]


def test_rows_have_bars_in_a_terminal(book: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """As long as their part of the dearest; elsewhere none."""
    pytest.importorskip("rich")
    _, out, _ = run(capsys, "--ledger", book)
    assert "█" not in out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = run(capsys, "--ledger", book)
    bars = [line.count("█") for line in out.splitlines() if "/" in line]
    assert bars == [20, 4]


def test_a_value_tells_the_terminal_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Colours, cursor and direction of writing stay as they are, and each value is in a line of its own."""
    path = fill(tmp_path / "costs.db", [call(1, 0.5, tenant="a\x1b[2Jb\rc\u202ed\ne")])
    _, out, _ = run(capsys, "--ledger", path, "--by", "tenant", "--by", "tenant,model")
    assert out.count("a\ufffd[2Jb\ufffdc\ufffdd\ufffde") == 2


def test_ledgers_are_named_by_the_environment_too(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OR_INSTRUMENT_LEDGER`, unless some are given, or files are."""
    other = fill(tmp_path / "other.db", [call(1, 5.0)])
    monkeypatch.setenv("OR_INSTRUMENT_LEDGER", str(other))
    assert json.loads(run(capsys, "--format", "json")[1])["total"]["usd"] == "5"
    both = run(capsys, "--ledger", book, "--ledger", other, "--format", "json")[1]
    assert json.loads(both)["total"]["usd"] == "5.6000001"
    CostTracker().export_json(tmp_path / "none.json")
    assert json.loads(run(capsys, tmp_path / "none.json", "--format", "json")[1])["total"]["usd"] == "0"


def test_files_and_ledgers_add_up(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export of a tracker beside a ledger."""
    tracker = CostTracker(rows=True)
    tracker(call(1, 1.0, tenant="acme"))
    tracker.export_csv(tmp_path / "rows.csv", rows=True)
    _, out, _ = run(capsys, tmp_path / "rows.csv", "--ledger", book, "--by", "tenant", "--format", "json")
    assert by(out, "attributes.tenant") == {"acme": "1.1000001", "zeta": "0.2"}


@pytest.mark.parametrize("key", ["a,b", " a", "a ", "", "model,day"])
def test_an_attribute_of_any_name_is_summed_as_a_tracker_sums_it(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name with a comma is no cross, and one with a space is not that without."""
    calls = [call(1, 0.5, **{key: "x"}), call(2, 0.25, a="y")]
    tracker = CostTracker()
    for made in calls:
        tracker(made)
    tracker.export_json(tmp_path / "tracker.json")
    _, out, _ = run(capsys, "--ledger", fill(tmp_path / "costs.db", calls), "--format", "json")
    assert json.loads(out)["by"] == json.loads((tmp_path / "tracker.json").read_text("utf-8"))["by"]


@pytest.mark.parametrize("name", ["rows.csv", "rows.json"])
def test_rows_know_days_and_crosses(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exports with rows can be asked what a ledger can be asked."""
    tracker = CostTracker(rows=True)
    for made in (call(1, 0.5, "2026-11-24T12:00", tenant="acme"), call(2, 0.25, tenant="acme"), call(3, None)):
        tracker(made)
    if name.endswith("csv"):
        tracker.export_csv(tmp_path / name, rows=True)
    else:
        tracker.export_json(tmp_path / name)
    code, out, _ = run(
        capsys, tmp_path / name, "--since", "2026-11-25", "--by", "model,tenant", "--by", "day", "--format", "json"
    )
    assert code == 0
    crossed = {tuple(json.loads(value)): usd for value, usd in by(out, "model,attributes.tenant").items()}
    assert crossed == {("a/model", "acme"): "0.25", ("a/model", NONE): "0"}
    assert by(out, "day") == {"2026-11-26": "0.25"}


@pytest.mark.parametrize("asked", [("--since", "7d"), ("--by", "model,tenant")])
@pytest.mark.parametrize("name", ["totals.csv", "totals.json"])
def test_totals_know_neither(
    name: str, asked: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is an error that says so."""
    tracker = CostTracker()
    tracker(call(1, 0.5))
    (tracker.export_csv if name.endswith("csv") else tracker.export_json)(tmp_path / name)
    code, _, err = run(capsys, tmp_path / name, *asked)
    assert code == 2
    assert f"{name}:1: holds totals" in err


@pytest.fixture
def readers_folder() -> Iterator[Path]:
    """Return a folder in which, and whose files, this process may only read as soon as it is left to itself."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@contextmanager
def as_reader(folder: Path) -> Iterator[None]:
    """Be a user who may read what is in a folder, and write nothing."""
    for file in (*folder.iterdir(), folder):
        file.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has other users' rights")
def test_who_may_only_read_a_ledger_reads_it(
    book: Path, readers_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody writes it; else what to do is said, and nothing is summed that may be old."""
    path = Path(shutil.copy(book, readers_folder / "costs.db"))
    with as_reader(readers_folder):
        code, out, _ = run(capsys, "--ledger", path, "--format", "json")
    assert (code, json.loads(out)["total"]["usd"]) == (0, "0.6000001")
    assert [file.name for file in readers_folder.iterdir()] == ["costs.db"]
    Path(f"{path}-wal").write_bytes(b"new rows")
    with as_reader(readers_folder):
        code, out, err = run(capsys, "--ledger", path, "--format", "json")
    assert (code, out) == (2, "")
    assert "ask as the user who writes it, or copy it" in err


def test_what_is_written_while_it_is_read_is_told(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite's locks cannot keep it out."""

    def refused(_path: object) -> Any:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(readonly, "open_ledger", refused)
    with readonly.ledger_to_read(book) as ledger:
        assert totals_of(ledger, []).all.calls == 5
    with pytest.raises(NotALedgerError, match="written while it was read"), readonly.ledger_to_read(book):
        os.utime(book, ns=(1, 1))
    book.write_bytes(b"")
    with pytest.raises(NotALedgerError, match="is empty"), readonly.ledger_to_read(book):
        pass


def test_lost_calls_are_told(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, so that what is printed stays an export."""
    note_lost(book, "2026-11-26", 3)
    assert f"{book}: 3 calls could not be written" in run(capsys, "--ledger", book, "--format", "csv")[2]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ((), "nothing to sum"),
        (("--ledger", "none.db"), "none.db cannot be used: No such file"),
        (("--ledger", "costs.db", "--format", "focus", "--by", "model"), "hour by hour"),
    ],
)
def test_what_cannot_be_done_is_said(
    args: tuple[str, ...], why: str, book: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit code 2."""
    monkeypatch.chdir(book.parent)
    code, _, err = run(capsys, *args)
    assert code == 2
    assert why in err


def test_days_are_utc_and_today_is_one_of_them() -> None:
    """`7d` is the last seven."""
    today = date(2026, 11, 26)
    assert day("7d", today) == "2026-11-20"
    assert day("1d", today) == "2026-11-26"
    assert day("2026-11-01") == "2026-11-01"
    assert last_days("90d", today) == "2026-08-29"
    for wrong in ("", "0d", "d", "7", "2026-13-01", "7d "):
        with pytest.raises(argparse.ArgumentTypeError):
            day(wrong)


NAMES = st.sampled_from(["tenant", "it's", 'a"b', "a\\b", "ü", "a.b", "", "$"])
VALUES = st.sampled_from(["x", "", "ü", "1", '"', "\x00y"])
COSTS = st.none() | st.floats(0, 1e9) | st.floats(0, 1e-20)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(COSTS, st.dictionaries(NAMES, VALUES, max_size=3)), max_size=8), NAMES.filter(bool))
def test_sums_are_exact(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[float | None, dict[str, str]]], name: str
) -> None:
    """Whatever the amounts, and whatever the names and values of attributes; a NUL is shown as what cannot be shown."""
    path = tmp_path_factory.mktemp("ledger") / "costs.db"
    fill(path, [call(number, usd, **attributes) for number, (usd, attributes) in enumerate(told)])
    tracker = CostTracker()
    for number, (usd, attributes) in enumerate(told):
        tracker(call(number, usd, **attributes))
    with closing(open_ledger(path)) as ledger:
        totals = totals_of(ledger, [dimension_of(name)])
    assert totals.all == tracker._totals.all
    expected = {
        value.replace("\0", "\ufffd"): part.usd
        for value, part in tracker._totals.groups.get(dimension_of(name), {}).items()
    }
    assert {value: part.usd for value, part in totals.by(name).items()} == expected


def test_sums_larger_than_64_bits_are_exact(tmp_path: Path) -> None:
    """Of whole numbers of 1e-24 as of 1e-12 USD."""
    cost = 999_999.999999999999
    path = fill(tmp_path / "costs.db", [call(number, cost) for number in range(30)])
    with closing(open_ledger(path)) as ledger:
        assert totals_of(ledger, []).all.usd == Decimal(str(cost)) * 30


def focus(capsys: pytest.CaptureFixture[str], *args: str | Path) -> list[dict[str, str]]:
    """Return the rows of the FOCUS export."""
    code, out, _ = run(capsys, "--format", "focus", *args)
    assert code == 0
    return list(csv.DictReader(out.splitlines()))


def test_focus_has_the_columns_of_its_specification(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All 21 mandatory ones of version 1.2, those that must not be null filled in, and our own after them."""
    listed = (Path(__file__).parent / "focus_1_2_mandatory.csv").read_text().splitlines()
    specified = list(csv.DictReader(listed))
    assert sorted(MANDATORY) == sorted(column["ColumnId"] for column in specified)
    assert len(specified) == 21
    rows = focus(capsys, "--ledger", book)
    assert tuple(rows[0]) == COLUMNS
    assert [name.startswith("x_") for name in COLUMNS] == sorted(name.startswith("x_") for name in COLUMNS)
    for row in rows:
        for column in specified:
            assert row[column["ColumnId"]] or column["AllowsNulls"] == "True", column
        assert row["ChargeClass"] == row["BillingAccountName"] == ""


def test_focus_has_a_row_an_hour_model_key_and_set_of_attributes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the sum of the calls in it, and the month that they are billed in."""
    calls = [
        call(1, 0.1, "2026-12-31T23:01", tenant="acme", input_tokens=3, output_tokens=2),
        call(2, 0.2, "2026-12-31T23:59", tenant="acme", input_tokens=5),
        call(3, 0.4, "2026-12-31T23:59", input_tokens=5),
        call(4, 0.8, "2026-12-31T22:59"),
    ]
    fill(tmp_path / "costs.db", calls, api_key_hash="ab" * 32)
    rows = focus(capsys, "--ledger", tmp_path / "costs.db")
    assert [(row["ChargePeriodStart"], row["EffectiveCost"], row["Tags"]) for row in rows] == [
        ("2026-12-31T22:00:00Z", "0.8", "{}"),
        ("2026-12-31T23:00:00Z", "0.3", '{"tenant":"acme"}'),
        ("2026-12-31T23:00:00Z", "0.4", "{}"),
    ]
    row = rows[1]
    assert (row["ConsumedQuantity"], row["ConsumedUnit"], row["x_Calls"]) == ("10", "Tokens", "2")
    assert (rows[0]["ConsumedQuantity"], rows[0]["ConsumedUnit"]) == ("1", "Requests")
    assert (row["ChargePeriodEnd"], row["BillingPeriodStart"]) == ("2027-01-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert row["BillingPeriodEnd"] == "2027-01-01T00:00:00Z"
    assert row["BilledCost"] == row["ListCost"] == row["ContractedCost"] == "0.3"
    assert row["BillingAccountId"] == "ab" * 32
    named = focus(capsys, "--ledger", tmp_path / "costs.db", "--billing-account", "acct-7")
    assert {row["BillingAccountId"] for row in named} == {"acct-7"}


def test_focus_has_two_rows_for_a_byok_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What OpenRouter bills, and what the provider does: together the spend, and what was consumed once."""
    byok = call(1, 0.05, is_byok=True, upstream_cost=1.0, input_tokens=7)
    fill(tmp_path / "costs.db", [byok, call(2, 0.5, input_tokens=2)])
    rows = focus(capsys, "--ledger", tmp_path / "costs.db")
    told = [(row["InvoiceIssuerName"], row["BilledCost"], row["EffectiveCost"]) for row in rows]
    assert told == [("OpenRouter", "0.5", "0.5"), ("OpenRouter", "0.05", "0.05"), ("P", "0", "1")]
    assert sum(Decimal(row["EffectiveCost"]) for row in rows) == Decimal("1.55")
    assert sum(int(row["ConsumedQuantity"] or 0) for row in rows) == 9
    assert [row["PricingQuantity"] for row in rows] == ["2", "7", "0"]


def test_focus_is_one_bill_of_several_ledgers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls of the same hour, model, provider, key and attributes are one row, whichever ledgers they are in."""
    unknown: dict[str, Any] = {"model": None, "provider": None}
    one = fill(
        tmp_path / "one.db",
        [call(1, 0.5, tenant="x", input_tokens=3), call(2, 0.1, "2026-11-26T13:00"), call(3, 1.0, **unknown)],
    )
    byok = call(3, 0.05, is_byok=True, upstream_cost=1.0)
    two = fill(tmp_path / "two.db", [call(1, 0.25, tenant="x", input_tokens=4), call(2, 2.0, **unknown), byok])
    three = fill(tmp_path / "three.db", [byok])
    rows = focus(capsys, "--ledger", one, "--ledger", two, "--ledger", three)
    told = [(row["ChargePeriodStart"][11:13], row["x_Model"], row["EffectiveCost"], row["x_Calls"]) for row in rows]
    assert told == [
        ("12", "", "3", "2"),
        ("12", "a/model", "0.75", "2"),
        ("12", "a/model", "0.10", "2"),
        ("12", "a/model", "2", "0"),
        ("13", "a/model", "0.1", "1"),
    ]


@pytest.mark.parametrize("text", ["a\rb", "a\nb", 'a"b', "a,b", " a ", "a\r\nb"])
def test_focus_is_csv_whatever_the_values(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On every Python: what would end a line is in quotes."""
    path = fill(tmp_path / "costs.db", [call(1, 0.5, model=text)])
    _, out, _ = run(capsys, "--ledger", path, "--format", "focus")
    (row,) = csv.DictReader(io.StringIO(out, newline=""))
    assert row["x_Model"] == text
    quoted = text.replace('"', '""')
    assert text == " a " or f'"{quoted}"' in out


def test_focus_leaves_out_what_is_unknown_and_counts_it(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr."""
    _, out, err = run(capsys, "--ledger", book, "--format", "focus")
    assert "the cost of 1 calls is unknown" in err
    assert sum(int(row["x_Calls"]) for row in csv.DictReader(out.splitlines())) == 4


def test_prune_keeps_the_last_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Today and those before it; older rows go, and so does what is known of lost ones."""
    now = datetime.now(timezone.utc)
    ages = (0, 1, 2, 3)
    days = [(now - timedelta(days=age)).strftime("%Y-%m-%dT00:00") for age in ages]
    path = fill(tmp_path / "costs.db", [call(age, 1.0, at) for age, at in zip(ages, days, strict=True)])
    note_lost(path, days[3][:10], 9)
    assert main.main(["ledger", "prune", "--keep", "2d", "--ledger", str(path)]) == 0
    assert f"{path}: 2 rows of days before {days[1][:10]} removed" in capsys.readouterr().out
    with closing(open_ledger(path)) as ledger:
        assert [row[0] for row in ledger.execute("SELECT call FROM calls ORDER BY call")] == [0, 1]
        assert ledger.execute("SELECT count(*) FROM lost").fetchone() == (0,)


def test_prune_looks_at_no_later_reading(tmp_path: Path) -> None:
    """Whoever compares every hour has thousands of readings, and those who write would wait for each."""
    questions = []
    with closing(open_ledger(fill(tmp_path / "costs.db", [call(1, 0.5)], api_key_hash="k"))) as ledger:
        for minute in ("11:59", "12:01", "12:02"):
            at = f"2026-11-26T{minute}:00.000000Z"
            note_reading([ledger], "openrouter.ai", "k", Reading(at, Decimal(0)))
        ledger.set_trace_callback(questions.append)
        assert prune(ledger, "2026-11-27") == 1
        assert [reading.pruned for reading in readings_of([ledger], "openrouter.ai", "k")] == [Decimal("0.5"), 0]
    assert sum("cost_e12" in question for question in questions) == 1


def test_prune_needs_a_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and what is no number of days."""
    assert main.main(["ledger", "prune", "--keep", "2d"]) == 2
    assert "OR_INSTRUMENT_LEDGER" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main.main(["ledger", "prune", "--keep", "2026-11-01"])


def test_a_part_of_a_cross_that_there_is_not_is_told(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that some call has is not."""
    for crossed in ("model,nosuch", "nosuch,tenant"):
        _, _, err = run(capsys, "--ledger", book, "--by", crossed, "--format", "csv")
        assert err == "or-instrument cost: --by nosuch: no call has it\n"
    assert not run(capsys, "--ledger", book, "--by", "model,tenant", "--format", "csv")[2]
