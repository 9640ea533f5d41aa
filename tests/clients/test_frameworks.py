"""Frameworks and other clients: the same result with and without us, and one record for each call, with its bill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import frameworks_on_http
import frameworks_on_openai
import pytest
from framework import Drive
from in_memory import Telemetry

from or_instrument.testing import Answer, FakeOpenRouter

# The frameworks leave it to the garbage collector to close their clients, and warn of many things of their own; a
# coroutine that is never awaited may be ours.
pytestmark = pytest.mark.filterwarnings("ignore", "error::RuntimeWarning")
SEEN_BY = {"openai": frameworks_on_openai.DRIVES, "httpx": frameworks_on_http.DRIVES}
DRIVES = [(client, drive) for client, drives in SEEN_BY.items() for drive in drives]


def drives(*, is_async: bool) -> Sequence[object]:
    """Return the parameters of a test: who sees a drive, and the drive."""
    return [pytest.param(*each, id=each[1].name) for each in DRIVES if each[1].is_async is is_async]


def check(telemetry: Telemetry, fake: FakeOpenRouter, client: str, asked: int, spent: Decimal) -> None:
    """Compare the records with the books of the fake since it had been asked so often and had been paid so much."""
    calls = telemetry.settle().calls
    assert [call.request.parameters["openrouter.client"] for call in calls] == [client] * (len(fake.requests) - asked)
    assert sum(Decimal(str(call.spend)) for call in calls) == fake.spend_usd - spent
    assert telemetry.total("gen_ai.usage.cost") == float(fake.spend_usd - spent)
    assert len(telemetry.spans()) == len(calls)


@pytest.mark.parametrize(("client", "drive"), drives(is_async=False))
def test_same_result_and_one_record(
    fake: FakeOpenRouter, instrumented: Callable[..., Telemetry], client: str, drive: Drive
) -> None:
    """The result does not depend on us, and each call is recorded once, with its cost and what the provider bills."""
    drive.require()
    fake.default = Answer(byok=True)
    without = drive.run(fake)
    asked, spent = len(fake.requests), fake.spend_usd
    telemetry = instrumented()
    assert drive.run(fake) == without
    check(telemetry, fake, client, asked, spent)


@pytest.mark.anyio
@pytest.mark.parametrize(("client", "drive"), drives(is_async=True))
async def test_same_result_and_one_record_async(
    fake: FakeOpenRouter, instrumented: Callable[..., Telemetry], client: str, drive: Drive
) -> None:
    """The same where a task awaits the result."""
    drive.require()
    fake.default = Answer(byok=True)
    without = await drive.run(fake)
    asked, spent = len(fake.requests), fake.spend_usd
    telemetry = instrumented()
    assert await drive.run(fake) == without
    check(telemetry, fake, client, asked, spent)
