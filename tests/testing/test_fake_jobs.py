"""The fake's batches and videos, as the official `openrouter` SDK submits them and asks after them."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from or_instrument.testing import Answer, FakeOpenRouter, errors

pytest.importorskip("openrouter")

from openrouter import OpenRouter, components

if TYPE_CHECKING:
    from collections.abc import Iterator

# The official SDK warns of its own deprecated fields, and a library of its own warns when imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
REQUESTS = [
    {"custom_id": f"r-{number}", "body": {"messages": [{"role": "user", "content": "hi"}]}} for number in range(2)
]


@pytest.fixture
def fake() -> Iterator[FakeOpenRouter]:
    """Return a served fake."""
    with FakeOpenRouter() as served:
        yield served


@pytest.fixture
def client(fake: FakeOpenRouter) -> Iterator[OpenRouter]:
    """Return the official SDK, pointed at the fake."""
    with OpenRouter(api_key="sk-or-test", server_url=fake.base_url) as made:
        yield made


def submitted(client: OpenRouter, fake: FakeOpenRouter) -> Any:
    """Submit a batch of two."""
    return client.batch.create_batches(
        endpoint="/v1/chat/completions", model="a/model", requests=REQUESTS, server_url=fake.base_url
    )


def polled(client: OpenRouter, fake: FakeOpenRouter, batch: Any) -> Any:
    """Ask after a batch."""
    return client.batch.get_batches(id=batch.id, server_url=fake.base_url)


def test_batch_is_charged_when_it_is_done(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """A batch costs nothing while it runs; the poll that finds it done shows its cost, which is charged once."""
    batch = submitted(client, fake)
    assert batch.status == "validating"
    running = polled(client, fake, batch)
    assert (running.status, running.usage, fake.charged_usd) == ("in_progress", None, 0)
    done = [polled(client, fake, batch) for _ in range(2)]
    assert [found.status for found in done] == ["completed", "completed"]
    assert Decimal(str(done[0].usage.cost)) == fake.charged_usd > 0
    assert [result.custom_id for result in done[0].results] == ["r-0", "r-1"]


def test_byok_batch_tells_the_fee_only(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """A BYOK batch tells what OpenRouter charged, and nothing of the provider's bill."""
    fake.job_polls = 0
    fake.script(Answer(byok=True, cost=0.25, upstream=5))
    usage = polled(client, fake, submitted(client, fake)).usage
    assert (usage.cost, usage.is_byok, usage.cost_details) == (0.25, True, None)
    assert (fake.charged_usd, fake.byok_usd) == (Decimal("0.25"), 5)


def test_list_shows_finished_batches_with_their_cost(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """The list of batches is newest first, and a finished one tells its usage there too, without its results."""
    fake.job_polls = 0
    first = submitted(client, fake)
    fake.job_polls = 1
    second = submitted(client, fake)
    listed = client.batch.list(server_url=fake.base_url).result.data
    assert [item.id for item in listed] == [second.id, first.id]
    assert [item.usage is None for item in listed] == [True, False]


def test_failed_batch_says_why(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """A batch that fails has a message, no results, and costs nothing."""
    fake.job_polls = 0
    fake.script(Answer(midstream_error={"code": 500, "message": "The provider gave up"}))
    found = polled(client, fake, submitted(client, fake))
    assert (found.status, found.error.message, found.results) == ("failed", "The provider gave up", None)
    assert fake.charged_usd == 0


def test_video_is_charged_when_it_is_done(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """A video's POST answers with a generation id and no cost; the poll that finds it done shows the cost."""
    fake.script(Answer(cost=0.5))
    video = client.video_generation.generate(model="a/model", prompt="a cat")
    assert video.id == video.generation_id
    assert video.id.startswith("gen-vid-")
    found = [client.video_generation.get_generation(job_id=video.id) for _ in range(2)]
    assert [(one.status, one.usage and one.usage.cost) for one in found] == [("pending", None), ("completed", 0.5)]
    assert fake.charged_usd == Decimal("0.5")


def test_refused_job_is_none(fake: FakeOpenRouter, client: OpenRouter) -> None:
    """A job that is refused at its submission is answered by the error and is in no list."""
    fake.script(errors.insufficient_credits())
    with pytest.raises(Exception, match="Insufficient credits"):
        submitted(client, fake)
    assert client.batch.list(server_url=fake.base_url).result.data == []


@pytest.mark.parametrize("path", ["v1/batches", "beta/batches"])
def test_batches_have_two_addresses(fake: FakeOpenRouter, path: str) -> None:
    """Batches are taken below `v1` and below `beta`."""
    url = fake.base_url.removesuffix("v1") + path
    data = json.dumps({"model": "a/model", "endpoint": "/v1/chat/completions", "requests": REQUESTS}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request) as response:  # noqa: S310
        assert components.BatchObject.model_validate_json(response.read()).status == "validating"
