"""`or-instrument cost --ledger` adds a ledger up: by what is asked for, since a day, to the last digit."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from commands import run
from filled_ledger import call, fill, note_lost

from or_instrument import CostTracker
from or_instrument._cli import main
from or_instrument._cli.ledger_options import day, last_days
from or_instrument._money.totals import NONE


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


def test_a_ledger_without_its_option_is_told(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the option that it needs, and exit code 2."""
    code, out, err = run(capsys, book, "--format", "json")
    assert (code, out) == (2, "")
    assert err.startswith(f"or-instrument cost: {book}: is no export but a ledger: give it as --ledger {book}\n")


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


@pytest.mark.parametrize("form", ["json", "csv", "focus"])
def test_what_programs_read_is_utf_8(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the encoding of the terminal."""
    path = fill(tmp_path / "costs.db", [call(1, 0.5, model="模型", tenant="ü")])
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main.main(["cost", "--ledger", str(path), "--format", form]) == 0
    sys.stdout.flush()
    assert "模型" in sys.stdout.buffer.getvalue().decode()  # type: ignore[attr-defined]


def test_half_a_surrogate_pair_costs_no_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export may have one, escaped in its JSON."""
    tracker = CostTracker()
    tracker(call(1, 0.5, tenant="a"))
    tracker.export_json(tmp_path / "told.json")
    told = (tmp_path / "told.json").read_text().replace('"a"', '"a\\ud800"')
    (tmp_path / "told.json").write_text(told)
    for form in ("json", "csv"):
        code, out, _ = run(capsys, tmp_path / "told.json", "--format", form)
        assert (code, "a?" in out) == (0, True)


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


def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no ledger, for no command, and its mode stays."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o644)
    assert run(capsys, "--ledger", pipe)[0] == 2
    assert main.main(["ledger", "prune", "--keep", "2d", "--ledger", str(pipe)]) == 2
    assert "is no regular file" in capsys.readouterr().err
    assert pipe.stat().st_mode & 0o777 == 0o644


def test_an_empty_file_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no ledger yet, and commands do not make it one."""
    empty = tmp_path / "empty.txt"
    empty.touch()
    empty.chmod(0o644)
    code, _, err = run(capsys, "--ledger", empty)
    assert (code, f"{empty} is empty" in err) == (2, True)
    assert main.main(["ledger", "prune", "--keep", "2d", "--ledger", str(empty)]) == 2
    assert f"{empty} is empty" in capsys.readouterr().err
    assert (empty.read_bytes(), empty.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (b"", 0o644, [empty])


def test_a_hard_link_is_counted_once(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the same file, whatever its name."""
    link = tmp_path / "link.db"
    os.link(book, link)
    code, out, err = run(capsys, "--ledger", book, "--ledger", link, "--format", "json")
    assert (code, json.loads(out)["total"]["calls"]) == (0, 5)
    assert err == f"or-instrument cost: {link} is {book} once more, and is counted once\n"


@pytest.mark.parametrize("form", ["json", "focus"])
def test_a_copy_is_told(form: str, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is counted, as nobody knows which is meant; two ledgers of other processes are not told."""
    other = fill(tmp_path / "other.db", [call(1, 0.5)], process=2)
    copy = tmp_path / "copy.db"
    shutil.copy(book, copy)
    told = f"or-instrument cost: {book} and {copy} hold the same calls, which are counted twice"
    args = ("--ledger", book, "--ledger", other, "--format", form)
    assert "same calls" not in run(capsys, *args)[2]
    assert run(capsys, *args, "--ledger", copy)[2].splitlines().count(told) == 1


def test_a_ledger_that_was_moved_while_its_process_ran_is_no_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That process goes on in the next file, with other calls."""
    books = [fill(tmp_path / f"{number}.db", [call(number, 0.5)]) for number in (1, 2)]
    assert run(capsys, "--ledger", books[0], "--ledger", books[1], "--format", "json")[2] == ""


def test_jobs_that_processes_share_make_no_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their rows are of no process."""
    books = [fill(tmp_path / name, [call(1, 0.5)], process=0) for name in ("one.db", "two.db")]
    assert run(capsys, "--ledger", books[0], "--ledger", books[1], "--format", "json")[2] == ""


def test_days_are_utc_and_today_is_one_of_them() -> None:
    """`7d` is the last seven."""
    today = date(2026, 11, 26)
    assert day("7d", today) == "2026-11-20"
    assert day("1d", today) == "2026-11-26"
    assert day("2026-11-01") == "2026-11-01"
    assert last_days("90d", today) == "2026-08-29"
    for wrong in ("", "0d", "d", "7", "2026-13-01", "7d ", "20261101", "2026-W44-7", "2026-11-01T00:00", "2026-1-1"):
        with pytest.raises(argparse.ArgumentTypeError):
            day(wrong)


def test_a_part_of_a_cross_that_there_is_not_is_told(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that some call has is not."""
    for crossed in ("model,nosuch", "nosuch,tenant"):
        _, _, err = run(capsys, "--ledger", book, "--by", crossed, "--format", "csv")
        assert err == "or-instrument cost: --by nosuch: no call has it\n"
    assert not run(capsys, "--ledger", book, "--by", "model,tenant", "--format", "csv")[2]
