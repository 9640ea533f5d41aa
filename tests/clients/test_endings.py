"""Every way in which a sync call or stream can end: one record, with the right outcome, at the right moment."""

# ruff: noqa: D103, PT012 - the small ones' names say what they do; fixtures are arguments
from __future__ import annotations

import gc
import importlib
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any

import openai
import pytest
from in_memory import Telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

from or_instrument._calls.reaper import REAPER
from or_instrument.testing import Answer, FakeOpenRouter, errors

http = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")
CHAT: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = Answer(chunks=6, cost=0.5)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody complains: neither we, nor OpenTelemetry of a token of another context."""
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


def opened(client: openai.OpenAI, **options: Any) -> Any:
    """Return a stream just begun."""
    return client.chat.completions.create(stream=True, **CHAT, **options)


def drained(stream: Any) -> None:
    assert len(list(stream)) > 5


def drained_by_next(stream: Any) -> None:
    for _ in range(100):
        try:
            next(stream)
        except StopIteration:
            return


def drained_then_closed(stream: Any) -> None:
    drained(stream)
    stream.close()


def closed(stream: Any) -> None:
    next(stream)
    stream.close()


def closed_twice(stream: Any) -> None:
    closed(stream)
    stream.close()


def closed_then_drained(stream: Any) -> None:
    closed(stream)
    with suppress(openai.APIError, http.HTTPError, http.StreamError):
        list(stream)


def closed_unread(stream: Any) -> None:
    stream.close()


def response_closed(stream: Any) -> None:
    next(stream)
    stream.response.close()


def with_break(stream: Any) -> None:
    with stream:
        for _ in stream:
            break


def with_error(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError), stream:
        for _ in stream:
            raise ZeroDivisionError


def with_unread(stream: Any) -> None:
    with stream:
        pass


def dropped_after_break(stream: Any) -> None:
    for _ in stream:
        break


def dropped_unread(stream: Any) -> None:
    assert stream.response.status_code == 200


def dropped_after_an_error(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


def iterator_closed(stream: Any) -> None:
    iterator = iter(stream)
    next(iterator)
    iterator.close()


def generator_closed(stream: Any) -> None:
    next(stream)
    stream._iterator.close()


def with_in_a_generator(stream: Any) -> None:
    def proxied() -> Iterator[Any]:
        with stream:
            yield from stream

    generator = proxied()
    next(generator)
    generator.close()


COMPLETE = (drained, drained_by_next, drained_then_closed)
CLOSED = (closed, closed_twice, closed_then_drained, closed_unread, response_closed, with_break, with_error)
ABANDONED = (dropped_after_break, dropped_unread, dropped_after_an_error, iterator_closed, generator_closed)
ENDINGS = [
    *((end, "complete") for end in COMPLETE),
    *((end, "closed") for end in (*CLOSED, with_unread, with_in_a_generator)),
    *((end, "abandoned") for end in ABANDONED),
]


@pytest.mark.parametrize(("end", "outcome"), ENDINGS)
def test_the_users_way_to_end_a_stream(
    end: Callable[[Any], None], outcome: str, fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry
) -> None:
    """Whatever the user does with a stream is one record, no error, and counted as missing where its usage is."""
    fake.default = ANSWER
    end(opened(client))
    at_once = len(telemetry.calls)
    (call,) = telemetry.settle().calls

    assert (call.outcome, call.failure) == (outcome, None)
    # What a generator does while it is destroyed may be a finaliser's doing, and is recorded a little later.
    assert at_once or outcome == "abandoned" or end is with_in_a_generator
    (span,) = telemetry.spans()
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["openrouter.stream.outcome"] == outcome
    assert call.spend == (0.5 if outcome == "complete" else None)
    assert telemetry.total("openrouter.usage.missing", openrouter__missing__reason=outcome) == (outcome != "complete")
    assert telemetry.total("gen_ai.usage.cost") == (0.5 if outcome == "complete" else 0)


@pytest.mark.parametrize("how", ["iter_bytes", "iter_text", "iter_lines"])
def test_a_raw_reader_that_is_broken_off_inside_its_with(
    how: str, fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped, which some libraries close the response for; then the user closes it."""
    put_off: list[Any] = []
    monkeypatch.setattr(REAPER, "defer", put_off.append)  # the thread may be quicker than the end of a `with`
    fake.default = ANSWER
    with client.chat.completions.with_streaming_response.create(stream=True, **CHAT) as response:
        for _ in getattr(response, how)():
            break
    for call in put_off:
        call.settle()
    assert [call.outcome for call in telemetry.calls] == ["closed"]


def test_an_abandoned_stream_ends_with_its_last_read(
    fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry
) -> None:
    """The duration of a dropped stream runs to its last read, not to the collector's visit."""
    gate = threading.Event()
    fake.default = Answer(chunks=6, hold_after=3, gate=gate)
    began = perf_counter()
    stream = opened(client)
    next(stream)
    read = perf_counter()
    gate.set()
    fake.wait_for(lambda: True)
    del stream

    (call,) = telemetry.settle().calls
    assert call.outcome == "abandoned"
    assert call.time_to_first_chunk_s is not None
    assert 0 < call.time_to_first_chunk_s <= call.duration_s
    assert call.duration_s <= read - began


def test_a_dropped_stream_is_settled_without_a_flush(
    fake: FakeOpenRouter, client: openai.OpenAI, instrumented: Callable[..., Telemetry]
) -> None:
    """A thread of ours records what a finaliser left over."""
    fake.default = ANSWER
    recorded = threading.Event()
    instrumented(sinks=[lambda _call: recorded.set()])
    dropped_after_break(opened(client))
    gc.collect()

    assert recorded.wait(60)


class Gate(threading.Event):
    """A gate that is never opened, and tells when the service has come to it: what stands before it has been sent."""

    def __init__(self) -> None:
        super().__init__()
        self.is_reached = threading.Event()

    def is_set(self) -> bool:
        """Tell, and do not open."""
        self.is_reached.set()
        return False


@pytest.mark.parametrize("how", ["dropped", "timeout"])
def test_a_connection_that_fails_in_a_stream(
    how: str, fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry
) -> None:
    """A stream that breaks is an error with the exception's class name."""
    gate = Gate()
    fake.default = Answer(chunks=6, abort_after=2) if how == "dropped" else Answer(chunks=6, hold_after=2, gate=gate)
    stream = opened(client, timeout=60)
    if how == "timeout":
        # Not sooner: the first chunk itself might come too late.
        assert gate.is_reached.wait(60)
        stream.response.request.extensions["timeout"]["read"] = 0.1
    with pytest.raises(Exception, match=r".") as caught:
        list(stream)

    (call,) = telemetry.calls
    kind = type(caught.value)
    assert (call.outcome, call.missing) == ("error", "error")
    assert call.failure is not None
    assert call.failure.type == f"{kind.__module__}.{kind.__qualname__}"
    assert call.reply.id is not None
    assert telemetry.spans()[0].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("answer", "kind", "stream", "within_s"),
    [
        pytest.param(Answer(gate=threading.Event()), openai.APITimeoutError, False, 0.2, id="timeout"),
        pytest.param(Answer(gate=threading.Event()), openai.APITimeoutError, True, 0.2, id="stream-timeout"),
        pytest.param(Answer(abort_after=0), openai.APIConnectionError, False, 60, id="dropped"),
    ],
)
def test_a_connection_that_fails_in_flight(
    answer: Answer,
    kind: type[Exception],
    stream: bool,
    within_s: float,
    fake: FakeOpenRouter,
    client: openai.OpenAI,
    telemetry: Telemetry,
) -> None:
    """A call that gets no reply is an error with the exception's class name."""
    fake.default = answer
    with pytest.raises(kind):
        client.with_options(timeout=within_s).chat.completions.create(stream=stream, **CHAT)

    (call,) = telemetry.calls
    assert call.outcome == "error"
    assert call.failure is not None
    assert call.failure.type == f"openai.{kind.__name__}"


def broken_by(exc: type[BaseException], *, in_flight: bool) -> openai.OpenAI:
    """Return a client whose transport raises, before the reply or after one chunk of it."""

    class Body(http.SyncByteStream):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[bytes]:
            yield b'data: {"id": "gen-1", "model": "m", "choices": []}\n\n'
            raise exc

    def handler(_request: Any) -> Any:
        if in_flight:
            raise exc
        return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    transport = http.Client(transport=http.MockTransport(handler))
    return openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport, max_retries=0)


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("in_flight", [False, True])
def test_an_interrupt(exc: type[BaseException], in_flight: bool, telemetry: Telemetry) -> None:
    """Interrupted while reading, a stream is cancelled, which is no error; a call in flight fails like any other."""
    with broken_by(exc, in_flight=in_flight) as client, pytest.raises(exc):
        list(opened(client))

    (call,) = telemetry.calls
    assert call.outcome == ("error" if in_flight else "cancelled")
    assert (call.failure and call.failure.type) == (exc.__name__ if in_flight else None)
    assert telemetry.settle().calls == [call]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return two threads."""
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def held(fake: FakeOpenRouter, pool: ThreadPoolExecutor) -> Iterator[threading.Event]:
    """Hold every stream after its second chunk, until the event is set; it is set in the end."""
    del pool  # whose threads, which may read such a stream, are waited for after that
    gate = threading.Event()
    fake.default = Answer(chunks=6, cost=0.5, hold_after=2, gate=gate)
    yield gate
    gate.set()


def wait_until_read(stream: Any) -> None:
    """Return when another thread is inside the stream's read."""
    while not stream._iterator.gi_running:
        sleep(0.001)


def test_a_stream_handed_to_another_thread(
    fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry, pool: ThreadPoolExecutor
) -> None:
    """A stream begun here and drained there is one complete record."""
    fake.default = ANSWER
    stream = opened(client)
    next(stream)
    pool.submit(drained_then_closed, stream).result(10)

    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]


def test_two_readers_of_one_stream(
    held: threading.Event, client: openai.OpenAI, telemetry: Telemetry, pool: ThreadPoolExecutor
) -> None:
    """The second reader gets Python's own error, the first one its chunks; the stream is recorded once."""
    stream = opened(client)
    next(stream), next(stream)
    reader = pool.submit(list, stream)
    wait_until_read(stream)
    with pytest.raises(ValueError, match="already executing"):
        next(stream)
    held.set()

    assert len(reader.result(10)) > 3
    assert [call.outcome for call in telemetry.settle().calls] == ["complete"]


def test_closed_by_another_thread_while_a_read_waits(
    held: threading.Event, client: openai.OpenAI, telemetry: Telemetry, pool: ThreadPoolExecutor
) -> None:
    """A read that fails because the user closed the stream is no error, whatever the reader gets."""
    stream = opened(client)
    next(stream), next(stream)
    reader = pool.submit(list, stream)
    wait_until_read(stream)
    stream.close()
    held.set()
    reader.exception(10)

    (call,) = telemetry.settle().calls
    assert call.outcome in ("closed", "complete")
    assert call.failure is None


def test_the_current_span_is_the_users(fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry) -> None:
    """Our span is current around the HTTP call only, never in the user's code, whatever happens there."""
    fake.script(ANSWER, errors.server_error(), ANSWER, ANSWER)
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("user") as user:
        for _ in opened(client):
            assert trace.get_current_span() is user
        with pytest.raises(openai.InternalServerError):
            opened(client)
        assert trace.get_current_span() is user
        for end in (with_break, dropped_after_break):
            end(opened(client))
            telemetry.settle()
            assert trace.get_current_span() is user

    ours = [span for span in telemetry.spans() if span.name != "user"]
    assert len(ours) == 4
    assert {span.parent and span.parent.span_id for span in ours} == {user.get_span_context().span_id}


def test_the_span_is_current_around_the_http_call(telemetry: Telemetry) -> None:
    """What an HTTP instrumentation makes in the call is a child of our span."""
    seen = []

    def handler(_request: Any) -> Any:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return http.Response(200, json={"id": "gen-1", "choices": []})

    transport = http.Client(transport=http.MockTransport(handler))
    with openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport) as client:
        client.chat.completions.create(**CHAT)

    assert seen == [span.context.span_id for span in telemetry.spans()]


def test_nothing_is_left_on_the_response(fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Telemetry) -> None:
    """When a stream has ended its response has the methods of its class again."""
    fake.default = ANSWER
    for end in (drained, closed, with_break):
        stream = opened(client)
        end(stream)
        assert not {"iter_bytes", "aiter_bytes", "close", "aclose"} & vars(stream.response).keys()
    assert len(telemetry.calls) == 3


def test_what_the_user_puts_on_a_response_stays(client: openai.OpenAI, telemetry: Telemetry) -> None:
    """A `close` of the user's own, put there before ours or over it, is there when the stream has ended."""
    closed_by: list[str] = []

    def put(response: Any, name: str) -> Any:
        theirs = response.close
        response.close = lambda: (closed_by.append(name), theirs())
        return response.close

    before: list[Any] = []
    client._client.event_hooks = {"response": [lambda response: before.append(put(response, "before"))]}
    drained(stream := opened(client))
    assert vars(stream.response)["close"] is before[0]
    stream = opened(client)
    over = put(stream.response, "over")
    drained(stream)
    stream.close()
    assert vars(stream.response)["close"] is over
    assert {"before", "over"} == set(closed_by)
    assert [call.outcome for call in telemetry.calls] == ["complete", "complete"]


class Torn(http.SyncByteStream):  # type: ignore[misc,name-defined]
    """A body that fails after its first event, and that somebody else reads while it is being closed."""

    def __init__(self) -> None:
        self.on_close: Callable[[], object] = bool

    def __iter__(self) -> Iterator[bytes]:
        yield b'data: {"id": "gen-1", "choices": []}\n\n'
        raise http.ReadError("torn")

    def close(self) -> None:
        """Let somebody else read."""
        self.on_close()


def test_read_by_another_thread_while_it_is_closed(telemetry: Telemetry) -> None:
    """A read that begins when the close has begun fails by the user's wish: that is no error."""
    body = Torn()
    reply = http.Response(200, headers={"content-type": "text/event-stream"}, stream=body)
    transport = http.Client(transport=http.MockTransport(lambda _request: reply))
    with openai.OpenAI(api_key="k", base_url="https://openrouter.ai/api/v1", http_client=transport) as client:
        stream = opened(client)
        next(stream)
        failed: list[BaseException | None] = []
        with ThreadPoolExecutor(1) as pool:
            body.on_close = lambda: failed.append(pool.submit(next, stream).exception(10))
            stream.close()

    assert failed[0] is not None
    (call,) = telemetry.calls
    assert (call.outcome, call.failure) == ("closed", None)


def test_a_sink_that_raises(
    fake: FakeOpenRouter,
    client: openai.OpenAI,
    instrumented: Callable[..., Telemetry],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller does not see it, other sinks get the call, and it is logged once, without its text."""
    monkeypatch.setattr("or_instrument._calls.shield._reported", set())
    fake.default = ANSWER
    calls: list[Any] = []

    def bad(_call: Any) -> None:
        raise ZeroDivisionError("secret")

    telemetry = instrumented(sinks=[bad, calls.append])
    for _ in range(3):
        client.chat.completions.create(**CHAT)
        drained(opened(client))
        dropped_after_break(opened(client))
        telemetry.settle()

    assert len(calls) == len(telemetry.spans()) == 9
    (line,) = [record.getMessage() for record in caplog.records if record.name == "or_instrument"]
    assert "bad failed with ZeroDivisionError" in line
    assert "secret" not in line
    caplog.clear()


class Bad:
    """A span processor whose every method raises, or only one."""

    def __init__(self, *bad: str) -> None:
        self._bad = bad

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def method(*_args: Any, **_kwargs: Any) -> bool:
            if name in self._bad:
                raise ZeroDivisionError
            return True

        return method


@pytest.mark.parametrize("method", ["on_start", "on_end", "force_flush"])
def test_a_span_processor_that_raises(
    method: str,
    fake: FakeOpenRouter,
    client: openai.OpenAI,
    instrumented: Callable[..., Telemetry],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets the reply all the same, the call is recorded, and the user's own span is left alone."""
    fake.default = ANSWER
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Bad(method))  # type: ignore[arg-type]
    telemetry = instrumented(tracer_provider=provider)

    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("user") as user:
        assert client.chat.completions.create(**CHAT).choices
        drained(opened(client))
        telemetry.settle()
        assert user.is_recording()
        assert not user.attributes  # type: ignore[attr-defined]
    assert [call.outcome for call in telemetry.calls] == ["complete", "complete"]
    assert telemetry.total("gen_ai.usage.cost") == 1.0
    assert not trace.get_current_span().get_span_context().is_valid
    caplog.clear()


SETUP = """
import faulthandler, gc, sys
faulthandler.dump_traceback_later(60, exit=True)
import openai, or_instrument
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
client = openai.OpenAI(api_key="k", base_url=BASE)
def opened():
    return client.chat.completions.create(stream=True, **CHAT)
def drop():
    for _ in opened():
        break
"""


@pytest.fixture
def script(fake: FakeOpenRouter) -> Callable[[str], list[str]]:
    """Return a function that runs Python in a fresh interpreter and returns the lines that it printed."""
    fake.default = ANSWER

    def run(code: str) -> list[str]:
        start = f"BASE = {fake.base_url!r}\nCHAT = {CHAT!r}\n{SETUP}"
        done = subprocess.run(
            [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(
            "def collected(_options):\n    gc.collect()\n    return []\n"
            "metrics.get_meter('t').create_observable_gauge('g', [collected])\n"
            "act = reader.get_metrics_data",
            id="metric-callback",
        ),
        pytest.param(
            "class Collecting(SpanProcessor):\n    def on_end(self, span):\n        gc.collect()\n"
            "    def force_flush(self, timeout_millis=0):\n        return True\n"
            "provider.add_span_processor(Collecting())\n"
            "act = lambda: client.chat.completions.create(**CHAT)",
            id="span-processor",
        ),
        pytest.param(
            "def act():\n    with Collected.lock:\n        gc.collect()\n",
            id="sink-lock",
        ),
    ],
)
def test_a_finaliser_under_a_lock(where: str, script: Callable[[str], list[str]]) -> None:
    """Garbage collected while this thread holds a lock that recording needs does not hang the process."""
    code = f"""
import threading
from concurrent.futures import ThreadPoolExecutor
class Collected:
    lock = threading.Lock()
    calls = []
    def __call__(self, call):
        with self.lock:
            self.calls.append(call.outcome)
gc.disable()
reader = InMemoryMetricReader()
provider = TracerProvider()
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
or_instrument.instrument(hosts=["127.0.0.1"], sinks=[Collected()])
{where}
with ThreadPoolExecutor(8) as pool:
    [pool.submit(drop) for _ in range(32)]
act()
assert or_instrument.flush(60)
print(Collected.calls.count("abandoned"))
client.close()
"""
    assert script(code) == ["32"]


PROVIDER = """
class Printing(SpanProcessor):
    def on_end(self, span):
        print(span.name, span.attributes["openrouter.stream.outcome"], flush=True)
provider = TracerProvider()
provider.add_span_processor(Printing())
trace.set_tracer_provider(provider)
"""
INSTRUMENT = 'or_instrument.instrument(hosts=["127.0.0.1"])\n'


@pytest.mark.parametrize(
    "order", [pytest.param(PROVIDER + INSTRUMENT, id="first"), pytest.param(INSTRUMENT + PROVIDER, id="later")]
)
def test_a_stream_open_at_exit(order: str, script: Callable[[str], list[str]]) -> None:
    """A stream still held when the interpreter exits is recorded before the providers shut down."""
    printed = script(order + "stream = opened()\nnext(stream)\n")

    assert printed == ["chat openai/gpt-4o-mini abandoned"]


@pytest.mark.parametrize("after", [0, 1, 2, 6, 12, 200])
def test_usage_and_finish_reason_need_not_come_last(
    after: int, fake: FakeOpenRouter, telemetry: Any, client: openai.OpenAI
) -> None:
    """Usage and finish reason are kept however many chunks a proxy sends behind them."""
    delta = {"id": "gen-1", "model": "openai/gpt-5-mini", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    ended = {**delta, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {**delta, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.25}}
    fake.script(Answer(events=[delta, delta, ended, usage, *[{**delta, "choices": []}] * after]))

    for _chunk in client.chat.completions.create(
        model="openai/gpt-5-mini", messages=[{"role": "user", "content": "Hello"}], stream=True
    ):
        pass

    (call,) = telemetry.calls
    assert (call.spend, call.reply.finish_reasons) == (0.25, ("stop",))
