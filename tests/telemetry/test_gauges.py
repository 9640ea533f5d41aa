"""The account's limit and usage are gauges that are read in the background and never make a collection wait."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import odd_account
import openai
import pytest
from filled_ledger import call, fill
from fresh_install import until
from odd_account import OddAccount
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from or_instrument import (
    AccountGauges,
    ConfigError,
    KeyStatus,
    LookupFailed,
    flush,
    instrument,
    observe_account,
    uninstrument,
)
from or_instrument._money import account_requests as _requests
from or_instrument._money import own_side
from or_instrument._money.entry import utc
from or_instrument._money.prune import prune
from or_instrument._money.readings import Reading
from or_instrument._money.schema import open_ledger
from or_instrument._money.unattributed import Unattributed
from or_instrument._openrouter.account import read_key
from or_instrument._telemetry import gauges as gauges_module


@pytest.fixture
def fake() -> Iterator[OddAccount]:
    """Return a running service with odd answers."""
    with OddAccount() as service:
        yield service  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _all_has_been_read(fake: OddAccount) -> Iterator[None]:
    """No thread is in the midst of reading when the service goes: seconds later it would complain in another test."""
    yield
    fake.gate.set()
    for thread in threading.enumerate():
        if thread.name == "or_instrument-account":
            thread.join(60)


class Meter:
    """A provider of its own, and what it has collected."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def _metrics(self) -> list[Any]:
        data: Any = self._reader.get_metrics_data()
        return [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []

    def values(self) -> dict[str, float]:
        """Return the value of every gauge now, by the last word of its name."""
        return {
            metric.name.rpartition(".")[2]: point.value
            for metric in self._metrics()
            for point in metric.data.data_points
        }

    def keys(self, gauge: str) -> set[object]:
        """Return of which keys a gauge tells, by their attribute."""
        return {point.attributes["key"] for m in self._metrics() if m.name == gauge for point in m.data.data_points}


@pytest.fixture
def meter() -> Iterator[Meter]:
    """Return a meter."""
    made = Meter()
    yield made
    made.provider.shutdown()


def status(**data: Any) -> KeyStatus:
    """Return what a key's status reads as."""
    return read_key({"data": data})


def test_limit_and_usage_are_shown(fake: OddAccount, client: openai.OpenAI, meter: Meter) -> None:
    """The four amounts of the key that a client uses become gauges, in USD, without anybody asking."""
    fake.key_limit_usd = 2.5
    with observe_account(client, meter_provider=meter.provider) as gauges:
        fake.wait_for(lambda: len(fake.requests) == 1)
        gauges.refresh()
        values = meter.values()
        assert (values["limit"], values["limit_remaining"], values["usage"], values["byok_usage"]) == (2.5, 2.5, 0, 0)
        assert values["age"] >= 0


@pytest.mark.anyio
async def test_an_async_client_will_do(fake: OddAccount, aclient: openai.AsyncOpenAI, meter: Meter) -> None:
    """An async client's key is read too, in a thread, so that its loop never waits."""
    with observe_account(aclient, meter_provider=meter.provider) as gauges:
        gauges.refresh()
    assert {request.headers["authorization"] for request in fake.lookups()} == {"Bearer sk-or-test"}


def test_several_keys_are_shown_side_by_side(fake: OddAccount, client: openai.OpenAI, meter: Meter) -> None:
    """Told apart by their attributes; one that is closed is shown no more, and may be observed anew."""
    fake.key_limit_usd = 2.5
    other = client.copy(api_key="sk-or-other")
    with observe_account(client, meter_provider=meter.provider, attributes={"key": "a"}) as one:
        one.refresh()
        for _again in range(2):
            with observe_account(other, meter_provider=meter.provider, attributes={"key": "b"}) as another:
                another.refresh()
                assert meter.keys("openrouter.account.limit") == {"a", "b"}
                assert meter.keys("openrouter.account.age") == {"a", "b"}
            assert meter.keys("openrouter.account.limit") == {"a"}


def test_a_provider_that_becomes_the_global_one_shows_all(
    client: openai.OpenAI, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was observed with it before, and one that is observed with the global one."""
    with observe_account(client, meter_provider=meter.provider, attributes={"key": "a"}) as one:
        one.refresh()
        monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: meter.provider)
        with observe_account(client.copy(api_key="sk-or-other"), attributes={"key": "b"}) as another:
            another.refresh()
            assert meter.keys("openrouter.account.age") == {"a", "b"}


def test_failed_read_keeps_the_last_value_and_its_age(meter: Meter) -> None:
    """When a read fails, the last values stay, and their age grows."""
    now = 100.0
    answers: list[Any] = [status(usage=1.5, limit=None), LookupFailed("GET /key", 1, "HTTP 500"), status(usage=2)]

    def read() -> KeyStatus:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    gauges = AccountGauges(read, 3600, {"team": "a"}, clock=lambda: now)
    gauges.show(meter.provider)
    assert meter.values() == {}
    gauges.refresh()
    now = 130.0
    assert meter.values() == {"usage": 1.5, "age": 30}
    gauges.refresh()
    now = 190.0
    assert meter.values() == {"usage": 1.5, "age": 90}
    gauges.refresh()
    assert meter.values() == {"usage": 2, "age": 0}
    gauges.close()
    assert meter.values() == {}


def test_a_ledger_that_cannot_be_read_lets_the_age_grow(meter: Meter) -> None:
    """What was compared last stays, and somebody may be told that it is old; the account itself is shown as read."""
    now = 100.0
    compared: list[Any] = [Decimal("0.5"), OSError("gone"), Decimal("0.25")]

    def compare(_status: KeyStatus, _key: object) -> Decimal:
        answer = compared.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    usages = iter((1, 2, 3))
    gauges = AccountGauges(lambda: status(usage=next(usages)), 3600, clock=lambda: now, unattributed=compare)
    gauges.show(meter.provider)
    gauges.refresh()
    now = 160.0
    gauges.refresh()
    assert meter.values() == {"usage": 2, "age": 60, "unattributed": 0.5}
    gauges.refresh()
    assert meter.values() == {"usage": 3, "age": 0, "unattributed": 0.25}
    gauges.close()


def test_nothing_is_shown_before_the_first_answer(fake: OddAccount, client: openai.OpenAI, meter: Meter) -> None:
    """While the service hangs, a collection does not wait and shows nothing."""
    fake.answers = [fake.hanging()]
    with observe_account(client, meter_provider=meter.provider):
        fake.wait_for(lambda: len(fake.requests) == 1)
        assert meter.values() == {}
        fake.gate.set()


def test_failures_are_logged_once(
    fake: OddAccount,
    client: openai.OpenAI,
    meter: Meter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A service that answers nonsense again and again is one line in the log at most."""
    monkeypatch.setattr(_requests, "FIRST_WAIT_S", 0.0)
    fake.answers = [odd_account.html(), odd_account.status(401), odd_account.body([])]
    with observe_account(client, meter_provider=meter.provider) as gauges:
        fake.wait_for(lambda: len(fake.requests) == 1)
        gauges.refresh()
        gauges.refresh()
    assert sum("reading the account" in record.message for record in caplog.records) <= 1
    assert meter.values() == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_reads_for_itself(fake: OddAccount, client: openai.OpenAI, meter: Meter) -> None:
    """A child process that is forked off reads in a thread of its own, once its gauges are looked at, not before."""
    with observe_account(client, meter_provider=meter.provider):
        fake.wait_for(lambda: len(fake.requests) == 1)
        child = os.fork()
        if child == 0:
            try:
                meter.values()
                fake.gate.wait(30)
            finally:
                os._exit(0)
        try:
            fake.wait_for(lambda: len(fake.requests) == 2)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.parametrize("every_s", [0, 0.5, -1, float("nan"), float("inf"), "60", True])
def test_what_is_no_interval_is_refused(every_s: Any, client: openai.OpenAI) -> None:
    """An interval below a second, or none at all, is a ConfigError that names the value."""
    with pytest.raises(ConfigError, match=r"every_s=.* is not allowed; allowed: seconds, at least 1"):
        observe_account(client, every_s)


@pytest.mark.parametrize("attributes", ["sk-or-secret", None, ["account"], {5: "production"}])
def test_attributes_that_are_no_mapping_from_names_are_refused(attributes: Any, client: openai.OpenAI) -> None:
    """The ConfigError does not show them: they may be the key."""
    with pytest.raises(ConfigError, match=r"attributes is this \w+; allowed: a mapping from names") as caught:
        observe_account(client, attributes=attributes)
    assert "secret" not in str(caught.value)


KEY_HASH = hashlib.sha256(b"sk-or-test").hexdigest()


def book(path: Path, *calls: Any) -> None:
    """Write calls of the client's key to the fake into a ledger, each with its number."""
    fill(path, calls, api_key_hash=KEY_HASH)


def read(usage: Decimal) -> Reading:
    """Return a reading that is taken now."""
    return Reading(utc(time.time_ns()), usage)


def test_what_no_call_explains_is_shown(tmp_path: Path) -> None:
    """Since the ledger's first reading: growth less the cost of the key's calls, also those looked up later; signed."""
    path, soon = tmp_path / "costs.db", "2100-01-01T00:00"
    book(path, call(1, 7.0, host="h"))
    account = Unattributed(str(path), "h", KEY_HASH)
    assert account.refresh(read(Decimal(10))) == 0
    book(path, call(2, 0.25, soon, host="h"), call(3, None, soon, host="h", id="gen-3"))
    assert account.refresh(read(Decimal("10.75"))) == Decimal("0.5")
    book(path, call(3, 0.125, soon, host="h", id="gen-3"))
    assert account.refresh(read(Decimal("10.75"))) == Decimal("0.375")
    book(path, call(4, 1.0, soon, host="h"), call(5, 50.0, soon, host="elsewhere"))
    assert account.refresh(read(Decimal("10.75"))) == Decimal("-0.625")
    later = Unattributed(str(path), "h", KEY_HASH)
    assert later.refresh(read(Decimal("10.75"))) == Decimal("-0.625")
    assert Unattributed(str(path), "h", "another key").refresh(read(Decimal(3))) == 0


def test_a_ledger_that_is_locked_for_a_moment_is_compared_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while somebody makes the file, or writes into it."""
    path = tmp_path / "costs.db"
    book(path, call(1, 7.0, host="h"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def wait(_s: float) -> None:
            if other.in_transaction:
                other.execute("ROLLBACK")

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=wait)
        monkeypatch.setattr("or_instrument._money.unattributed.time", clock)
        assert Unattributed(str(path), "h", KEY_HASH).refresh(read(Decimal(10))) == 0


def test_rows_that_were_removed_stay_explained(tmp_path: Path) -> None:
    """Also where all are, after which their numbers begin again."""
    path, soon = tmp_path / "costs.db", "2100-01-01T00:00"
    account = Unattributed(str(path), "h", KEY_HASH)
    account.refresh(read(Decimal(0)))
    book(path, call(1, 0.5, soon, host="h"), call(2, 0.5, soon, host="h"))
    assert account.refresh(read(Decimal(1))) == 0
    with closing(open_ledger(path)) as ledger:
        assert prune(ledger, "2100-01-02") == 2
    book(path, call(3, 0.25, soon, host="h"))
    assert account.refresh(read(Decimal("1.25"))) == 0
    assert Unattributed(str(path), "h", KEY_HASH).refresh(read(Decimal("1.25"))) == 0


def test_a_call_that_gets_the_number_of_a_removed_one_counts(tmp_path: Path) -> None:
    """Also where what was removed had cost the key nothing."""
    path, soon = tmp_path / "costs.db", "2100-01-01T00:00"
    account = Unattributed(str(path), "h", KEY_HASH)
    account.refresh(read(Decimal(0)))
    with closing(open_ledger(path)) as ledger:
        prune(ledger, "2100-01-02")
        book(path, call(1, 7.0, soon, host="elsewhere"))
        assert account.refresh(read(Decimal(0))) == 0
        assert prune(ledger, "2100-01-02") == 1
    book(path, call(2, 0.25, "2100-01-03T00:00", host="h"))
    assert account.refresh(read(Decimal("0.25"))) == 0


def test_a_first_reading_by_a_clock_that_was_ahead_is_none(tmp_path: Path) -> None:
    """Calls that end before that moment comes explain what the key was charged for them."""
    path = tmp_path / "costs.db"
    account = Unattributed(str(path), "h", KEY_HASH)
    account.refresh(Reading("2100-01-01T00:00:00.000000Z", Decimal(1)))
    assert account.refresh(Reading("2026-11-26T12:00:00.000000Z", Decimal(1))) == 0
    book(path, call(1, 0.25, "2026-11-26T13:00", host="h"))
    assert account.refresh(Reading("2026-11-26T14:00:00.000000Z", Decimal("1.25"))) == 0


def test_a_key_that_takes_the_place_of_another_begins_anew(client: openai.OpenAI, meter: Meter, tmp_path: Path) -> None:
    """What the former one had been charged is none of its growth."""
    instrument(hosts=["127.0.0.1"], ledger=tmp_path / "costs.db")
    client.chat.completions.create(model="a/model", messages=[])
    with observe_account(client, meter_provider=meter.provider, every_s=3600) as gauges:
        gauges.refresh()
        client.api_key = "sk-or-next"
        gauges.refresh()
        assert meter.values()["unattributed"] == 0


def test_a_key_that_changes_while_it_is_read_is_no_reading_of_the_next(
    client: openai.OpenAI, meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the former one was charged is noted for neither."""
    instrument(hosts=["127.0.0.1"], ledger=tmp_path / "costs.db")
    client.chat.completions.create(model="a/model", messages=[])
    read = gauges_module._read
    with observe_account(client, meter_provider=meter.provider, every_s=3600) as gauges:
        # That of the thread, which would otherwise be one that changes it.
        until(lambda: gauges._last is not None, "the first reading")

        def changing(asking: Any) -> KeyStatus:
            told = read(asking)
            client.api_key = "sk-or-next"
            return told

        monkeypatch.setattr(gauges_module, "_read", changing)
        gauges.refresh()
        assert "unattributed" not in meter.values()
        gauges.refresh()
        assert meter.values()["unattributed"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_no_fork_is_made_while_a_ledger_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child would have what SQLite had locked in that moment, and wait for it for ever."""
    inside, compared = threading.Event(), list[bool]()
    coverage_of = own_side.coverage_of

    def slowly(ledger: Any) -> Any:
        inside.set()
        time.sleep(0.2)
        compared.append(True)
        return coverage_of(ledger)

    account = Unattributed(str(tmp_path / "costs.db"), "h", KEY_HASH)
    monkeypatch.setattr(own_side, "coverage_of", slowly)
    thread = threading.Thread(target=account.refresh, args=(read(Decimal(1)),))
    thread.start()
    inside.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        os._exit(0 if compared else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_a_call_under_way_at_the_first_reading_explains_growth(tmp_path: Path) -> None:
    """It is charged when it ends; one that had ended before is none of the growth."""
    path = tmp_path / "costs.db"
    account = Unattributed(str(path), "h", KEY_HASH)
    assert account.refresh(read(Decimal(10))) == 0
    book(
        path,
        call(1, 0.5, "2000-01-01T00:00", host="h")._replace(duration_s=4e9),
        call(2, 7.0, "2000-01-01T00:00", host="h"),
    )
    assert account.refresh(read(Decimal("10.5"))) == 0


def test_a_call_that_ends_while_the_ledger_is_opened_explains_growth(
    client: openai.OpenAI, meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reading is of the moment of the service's answer, however long the ledger takes to be opened."""
    calls: list[Any] = []

    def open_late(*args: Any, **kwargs: Any) -> Any:
        if not calls:
            calls.append(client.chat.completions.create(model="a/model", messages=[]))
        return open_ledger(*args, **kwargs)

    monkeypatch.setattr("or_instrument._money.unattributed.open_ledger", open_late)
    instrument(hosts=["127.0.0.1"], ledger=tmp_path / "costs.db")
    with observe_account(client, meter_provider=meter.provider) as gauges:
        gauges.refresh()
        flush()
        gauges.refresh()
        assert len(calls) == 1
        assert meter.values()["unattributed"] == 0


def test_a_ledger_shows_what_another_client_spends(
    fake: OddAccount, client: openai.OpenAI, meter: Meter, tmp_path: Path
) -> None:
    """What was charged while the calls were not recorded; without a ledger there is no such gauge."""
    ask: Any = {"model": "a/model", "messages": []}
    instrument(hosts=["127.0.0.1"], ledger=tmp_path / "costs.db")
    with observe_account(client, meter_provider=meter.provider) as gauges:
        gauges.refresh()
        client.chat.completions.create(**ask)
        flush()
        gauges.refresh()
        assert meter.values()["unattributed"] == 0
        uninstrument()
        client.chat.completions.create(**ask)
        instrument(hosts=["127.0.0.1"], ledger=tmp_path / "costs.db")
        gauges.refresh()
        assert meter.values()["unattributed"] == pytest.approx(float(fake.charged_usd) / 2)
    uninstrument()
    with observe_account(client, meter_provider=meter.provider, attributes={"n": "2"}) as gauges:
        gauges.refresh()
        assert "unattributed" not in meter.values()


def budget_points(meter: Meter) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return what each budget shows, by the last word of the gauge and the values of its labels."""
    data: Any = meter._reader.get_metrics_data()
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if ".budget." in m.name]
    told = [(metric.name.rpartition(".")[2], point) for metric in metrics for point in metric.data.data_points]
    return {(name, tuple(value for _, value in sorted(point.attributes.items()))): point.value for name, point in told}


def test_each_budget_of_a_key_is_shown(fake: OddAccount, client: openai.OpenAI, meter: Meter) -> None:
    """With what it is for, how often it begins anew and its id as labels; the time of that is a value, not a label."""
    fake.now = lambda: 1_795_000_000.0  # 2026-11-18
    fake.key_limit_usd = 5
    fake.key_budgets = [
        {"scope": "workspace", "limit_usd": 2, "reset_interval": "daily", "budget_id": "b-1"},
        {"scope": "workspace", "limit_usd": 9, "reset_interval": None, "guardrail_id": "g-1"},
    ]
    with observe_account(client, meter_provider=meter.provider) as gauges:
        gauges.refresh()
        assert budget_points(meter) == {
            ("limit", ("b-1", "daily", "workspace")): 2,
            ("spend", ("b-1", "daily", "workspace")): 0,
            ("remaining", ("b-1", "daily", "workspace")): 2,
            ("resets_at", ("b-1", "daily", "workspace")): 1_795_046_400,
            ("limit", ("g-1", "workspace")): 9,
            ("spend", ("g-1", "workspace")): 0,
            ("remaining", ("g-1", "workspace")): 9,
            ("limit", ("monthly", "key_limit")): 5,
            ("spend", ("monthly", "key_limit")): 0,
            ("remaining", ("monthly", "key_limit")): 5,
            ("resets_at", ("monthly", "key_limit")): 1_796_083_200,
        }


@pytest.mark.parametrize("said", [True, "many", None, [], float("nan"), 10**400, {}])
def test_what_is_no_number_of_a_budget_is_not_shown(said: Any, meter: Meter) -> None:
    """Overspent, what is left is negative; the rest stays."""
    budget = {"scope": "s", "limit_usd": said, "remaining_usd": -0.5, "resets_at": said}
    gauges = AccountGauges(lambda: status(budgets=[budget]), 60)
    gauges.show(meter.provider)
    gauges.refresh()
    assert budget_points(meter) == {("remaining", ("s",)): -0.5}
