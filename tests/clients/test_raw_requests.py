"""What lies under a streamed response of requests is read by its own `read`: seen once, whichever way."""

from __future__ import annotations

import functools
import gzip
import io
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from in_memory import Telemetry

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

requests = pytest.importorskip("requests")
urllib3 = pytest.importorskip("urllib3")
BODY: Any = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}]}


def opened(fake: FakeOpenRouter, **more: Any) -> Any:
    """Return a response whose body has not been read."""
    return requests.post(f"{fake.base_url}/chat/completions", json={**BODY, **more}, stream=True, timeout=60)


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


def test_raw_read_of_bytes_that_say_they_are_not_encoded(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """The encoding `identity` is none: such an answer has its bill."""
    fake.default = Answer(body=b'{"id": "gen-1", "usage": {"cost": 0.5}}', headers={"content-encoding": "identity"})
    with opened(fake) as response:
        response.raw.read()
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", 0.5)


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


def by_read1(raw: Any) -> bytes:
    """Read by `read1` of so much, up to the empty piece."""
    return b"".join(iter(lambda: raw.read1(7), b""))


def by_read1_of_all(raw: Any) -> bytes:
    """Read by `read1` of whatever there is, up to the empty piece."""
    return raw.read1() + b"".join(iter(lambda: raw.read1(-1), b""))


def by_text_lines(raw: Any) -> bytes:
    """Read lines of text, as urllib3 says how."""
    raw.auto_close = False
    return "".join(io.TextIOWrapper(raw, encoding="utf-8", newline="")).encode()


def by_readinto(raw: Any) -> bytes:
    """Read into one buffer."""
    buffer, data = bytearray(7), b""
    while count := raw.readinto(buffer):
        data += buffer[:count]
    return data


def by_copying(raw: Any) -> bytes:
    """Read as `shutil` does."""
    copy = io.BytesIO()
    shutil.copyfileobj(raw, copy, 7)
    return copy.getvalue()


WAYS: dict[str, Callable[[Any], bytes]] = {
    "text wrapper": lambda raw: io.TextIOWrapper(raw, encoding="utf-8", newline="").read().encode(),
    "lines of a text wrapper": by_text_lines,
    "buffered": lambda raw: io.BufferedReader(raw).read(),
    "read_chunked": lambda raw: b"".join(raw.read_chunked()),
    "readinto": by_readinto,
    "lines": b"".join,
    "readline": lambda raw: b"".join(iter(raw.readline, b"")),
    "readlines": lambda raw: b"".join(raw.readlines()),
    "data": lambda raw: raw.data,
    "copied": by_copying,
}
if hasattr(urllib3.HTTPResponse, "read1"):  # since 2.2
    WAYS |= {"read1": by_read1, "read1 of all": by_read1_of_all}


@pytest.mark.parametrize(
    ("way", "is_streamed"),
    [*((way, True) for way in WAYS), *((way, False) for way in WAYS if way != "read_chunked")],
)
def test_raw_is_read_in_every_way(fake: FakeOpenRouter, telemetry: Telemetry, way: str, is_streamed: bool) -> None:
    """The call is complete and has its bill, and the bytes are those that were sent."""
    with opened(fake, stream=is_streamed) as response:
        data = WAYS[way](response.raw)
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", float(fake.charged_usd))
    or_instrument.uninstrument()
    with opened(fake, stream=is_streamed) as response:
        assert len(WAYS[way](response.raw)) == len(data)


class _InMemory(requests.adapters.HTTPAdapter):  # type: ignore[misc]
    """An adapter that answers by a file in memory, as test doubles and caches do."""

    def send(self, request: Any, **_: Any) -> Any:
        """Answer without any connection."""
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response.raw = io.BytesIO(b'{"id": "gen-1", "usage": {"cost": 0.5}}')
        return response


def test_any_file_in_the_place_of_a_response_of_urllib3(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """An adapter may put one there: the caller reads it as without us, and its bill is seen."""
    with requests.Session() as session:
        session.mount("http://", _InMemory())
        response = session.post(f"{fake.base_url}/chat/completions", json=BODY, stream=True)
        assert response.json()["usage"] == {"cost": 0.5}
    (call,) = telemetry.settle().calls
    assert (call.outcome, call.spend) == ("complete", 0.5)


def test_a_reader_that_a_hook_has_put_on_is_read_by_and_stays(fake: FakeOpenRouter, telemetry: Telemetry) -> None:
    """The usual way to have `copyfileobj` decode: the caller gets what it gives, and its bill is seen."""
    said = json.dumps({"id": "gen-1", "usage": {"cost": 0.5}}).encode()
    fake.default = Answer(body=gzip.compress(said), headers={"content-encoding": "gzip"})

    def decode(response: Any, **_: Any) -> None:
        response.raw.read = functools.partial(response.raw.read, decode_content=True)

    hooks = {"response": decode}
    url, out = f"{fake.base_url}/chat/completions", io.BytesIO()
    with requests.post(url, json=BODY, stream=True, hooks=hooks, timeout=60) as response:
        shutil.copyfileobj(response.raw, out)
    (call,) = telemetry.settle().calls
    assert (out.getvalue(), call.outcome, call.spend) == (said, "complete", 0.5)
    assert isinstance(response.raw.read, functools.partial)
