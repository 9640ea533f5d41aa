"""The account's limit and usage are gauges that are read in the background and never make a collection wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import odd_account
import openai
import pytest
from odd_account import OddAccount
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from or_instrument import AccountGauges, ConfigError, KeyStatus, LookupFailed, observe_account
from or_instrument._money import account as _account
from or_instrument._openrouter.account import read_key


@pytest.fixture
def fake() -> Iterator[OddAccount]:
    """Return a running service with odd answers."""
    with OddAccount() as service:
        yield service  # type: ignore[misc]


class Meter:
    """A provider of its own, and what it has collected."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def values(self) -> dict[str, float]:
        """Return the value of every gauge now, by the last word of its name."""
        data: Any = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return {metric.name.rpartition(".")[2]: point.value for metric in metrics for point in metric.data.data_points}


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
    gauges.show(meter.provider.get_meter("test"))
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
    monkeypatch.setattr(_account, "FIRST_WAIT_S", 0.0)
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
