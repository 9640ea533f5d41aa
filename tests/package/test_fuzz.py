"""Whatever the service answers: no exception of ours, one record, no wrong number, the caller sees what it would."""

# ruff: noqa: D103 - fixtures are arguments
from __future__ import annotations

import importlib
import json
import logging
import math
from collections.abc import Callable
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_memory import Telemetry

import or_instrument

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["NaN", "-1", "1e999"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def objects(*names: str, **fields: Any) -> Any:
    """Return objects in which each name has a fitting value, any other JSON or nothing."""
    plain = dict.fromkeys(names, ANYTHING)
    nested = {name: value | ANYTHING for name, value in fields.items()}
    return st.fixed_dictionaries({}, optional={**plain, **nested})


TOKENS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens", "image_tokens", "video_tokens")
COSTS = ("upstream_inference_cost", "upstream_inference_prompt_cost", "upstream_inference_output_cost")
USAGE = objects(
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "cost",
    "is_byok",
    prompt_tokens_details=objects(*TOKENS),
    output_tokens_details=objects(*TOKENS),
    cost_details=objects(*COSTS, "server_tool_cost"),
    server_tool_use=objects("web_search_requests", "tool_calls_executed"),
)
ERROR = objects(
    "code",
    "message",
    "error_type",
    metadata=objects("error_type", "limit_source", "provider_name", "raw", "headers"),
    availability=objects("retry_after"),
)
CHOICE = objects("index", "finish_reason", "native_finish_reason", "delta", "message", error=ERROR)
BODY = objects(
    "id",
    "model",
    "provider",
    "service_tier",
    "status",
    "type",
    "error_type",
    "response",
    usage=USAGE,
    error=ERROR,
    choices=st.lists(CHOICE, max_size=2),
)


class Body(http.SyncByteStream):  # type: ignore[misc,name-defined]
    """A body that comes in the given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Any:
        return iter(self._pieces)


class Service:
    """A client, and what it is answered."""

    def __init__(self) -> None:
        self.status, self.kind, self.pieces = 200, "application/json", [b""]
        self.headers: dict[str, str] = {}
        transport = http.Client(transport=http.MockTransport(self._answer))
        self.client = openai.OpenAI(
            api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport, max_retries=0
        )

    def _answer(self, _request: Any) -> Any:
        return http.Response(self.status, headers={"content-type": self.kind, **self.headers}, stream=Body(self.pieces))


@pytest.fixture
def service() -> Any:
    """Return a service that answers whatever it is told to."""
    made = Service()
    with made.client:
        yield made


def seen(call: Callable[[], Any]) -> str:
    """Return what the caller sees."""
    try:
        return repr(call())
    except Exception as exc:  # noqa: BLE001 - to be compared
        return repr((type(exc), type(exc.__cause__), str(exc), getattr(exc, "body", None)))


def drained(stream: Any) -> Any:
    return [type(stream), list(stream)] if isinstance(stream, openai.Stream) else stream


def check(call: Callable[[], Any], telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """See the same with us as without us, one record in which every number is one, and no complaint."""
    telemetry.calls.clear()
    caplog.clear()
    ours = seen(call)
    records = telemetry.settle().calls[:]
    patched = or_instrument._instrument._installed
    assert patched is not None
    with pytest.MonkeyPatch.context() as without:
        for seam in patched.patch._seams:
            without.setattr(seam, "_observer", None)
        assert seen(call) == ours

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    (record,) = records
    assert record.duration_s >= 0
    if record.usage is not None:
        numbers = [*record.usage[:6], *record.usage[7:11], record.spend, *record.usage.details.values()]
        assert all(n is None or (0 <= n < math.inf and not isinstance(n, bool)) for n in numbers)
        assert record.usage.is_byok in (None, True, False)
    assert (record.spend is None) == (record.missing is not None)
    if record.failure is not None:
        assert record.failure.type


@FEW
@given(
    body=BODY | ANYTHING, status=st.sampled_from([200, 200, 400, 402, 429, 502]), retry=st.text("0123.-e ", max_size=4)
)
def test_bodies(
    body: object, status: int, retry: str, service: Service, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Any JSON in any field of a body, with any status."""
    service.status, service.kind, service.pieces = status, "application/json", [json.dumps(body).encode()]
    service.headers = {"retry-after": retry}
    check(lambda: service.client.chat.completions.create(**CHAT), telemetry, caplog)


@FEW
@given(chunks=st.lists(BODY | ANYTHING, max_size=4), several=st.booleans())
def test_chunks(
    chunks: list[object], several: bool, service: Service, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Any JSON in any field of any chunk."""
    service.kind = "text/event-stream"
    service.pieces = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    asked = {**CHAT, "n": 2} if several else CHAT
    check(lambda: drained(service.client.chat.completions.create(stream=True, **asked)), telemetry, caplog)


EVENT = st.builds(lambda data: b"data: " + json.dumps(data).encode() + b"\n\n", BODY)
LINES = st.sampled_from(
    [b"data:", b"data: {", b"\n\n", b"\r\n", b": comment\n", b"data: [DONE]\n\n", b"event: error\n", b"\xff"]
)


@FEW
@given(pieces=st.lists(st.binary(max_size=12) | EVENT | LINES, max_size=6), raw=st.booleans())
def test_bytes(
    pieces: list[bytes], raw: bool, service: Service, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Any bytes as a stream, parsed by the SDK or read raw, cut anywhere."""
    service.kind, service.pieces = "text/event-stream", pieces
    completions = service.client.chat.completions

    def proxied() -> bytes:
        with completions.with_streaming_response.create(stream=True, **CHAT) as response:
            return b"".join(response.iter_bytes())

    check(proxied if raw else lambda: drained(completions.create(stream=True, **CHAT)), telemetry, caplog)


@FEW
@given(
    content=st.binary(max_size=40),
    kind=st.sampled_from(["application/json", "text/plain", "audio/mpeg", "", "x;charset=?"]),
)
def test_content_types(
    content: bytes, kind: str, service: Service, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Any bytes under any content type."""
    service.kind, service.pieces = kind, [content]
    check(lambda: service.client.chat.completions.create(**CHAT), telemetry, caplog)
