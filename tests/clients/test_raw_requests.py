"""What lies under a streamed response of requests is read by its own `read`: seen once, whichever way."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from in_memory import Telemetry

from or_instrument.testing import Answer, FakeOpenRouter

requests = pytest.importorskip("requests")
BODY: Any = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}]}


def opened(fake: FakeOpenRouter, **more: Any) -> Any:
    """Return a response whose body has not been read."""
    return requests.post(f"{fake.base_url}/chat/completions", json={**BODY, **more}, stream=True, timeout=5)


@pytest.mark.parametrize("amount", [None, -1, 7])
def test_raw_read(fake: FakeOpenRouter, telemetry: Telemetry, amount: int | None) -> None:
    """Whole, or in pieces up to the empty one: one complete call with its bill."""
    with opened(fake) as response:
        data = response.raw.read() if amount is None else response.raw.read(amount)
        while amount == 7 and (piece := response.raw.read(amount)):
            data += piece
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", json.loads(data)["usage"]["cost"])


def test_raw_read_of_encoded_bytes_tells_no_bill(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """What is read without being decoded cannot be read by us either: the cost stays unknown."""
    data = gzip.compress(json.dumps({"id": "gen-1", "usage": {"cost": 0.5}}).encode())
    fake.default = Answer(body=data, headers={"content-encoding": "gzip"})
    with opened(fake) as response:
        assert response.raw.read(decode_content=False) == data
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.usage, call.missing) == ("complete", None, "no_usage")


def test_raw_read_that_breaks_is_an_error(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """The exception is the user's, and the call's failure."""
    fake.script(Answer(abort_after=1))
    with opened(fake, stream=True) as response, pytest.raises(Exception, match=r"\w") as caught:
        response.raw.read()
    (call,) = telemetry.settle().calls
    assert call.outcome == "error"
    assert call.failure is not None
    assert call.failure.type.endswith(caught.type.__name__)


def test_what_others_have_put_on_since_stays(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """Another library may have replaced a hook of ours by one that calls it."""
    with opened(fake) as response:
        ours = response.raw.read

        def theirs(*args: Any, **kwargs: Any) -> Any:
            return ours(*args, **kwargs)

        response.raw.read = theirs
        response.raw.read()
        assert response.raw.read is theirs
    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]
