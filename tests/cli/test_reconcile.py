"""`or-instrument reconcile` holds the ledger against the books of the service, and says what explains a difference."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from filled_ledger import begin, call, fill, made_at, note_lost

from or_instrument import Call, ConfigError, Generation, Usage
from or_instrument._cli import main
from or_instrument._cli import reconcile as command
from or_instrument._money import account, own_side, statement
from or_instrument._money.prune import prune
from or_instrument._money.schema import open_ledger
from or_instrument.testing import Answer, FakeOpenRouter

TODAY = date(2026, 11, 26)
OURS, ANOTHER = "sk-or-ours", "sk-or-another"


def key_hash(key: str) -> str:
    """Return a key as the ledger and OpenRouter name it."""
    return hashlib.sha256(key.encode()).hexdigest()


class World:
    """A fake service, a ledger, and calls that are in the books of one or of both."""

    def __init__(self, fake: FakeOpenRouter, path: Path) -> None:
        self.fake, self.path = fake, path
        self.made = 0

    def charge(self, at: str, key: str = OURS, model: str = "a/model", **answer: Any) -> str:
        """Have the service answer a call at a moment; return its generation id."""
        moment = datetime.fromisoformat(at).replace(tzinfo=timezone.utc).timestamp()
        self.fake.now = lambda: moment
        self.fake.script(Answer(**answer))
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        with urlopen(Request(f"{self.fake.base_url}/chat/completions", body, headers)) as response:  # noqa: S310
            return str(json.load(response)["id"])

    def write(self, at: str, cost: float | None, key: str | None = OURS, **said: Any) -> Call:
        """Have a call in the ledger."""
        self.made += 1
        ended = {"duration_s": said.pop("lasts_s", 1.0), **said.pop("ended", {})}
        made = call(self.made, cost, at, host="127.0.0.1", **said)._replace(**ended)
        fill(self.path, [made], api_key_hash=None if key is None else key_hash(key))
        return made

    def both(self, at: str, cost: float, *, key: str = OURS, model: str = "a/model", **answer: Any) -> None:
        """Have a call in both."""
        generation = self.charge(at, key, model, cost=cost, **answer)
        byok = {"is_byok": True, "upstream_cost": answer["upstream"]} if answer.get("byok") else {}
        self.write(at, cost, key, model=model, id=generation, **byok)

    def today(self, day: date = TODAY) -> None:
        """Have the service think that it is a day."""
        moment = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc).timestamp()
        self.fake.now = lambda: moment


@pytest.fixture
def world(fake: FakeOpenRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a service that takes our key for a management key, and a command that waits for nobody."""
    monkeypatch.setattr(command, "sleep", lambda _s: None)
    monkeypatch.setenv("OPENROUTER_API_KEY", OURS)
    monkeypatch.delenv("OR_INSTRUMENT_LEDGER", raising=False)
    fake.management_key = True
    begin(tmp_path / "costs.db", "2026-10-27T00:00")
    return World(fake, tmp_path / "costs.db")


@pytest.fixture
def reconcile(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Return a function that runs the command on a day at a time; it returns the exit code and all that was printed."""

    def run(*args: str, day: date = TODAY, at: str = "23:00") -> tuple[int, str]:
        world.today(day)
        monkeypatch.setattr(command, "time_ns", lambda: made_at(f"{day}T{at}"))
        parsed = main._parser().parse_args(
            ["reconcile", "--ledger", str(world.path), "--base-url", world.fake.base_url, *args]
        )
        code = command.run(parsed)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


Reconcile = Callable[..., tuple[int, str]]


def lines(out: str) -> list[list[str]]:
    """Return the cells of the table's lines, but for the providers."""
    return [line.split()[:8] for line in out.splitlines() if line[:4] in ("2026", "key ", "tota", "sinc")]


def test_both_sides_agree(world: World, reconcile: Reconcile) -> None:
    """Day by day and model by model, its variant dropped, to the digit."""
    world.both("2026-11-24T10:00", 0.25)
    world.both("2026-11-24T11:00", 1e-07, model="b/other")
    world.both("2026-11-25T11:00", 0.5)
    world.write("2026-11-25T12:00", 0.125, model="a/model:nitro")
    world.charge("2026-11-25T12:00", model="a/model:nitro", cost=0.125)
    code, out = reconcile()
    assert (code, out.splitlines()[-1]) == (0, "They agree.")
    assert lines(out) == [
        ["2026-11-24", "a/model", "0.25", "0.25", "0", "1", "1", "0"],
        ["2026-11-24", "b/other", "0.0000001", "0.0000001", "0", "1", "1", "0"],
        ["2026-11-25", "a/model", "0.625", "0.625", "0", "2", "2", "0"],
        ["key", key_hash(OURS)[:12], "0.8750001", "0.8750001", "0", "4", "4", "0"],
        ["total", "0.8750001", "0.8750001", "0", "4", "4", "0"],
    ]


def test_a_hard_link_of_a_ledger_is_read_once(world: World, reconcile: Reconcile) -> None:
    """It is the same file."""
    world.both("2026-11-24T10:00", 0.25)
    link = world.path.parent / "link.db"
    os.link(world.path, link)
    assert reconcile("--ledger", str(link))[0] == 0


def test_a_client_outside_is_a_difference(world: World, reconcile: Reconcile) -> None:
    """With the same key: the calls that we have not seen are counted."""
    world.both("2026-11-25T10:00", 0.25)
    world.charge("2026-11-25T10:00", cost=0.75)
    code, out = reconcile()
    assert code == 1
    assert "They differ by 0.75 USD." in out
    assert "1 call not seen by us" in out


def test_a_lost_process_is_a_difference(world: World, reconcile: Reconcile) -> None:
    """So are calls that could not be written, which the ledger counts."""
    world.both("2026-11-25T10:00", 0.25)
    world.charge("2026-11-25T10:00", cost=0.5)
    note_lost(world.path, "2026-11-25", 1)
    code, out = reconcile()
    assert code == 1
    assert "1 call could not be written into the ledger" in out


@pytest.mark.parametrize("is_management", [True, False])
def test_a_call_that_was_cut_at_the_client_is_of_unknown_cost(
    is_management: bool, world: World, reconcile: Reconcile
) -> None:
    """A timeout keeps the answer from us, not the charge from OpenRouter: the call is one of ours."""
    world.fake.management_key = is_management
    world.charge("2026-11-25T10:00", cost=0.75)
    world.write("2026-11-25T10:00", None, ended={"outcome": "error", "missing": "error"})
    code, out = reconcile()
    assert (code, lines(out)[-1][-1]) == (1, "1")
    assert "the cost of 1 call of ours is not known" in out
    assert "call not seen by us" not in out


def test_a_call_that_was_refused_is_none_of_the_comparison(world: World, reconcile: Reconcile) -> None:
    """OpenRouter charges nothing for it, and counts no request."""
    world.both("2026-11-25T10:00", 0.25)
    world.write("2026-11-25T10:00", None, ended={"outcome": "error", "missing": "rejected"})
    code, out = reconcile()
    assert (code, lines(out)[-1][-3:]) == (0, ["1", "1", "0"])


def test_another_key_is_one_line_beside(world: World, reconcile: Reconcile) -> None:
    """What other keys of the account have spent is told, and is no difference."""
    world.both("2026-11-25T10:00", 0.25)
    world.charge("2026-11-25T10:00", ANOTHER, cost=5)
    code, out = reconcile()
    assert code == 0
    assert "Other keys of the account: 5 USD in 1 request, not in the table." in out


def test_two_keys_of_ours_are_two_lines(world: World, reconcile: Reconcile) -> None:
    """And together the total."""
    world.both("2026-11-25T10:00", 0.25)
    world.both("2026-11-25T10:00", 0.5, key=ANOTHER)
    code, out = reconcile()
    assert code == 0
    assert {cells[1]: cells[2] for cells in lines(out) if cells[0] == "key"} == {
        key_hash(OURS)[:12]: "0.25",
        key_hash(ANOTHER)[:12]: "0.5",
    }


def test_where_a_key_is_not_known_the_whole_account_is_compared(world: World, reconcile: Reconcile) -> None:
    """As nobody can tell whose calls those were."""
    world.both("2026-11-25T10:00", 0.25)
    world.charge("2026-11-25T10:00", ANOTHER, cost=0.5)
    world.write("2026-11-25T10:00", 0.5, None)
    code, out = reconcile()
    assert code == 0
    assert "Other keys" not in out


def test_byok_is_compared_apart(world: World, reconcile: Reconcile) -> None:
    """The fee is in the sums; the provider's part is a reference."""
    world.both("2026-11-25T10:00", 0.05, byok=True, upstream=1.0)
    code, out = reconcile()
    assert code == 0
    assert lines(out)[-1][1:3] == ["0.05", "0.05"]
    assert "Billed by providers to your own keys: 1 USD, OpenRouter reckons 1 USD; neither is an invoice." in out


def test_days_are_cut_at_midnight_utc(world: World, reconcile: Reconcile) -> None:
    """Today is not complete and is left out on both sides; each call is on the side of the border where it began."""
    world.both("2026-11-24T23:59", 0.25)
    world.both("2026-11-25T00:00", 0.5)
    world.both("2026-11-26T00:00", 4.0)
    code, out = reconcile()
    assert code == 0
    assert [cells[:3] for cells in lines(out)[:2]] == [
        ["2026-11-24", "a/model", "0.25"],
        ["2026-11-25", "a/model", "0.5"],
    ]
    assert lines(out)[-1][1] == "0.75"


def test_since_is_the_first_day(world: World, reconcile: Reconcile) -> None:
    """Of both sides."""
    world.both("2026-11-20T10:00", 0.25)
    world.both("2026-11-25T10:00", 0.5)
    assert lines(reconcile("--since", "2026-11-21")[1])[-1][1:3] == ["0.5", "0.5"]


def test_days_that_cannot_be_asked_are_named(world: World, reconcile: Reconcile) -> None:
    """OpenRouter tells of the last 30."""
    begin(world.path, "2026-10-01T00:00")
    world.both("2026-10-01T10:00", 0.25)
    world.both("2026-10-27T10:00", 0.5)
    code, out = reconcile()
    assert code == 0
    assert "Days before 2026-10-27 can no longer be asked" in out
    assert lines(out)[-1][1] == "0.5"


def test_unknown_costs_are_looked_up_first(world: World, reconcile: Reconcile) -> None:
    """And stay in the ledger; one that is not on file is counted as unknown."""
    generation = world.charge("2026-11-25T10:00", cost=0.5)
    world.write("2026-11-25T10:00", None, id=generation)
    world.write("2026-11-25T10:00", None, id="gen-nowhere")
    world.both("2026-11-25T10:00", 1.0)
    code, out = reconcile()
    assert code == 0
    assert lines(out)[-1] == ["total", "1.5", "1.5", "0", "3", "2", "1"]
    assert "the cost of 1 call of ours is not known" in out
    with closing(open_ledger(world.path)) as ledger:
        told = ledger.execute("SELECT spend, spend_e12, source, missing, input_tokens FROM calls WHERE call = 1")
        assert told.fetchone()[:4] == ("0.5", 500_000_000_000, "generation", None)


@pytest.mark.parametrize(
    ("asked", "provider", "filed", "kept"),
    [
        ("openrouter/auto", None, "a/model-20260101", "a/model-20260101"),
        ("a/model:nitro", None, "a/model-2026-01-01", "a/model:nitro"),
        ("a/model", None, "a/model-mini-2026-01-01", "a/model-mini-2026-01-01"),
        ("a/model", "P", "b/other-2026-01-01", "a/model"),
    ],
)
def test_a_look_up_tells_what_the_row_does_not_know(
    asked: str, provider: str | None, filed: str, kept: str, tmp_path: Path
) -> None:
    """Of the model where nothing had answered yet; tokens that the call told itself stay."""
    made = call(1, None, model=asked, provider=provider, id="gen-1")
    told = Usage(input_tokens=3, cache_creation_tokens=1)
    fill(tmp_path / "costs.db", [made._replace(reply=made.reply._replace(usage=told))])
    with closing(open_ledger(tmp_path / "costs.db")) as ledger:
        (unknown,) = own_side.unknown_in(ledger, own_side.Scope("openrouter.ai", ""))
        assert own_side.recover(ledger, unknown, Generation(id="gen-1", model=filed, total_cost=Decimal("0.5")))
        told_now = ledger.execute("SELECT model, spend, input_tokens, cache_creation_tokens FROM calls").fetchone()
    assert told_now == (kept, "0.5", 3, 1)


def test_providers_are_shown_where_they_are_known(world: World, reconcile: Reconcile) -> None:
    """By either side; they decide nothing."""
    world.charge("2026-11-25T10:00", cost=0.5, provider="A Cloud")
    world.write("2026-11-25T10:00", 0.5, provider=None)
    world.both("2026-11-25T11:00", 0.25, provider="B")
    code, out = reconcile()
    title, line, key, total = out.splitlines()[:4]
    assert (code, title.split()[-1]) == (0, "provider")
    assert line.endswith("  0  A Cloud, B, P")
    assert (key.split()[-1], total.split()[-1]) == ("0", "0")


def test_a_permanent_slug_is_the_model(world: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some replies name the model with its date."""
    from or_instrument.testing import _service  # noqa: PLC0415

    rows = _service.activity_rows
    monkeypatch.setattr(
        _service, "activity_rows", lambda *args: [{**row, "model_permaslug": "a/model-20260101"} for row in rows(*args)]
    )
    world.charge("2026-11-25T10:00", cost=0.5)
    world.write("2026-11-25T10:00", 0.5, model="a/model-20260101")
    assert lines(reconcile()[1])[0] == ["2026-11-25", "a/model", "0.5", "0.5", "0", "1", "1", "0"]


def test_other_hosts_do_not_count(world: World, reconcile: Reconcile) -> None:
    """Only OpenRouter's."""
    world.both("2026-11-25T10:00", 0.25)
    fill(world.path, [call(77, 9.0, "2026-11-25T10:00", host="api.openai.com")], api_key_hash=key_hash(OURS))
    assert reconcile()[0] == 0


@pytest.mark.parametrize(("percent", "code"), [("0.5", 1), ("1", 0), ("1%", 0), ("0", 1)])
def test_the_tolerance_is_a_part_of_the_total(percent: str, code: int, world: World, reconcile: Reconcile) -> None:
    """In per cent."""
    world.both("2026-11-25T10:00", 10.0)
    world.charge("2026-11-25T10:00", cost=0.1)
    assert reconcile("--tolerance", percent)[0] == code


@pytest.fixture
def with_own_key(world: World) -> World:
    """Return a world whose key makes calls."""
    world.fake.management_key = False
    return world


@pytest.fixture
def begun(with_own_key: World, reconcile: Reconcile) -> World:
    """Return one whose growth was noted as a start, at ten o'clock."""
    begin(with_own_key.path, "2026-11-26T09:00")
    reconcile(at="10:00")
    return with_own_key


def test_another_key_knows_its_growth(with_own_key: World, reconcile: Reconcile) -> None:
    """The first run notes the start; each later one compares what has come since the one before."""
    world = with_own_key
    begin(world.path, "2026-11-26T09:00")
    world.both("2026-11-26T10:00", 3.0)
    code, out = reconcile(at="11:00")
    assert code == 2
    assert "is noted as the start" in out
    world.both("2026-11-26T12:00", 0.5)
    code, out = reconcile(at="13:00")
    assert code == 0
    assert lines(out)[-1][-6:-3] == ["0.5", "0.5", "0"]
    assert "GET /key does not count calls" not in out
    world.both("2026-11-26T14:00", 0.25)
    world.charge("2026-11-26T14:00", cost=0.75)
    code, out = reconcile(at="15:00")
    assert code == 1
    assert "They differ by 0.75 USD." in out
    assert "- calls not seen by us may explain it" in out
    assert "GET /key does not count calls" in out
    world.write("2026-11-26T16:00", 0.5)
    assert "not seen by us" not in reconcile(at="17:00")[1]


@pytest.fixture
def over_midnight(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], tuple[int, str]]:
    """Return a function that runs the command; midnight passes before it looks at the clock for the n-th time."""

    def run(number: int) -> tuple[int, str]:
        looks = 0

        def look() -> int:
            nonlocal looks
            looks += 1
            moment = made_at("2026-11-26T23:59" if looks < number else "2026-11-27T00:01")
            world.fake.now = lambda: moment / 1e9
            return moment

        monkeypatch.setattr(command, "time_ns", look)
        code = main.main(["reconcile", "--ledger", str(world.path), "--base-url", world.fake.base_url])
        return code, "".join(capsys.readouterr())

    return run


def test_a_key_that_is_read_over_midnight_is_read_again(
    with_own_key: World, over_midnight: Callable[[int], tuple[int, str]]
) -> None:
    """What it told of today was of yesterday: the growth since midnight would be a whole day's."""
    begin(with_own_key.path, "2026-11-26T00:00")
    with_own_key.both("2026-11-26T10:00", 3.0)
    code, out = over_midnight(2)
    assert code == 0
    assert "since 2026-11-27" in out


def test_activity_that_is_asked_over_midnight_is_asked_again(
    world: World, over_midnight: Callable[[int], tuple[int, str]]
) -> None:
    """Of the oldest of thirty days OpenRouter may have told nothing any more; the day that has ended is compared."""
    for day in ("2026-10-27", "2026-10-28", "2026-11-26"):
        world.both(f"{day}T10:00", 3.0)
    code, out = over_midnight(3)
    assert code == 0
    assert [line[0] for line in lines(out)] == ["2026-10-28", "2026-11-26", "key", "total"]


def grown(out: str) -> list[str]:
    """Return ours, OpenRouter's, and the difference."""
    return lines(out)[-1][-6:-3]


def test_a_call_counts_once_and_when_it_ends(with_own_key: World, reconcile: Reconcile) -> None:
    """One that ends while the rows are read is in the next growth alone, and so is one under way at the reading."""
    world = with_own_key
    begin(world.path, "2026-11-26T09:00")
    assert reconcile(at="10:00")[0] == 2
    world.both("2026-11-26T10:30", 1.0)
    # Both are in the ledger before the rows are read, and charged after the reading.
    for minute in ("10:59", "11:00"):
        world.write(f"2026-11-26T{minute}", 0.5, lasts_s=90)
    assert grown(reconcile(at="11:00")[1]) == ["1", "1", "0"]
    for _ in range(2):
        world.charge("2026-11-26T11:01", cost=0.5)
    assert grown(reconcile(at="12:00")[1]) == ["1", "1", "0"]


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ("2026-11-20", ["2.5", "2.5", "0"]),
        ("2026-11-21", ["2.5", "2.5", "0"]),
        ("2026-11-24", ["0.5", "0.5", "0"]),
        ("2026-11-26", ["0.125", "0.125", "0"]),
    ],
)
def test_growth_since_a_day(since: str, told: list[str], with_own_key: World, reconcile: Reconcile) -> None:
    """From the first that is known of the key from that day on: a reading, or a day that the ledger covers."""
    world = with_own_key
    begin(world.path, "2026-11-20T09:00")
    reconcile(day=date(2026, 11, 22), at="10:00")
    world.both("2026-11-22T11:00", 2.0)
    reconcile(day=date(2026, 11, 24), at="10:00")
    world.both("2026-11-24T11:00", 0.375)
    world.both("2026-11-26T11:00", 0.125)
    code, out = reconcile("--since", since)
    assert (code, grown(out)) == (0, told)
    assert ("is not known; the first that is known is of 2026-11-22T10" in out) is (since < "2026-11-22")


def test_growth_since_a_day_of_which_nothing_is_known(with_own_key: World, reconcile: Reconcile) -> None:
    """It says so, and notes the usage for the next time."""
    begin(with_own_key.path, "2026-11-26T09:00")
    code, out = reconcile("--since", "2026-11-26", at="10:00")
    assert code == 2
    assert "no reading of this key from 2026-11-26 on" in out
    with_own_key.both("2026-11-26T11:00", 0.5)
    assert reconcile("--since", "2026-11-26")[0] == 0


def test_growth_is_kept_in_every_ledger(with_own_key: World, reconcile: Reconcile, tmp_path: Path) -> None:
    """In whichever order they are named the next time."""
    world, other = with_own_key, tmp_path / "other.db"
    for path in (world.path, other):
        begin(path, "2026-11-26T09:00")
    assert reconcile("--ledger", str(other), at="10:00")[0] == 2
    world.both("2026-11-26T11:00", 0.5)
    fill(other, [call(1, 0.25, "2026-11-26T11:00", host="127.0.0.1")], api_key_hash=key_hash(OURS))
    world.charge("2026-11-26T11:00", cost=0.25)
    world.path, other = other, world.path
    code, out = reconcile("--ledger", str(other))
    assert (code, grown(out)) == (0, ["0.75", "0.75", "0"])


def test_growth_outlives_pruning(with_own_key: World, reconcile: Reconcile) -> None:
    """What removed rows explained is carried forward, since the last run as since an earlier one."""
    world = with_own_key
    begin(world.path, "2026-11-20T09:00")
    reconcile(day=date(2026, 11, 20), at="10:00")
    world.both("2026-11-21T11:00", 2.0)
    reconcile(day=date(2026, 11, 22), at="10:00")
    world.both("2026-11-22T11:00", 0.25)
    world.charge("2026-11-22T11:00", cost=4.0)
    world.both("2026-11-24T11:00", 0.5)
    with closing(open_ledger(world.path)) as ledger:
        assert prune(ledger, "2026-11-23") == 2
        assert prune(ledger, "2026-11-23") == 0
    assert grown(reconcile("--since", "2026-11-20", at="12:00")[1]) == ["2.75", "6.75", "4"]
    assert grown(reconcile("--since", "2026-11-22", at="13:00")[1]) == ["0.75", "4.75", "4"]


def while_looking_up(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Have something done while what is not known is looked up, once."""
    to_do = [do]
    look_up = statement.look_up

    def looking_up(*args: Any) -> None:
        look_up(*args)
        if to_do:
            to_do.pop()()

    monkeypatch.setattr(statement, "look_up", looking_up)


def pruning(path: Path, day: str) -> Callable[[], object]:
    """Return a function that prunes a ledger."""

    def go() -> None:
        with closing(open_ledger(path)) as ledger:
            assert prune(ledger, day)

    return go


def test_growth_outlives_pruning_in_the_very_moment(
    with_own_key: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are removed between the reading of the start and that of the rows are carried forward, too."""
    world = with_own_key
    begin(world.path, "2026-11-20T09:00")
    reconcile(day=date(2026, 11, 20), at="10:00")
    world.both("2026-11-21T11:00", 2.0)
    while_looking_up(monkeypatch, pruning(world.path, "2026-11-23"))
    code, out = reconcile()
    assert (code, grown(out)) == (0, ["2", "2", "0"])


def test_a_window_that_is_pruned_meanwhile_is_no_start(
    with_own_key: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger covers it no longer; the next one is."""
    world = with_own_key
    world.both("2026-11-02T11:00", 2.0)
    world.both("2026-11-24T11:00", 0.5)
    while_looking_up(monkeypatch, pruning(world.path, "2026-11-03"))
    code, out = reconcile()
    assert (code, grown(out)) == (0, ["0.5", "0.5", "0"])
    assert "since 2026-11-23" in out


def test_days_that_are_pruned_meanwhile_are_not_compared(
    world: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are left are."""
    world.both("2026-11-24T13:00", 0.25)
    world.both("2026-11-25T10:00", 0.5)
    while_looking_up(monkeypatch, pruning(world.path, "2026-11-25"))
    code, out = reconcile()
    assert (code, lines(out)[-1][1:4]) == (0, ["0.5", "0.5", "0"])


def test_a_call_that_is_written_a_moment_later_counts(
    begun: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process writes it in a batch, after the service has charged it and the key was read."""
    world = begun
    world.charge("2026-11-26T11:59", cost=0.5)
    monkeypatch.setattr(command, "sleep", lambda _s: world.write("2026-11-26T11:59", 0.5))
    code, out = reconcile(at="12:00")
    assert (code, grown(out)) == (0, ["0.5", "0.5", "0"])


def test_a_run_that_comes_to_no_end_is_no_start(
    begun: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one compares what it would have."""
    world = begun
    world.charge("2026-11-26T11:00", cost=0.75)

    def fail() -> None:
        raise KeyboardInterrupt

    while_looking_up(monkeypatch, fail)
    with pytest.raises(KeyboardInterrupt):
        reconcile(at="12:00")
    assert "They differ by 0.75 USD." in reconcile(at="13:00")[1]


def test_a_reading_that_one_ledger_alone_knows_is_no_start_for_one_that_was_pruned_since(
    with_own_key: World, reconcile: Reconcile, tmp_path: Path
) -> None:
    """What the rows explained that were removed there is noted nowhere: the next reading that is known of both is."""
    world, other = with_own_key, tmp_path / "other.db"
    for path in (world.path, other):
        begin(path, "2026-10-20T09:00")
    reconcile(day=date(2026, 11, 20), at="10:00")
    world.charge("2026-11-21T11:00", cost=2.0)
    fill(other, [call(1, 2.0, "2026-11-21T11:00", host="127.0.0.1")], api_key_hash=key_hash(OURS))
    world.both("2026-11-24T11:00", 0.5)
    both = ("--ledger", str(other), "--since", "2026-11-20")
    with closing(open_ledger(other)) as ledger:
        prune(ledger, "2026-11-20")
        assert grown(reconcile(*both, at="12:00")[1]) == ["2.5", "2.5", "0"]
        prune(ledger, "2026-11-23")
    code, out = reconcile(*both, at="13:00")
    assert (code, grown(out)) == (0, ["0.5", "0.5", "0"])
    assert "the first that is known is of 2026-11-23." in out


def test_a_reading_of_a_clock_that_was_ahead_is_no_start(begun: World, reconcile: Reconcile) -> None:
    """The one before it is: no call would have come since, and all that the key has grown by would be a difference."""
    world = begun
    world.both("2026-11-26T10:30", 0.25)
    reconcile(at="15:00")
    world.both("2026-11-26T11:00", 0.5)
    code, out = reconcile(at="12:00")
    assert (code, grown(out)) == (0, ["0.75", "0.75", "0"])


@pytest.mark.parametrize(
    ("covered", "start"),
    [
        ("2026-10-31T10:00", "2026-11-01"),
        ("2026-11-01T00:00", "2026-11-01"),
        ("2026-11-01T00:01", "2026-11-23"),
        ("2026-11-10T10:00", "2026-11-23"),
        ("2026-11-25T10:00", "2026-11-26"),
    ],
)
def test_the_first_run_compares_the_longest_window_that_the_ledger_covers(
    covered: str, start: str, with_own_key: World, reconcile: Reconcile
) -> None:
    """The month, else the week from Monday, else today."""
    world = with_own_key
    begin(world.path, covered)
    world.both(covered, 4.0)
    world.both("2026-11-26T10:00", 0.5)
    code, out = reconcile()
    assert code == 0
    assert f"since {start}" in out


def test_a_day_that_the_ledger_covers_in_part_is_not_compared(world: World, reconcile: Reconcile) -> None:
    """The day on which it began: what was charged before was not to be written."""
    begin(world.path, "2026-11-24T12:00")
    world.charge("2026-11-24T10:00", cost=7.0)
    world.both("2026-11-24T13:00", 0.25)
    world.both("2026-11-25T10:00", 0.5)
    code, out = reconcile()
    assert (code, lines(out)[-1][1:4]) == (0, ["0.5", "0.5", "0"])
    assert "The ledger has every call from 2026-11-24T12:00:00.000000Z (UTC) on" in out
    assert "every call from" not in reconcile("--since", "2026-11-25")[1]
    assert "every call from" in reconcile("--since", "2026-11-24")[1]


def test_a_call_of_a_clock_that_was_wrong_makes_a_ledger_no_older(world: World, reconcile: Reconcile) -> None:
    """It has no other call of those days."""
    begin(world.path, "2026-11-24T12:00")
    world.write("2026-11-20T13:00", 0.25)
    world.charge("2026-11-21T13:00", cost=7.0)
    world.both("2026-11-25T10:00", 0.5)
    code, out = reconcile()
    assert (code, lines(out)[-1][1:4]) == (0, ["0.5", "0.5", "0"])


def test_pruned_days_are_not_compared(world: World, reconcile: Reconcile) -> None:
    """Of them the ledger has no rows."""
    world.both("2026-11-24T13:00", 0.25)
    world.both("2026-11-25T10:00", 0.5)
    with closing(open_ledger(world.path)) as ledger:
        prune(ledger, "2026-11-25")
    code, out = reconcile("--since", "2026-11-24")
    assert (code, lines(out)[-1][1:4]) == (0, ["0.5", "0.5", "0"])


@pytest.mark.parametrize("host", ["api.openai.com", None])
def test_an_account_is_not_compared_with_nothing(host: str | None, world: World, reconcile: Reconcile) -> None:
    """Where no call of ours is meant, nobody knows whose spending to compare: what the account spent is said."""
    if host is not None:
        fill(world.path, [call(77, 9.0, "2026-11-25T10:00", host=host)], api_key_hash=key_hash(OURS))
    world.charge("2026-11-25T10:00", cost=0.75)
    code, out = reconcile()
    assert code == 2
    assert "no call to 127.0.0.1 on these days" in out
    assert "have spent 0.75 USD in 1 request" in out


def test_what_keeps_it_from_asking_is_said(
    world: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2, and never a traceback."""
    begin(world.path, "2026-11-26T09:00")
    world.write("2026-11-26T10:00", 0.5)
    code, out = reconcile()
    assert code == 2
    assert "no day is complete yet" in out
    monkeypatch.setattr(account, "_KEY_TIMEOUT_S", 0.0)  # it is asked again for as long
    code, out = reconcile("--base-url", "http://me:secret@127.0.0.1:9/api/v1")
    assert code == 2
    assert "GET http://127.0.0.1:9/api/v1/key was asked" in out
    assert "refused" in out
    monkeypatch.delenv("OPENROUTER_API_KEY")
    assert main.main(["reconcile", "--ledger", str(world.path)]) == 2
    assert "OPENROUTER_API_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["schl\u00fcssel", "sk-or\nours"])
def test_a_key_that_cannot_be_sent_is_said(
    key: str, world: World, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked, and without the key."""
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENROUTER_API_KEY has a character that no HTTP header can carry") as told:
        reconcile()
    assert key not in str(told.value)
    assert world.fake.requests == []


@pytest.mark.parametrize("wrong", ["https://[", "openrouter.ai/api/v1", "ftp://openrouter.ai", "http://a:b", ""])
def test_what_is_no_url_is_said(wrong: str, reconcile: Reconcile, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2, as 1 would say that the sums differ."""
    with pytest.raises(SystemExit, match="2"):
        reconcile("--base-url", wrong)
    assert "is no URL such as https://openrouter.ai/api/v1" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def _no_exception_text(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert OURS not in caplog.text
