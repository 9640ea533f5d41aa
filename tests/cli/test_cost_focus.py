"""`or-instrument cost --format focus` writes a ledger as FOCUS 1.2."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import run
from filled_ledger import call, fill

from or_instrument._money.focus import COLUMNS, MANDATORY


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


def test_focus_has_no_formula_of_others_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a provider comes from outside; amounts and counts stay numbers."""
    path = fill(tmp_path / "costs.db", [call(1, 0.5, model="@x", provider="=1+1", is_byok=True, upstream_cost=2.0)])
    for row in focus(capsys, "--ledger", path):
        assert (row["x_Model"], row["PublisherName"]) == ("'@x", "'=1+1")
        assert float(row["EffectiveCost"]) in (0.5, 2.0)
        assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_focus_leaves_out_what_is_unknown_and_counts_it(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr."""
    _, out, err = run(capsys, "--ledger", book, "--format", "focus")
    assert "the cost of 1 call is unknown" in err
    assert sum(int(row["x_Calls"]) for row in csv.DictReader(out.splitlines())) == 4
