"""Facts about a flight: the one mutable object, which ends exactly once."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from or_instrument import Call, Failure, Reply, Request, Usage
from or_instrument._calls import flight as _flight
from or_instrument._calls import live as _live
from or_instrument._calls import shield as _shield
from or_instrument._calls.flight import Flight
from or_instrument._calls.live import LIVE, abandon_all, discard_all
from or_instrument._calls.missing import missing
from or_instrument._calls.reaper import Reaper
from or_instrument._openrouter.fold import Fold
from or_instrument._openrouter.headers import Headers
from or_instrument._records import Sink

REQUEST = Request("chat", "openrouter", "acme/large", "openrouter.ai", 443)
OUTCOMES = ("complete", "closed", "abandoned", "cancelled", "error")
FAILURE = Failure("server", "502")


def flight(*sinks: Sink, stream: bool = False) -> Flight:
    """Return a flight that hands its call to these sinks."""
    return Flight(REQUEST._replace(stream=stream), sinks, context="context")


def finished(set_up: Callable[[Flight], None] = lambda _made: None, outcome: Any = "complete", **fields: Any) -> Call:
    """Return the call of a flight that was set up and finished."""
    calls: list[Call] = []
    made = flight(calls.append)
    set_up(made)
    made.finish(outcome, **fields)
    (call,) = calls
    return call


@pytest.fixture(autouse=True)
def reaper(monkeypatch: pytest.MonkeyPatch) -> Reaper:
    """Have flights put off to a reaper without a thread, which works when it is told to."""
    made = Reaper()
    monkeypatch.setattr(_flight, "REAPER", made)
    monkeypatch.setattr(_live, "REAPER", made)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the clock."""
    now = [100.0]
    monkeypatch.setattr(_flight, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_flight, "time_ns", lambda: 1_700_000_000_000_000_000)
    return lambda at: now.__setitem__(0, at)


def test_a_finished_flight_gives_its_call_to_every_sink() -> None:
    """The same one, in order."""
    calls: list[tuple[str, Call]] = []
    made = flight(lambda call: calls.append(("first", call)), lambda call: calls.append(("second", call)))
    made.finish("complete")
    assert [name for name, _ in calls] == ["first", "second"]
    assert calls[0][1] is calls[1][1]


def test_a_call_says_what_was_asked_and_answered() -> None:
    """Request, context, the folded reply and the reason why its cost is unknown."""

    def set_up(made: Flight) -> None:
        for body in (
            {"id": "gen-1", "model": "acme/large"},
            {"usage": {"cost": 0.5}},
        ):
            made.reader.read(json.dumps(body).encode())

    call = finished(set_up)
    assert (call.request, call.context, call.outcome, call.missing) == (REQUEST, "context", "complete", None)
    assert call.reply == Reply("gen-1", "acme/large", usage=Usage(cost=0.5))


def test_ids_are_unique() -> None:
    """Two calls are told apart within the process."""
    assert finished().id != finished().id


def test_a_call_lasts_from_its_start_to_its_finish(clock: Callable[[float], None]) -> None:
    """The wall clock says when, the steady one how long."""

    def set_up(_made: Flight) -> None:
        clock(102.5)

    call = finished(set_up)
    assert (call.started_ns, call.duration_s, call.time_to_first_chunk_s) == (1_700_000_000_000_000_000, 2.5, None)


def test_the_time_to_the_first_chunk_counts_from_the_start(clock: Callable[[float], None]) -> None:
    """As the duration does."""

    def set_up(made: Flight) -> None:
        made.first_chunk_at = 100.25
        clock(102.5)

    assert finished(set_up).time_to_first_chunk_s == 0.25


def test_an_abandoned_call_lasts_until_its_last_read(clock: Callable[[float], None]) -> None:
    """Not until the garbage collector came round."""

    def set_up(made: Flight) -> None:
        made.last_read_at = 101.0
        clock(900.0)

    assert finished(set_up, "abandoned").duration_s == 1.0


def test_an_abandoned_call_that_read_nothing_lasted_no_time(clock: Callable[[float], None]) -> None:
    """Nobody knows how long it was waited for."""
    assert finished(lambda _: clock(900.0), "abandoned").duration_s == 0.0


def test_a_second_end_is_nothing(reaper: Reaper) -> None:
    """Whoever sees the end first names it."""
    calls: list[Call] = []
    made = flight(calls.append)
    assert made.is_open
    made.finish("closed")
    made.finish("error", FAILURE)
    made.put_off("abandoned")
    reaper.drain()
    assert not made.is_open
    assert [(call.outcome, call.failure) for call in calls] == [("closed", None)]


def test_a_failure_seen_from_outside_goes_before_the_one_in_the_body() -> None:
    """The exception that the caller got has the status."""

    def set_up(made: Flight) -> None:
        for body in ({"id": "gen-1", "error": {"code": "in_band"}, "usage": {"cost": 0.5}},):
            made.reader.read(json.dumps(body).encode())

    call = finished(set_up, "error", failure=FAILURE)
    assert call.reply == Reply("gen-1", usage=Usage(cost=0.5), failure=FAILURE)


@pytest.mark.parametrize(("outcome", "expected"), [("complete", "error"), ("closed", "error"), ("error", "error")])
def test_a_complete_reply_that_tells_of_a_failure_is_an_error(outcome: str, expected: str) -> None:
    """Status 200 with an error in the body; it has arrived to its end, whoever closes it then."""

    def set_up(made: Flight) -> None:
        for body in ({"error": {"code": 502}},):
            made.reader.read(json.dumps(body).encode())

    call = finished(set_up, outcome)
    assert call.outcome == expected
    assert call.failure == Failure("502", "502")


@pytest.mark.parametrize(("generation", "cache"), [("gen-9", None), (None, "HIT"), ("gen-9", "HIT")])
def test_what_the_headers_said_is_in_the_reply(generation: str | None, cache: str | None) -> None:
    """Generation id, cache status and HTTP status."""

    def set_up(made: Flight) -> None:
        made.reader.headers = Headers(generation, cache, 200)

    assert finished(set_up).reply == Reply(generation_id=generation, cache_status=cache, status_code=200)


def test_a_reply_that_cannot_be_read_is_empty(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is recorded still, and the failure logged."""
    monkeypatch.setattr(_shield, "_reported", set())
    monkeypatch.setattr(Fold, "reply", Mock(side_effect=KeyError))

    call = finished()
    assert (call.reply, call.missing) == (Reply(), "no_usage")
    assert "reading a reply failed with KeyError" in caplog.text


@pytest.mark.parametrize("fields", [{"otherwise": FAILURE}, {"failure": FAILURE, "otherwise": Failure("timeout")}])
def test_a_reply_that_cannot_be_read_has_the_failure_that_was_seen(
    fields: dict[str, Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was raised needs no reading."""
    monkeypatch.setattr(Fold, "reply", Mock(side_effect=KeyError))
    assert finished(outcome="error", **fields).reply == Reply(failure=FAILURE)


def test_a_refusal_that_cannot_be_read_is_told_by_its_status(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is recorded still, with what its status and headers told, and the failure logged."""
    monkeypatch.setattr(_shield, "_reported", set())
    monkeypatch.setattr(Fold, "reply", Mock(side_effect=KeyError))

    def set_up(made: Flight) -> None:
        made.reader.headers = Headers("gen-1", status_code=402)
        made.reader.refusal = FAILURE

    call = finished(set_up, otherwise=Failure("timeout"))
    assert call.reply == Reply(generation_id="gen-1", status_code=402, failure=FAILURE)
    assert (call.outcome, call.missing) == ("error", "error")
    assert "reading a reply failed with KeyError" in caplog.text


def test_a_sink_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log names it."""
    monkeypatch.setattr(_shield, "_reported", set())
    calls: list[Call] = []

    def broken(_call: Call) -> None:
        raise ValueError

    class Broken:
        """A sink that is an object."""

        def __call__(self, _call: Call) -> None:
            """Fail."""
            raise ValueError

    flight(broken, Broken(), calls.append).finish("complete")
    assert len(calls) == 1
    assert "broken failed with ValueError" in caplog.text
    assert "Broken failed with ValueError" in caplog.text


def test_a_call_can_be_amended_before_the_sinks_get_it() -> None:
    """A price may be estimated, or a look-up announced."""
    calls: list[Call] = []
    Flight(REQUEST, [calls.append], amend=lambda call: call._replace(missing="pending")).finish("closed")
    assert [call.missing for call in calls] == ["pending"]


def test_an_amendment_that_fails_leaves_the_call_as_it_was(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the record goes out."""
    monkeypatch.setattr(_shield, "_reported", set())

    def broken(_call: Call) -> Call:
        raise ValueError

    calls: list[Call] = []
    Flight(REQUEST, [calls.append], amend=broken).finish("closed")
    assert [call.missing for call in calls] == ["closed"]
    assert "amending a call failed with ValueError" in caplog.text


def test_what_was_captured_is_in_the_call() -> None:
    """The collector sees the bodies as they pass, and the call when it has ended."""
    seen: list[object] = []

    class Collected:
        """A collector that notes what it is shown and asked."""

        def see(self, body: object) -> None:
            """Note a body."""
            seen.append(body)

        def content(self, call: Call) -> Any:
            """Return a content."""
            seen.append(call.outcome)
            return "content"

    calls: list[Call] = []
    made = Flight(REQUEST, [calls.append], collector=Collected())
    made.answered(b'{"id": "gen-1"}')
    assert seen == [{"id": "gen-1"}, "complete"]
    assert calls[0].content == "content"


def test_on_end_is_called_once_and_before_the_sinks() -> None:
    """What was hooked on the user's response is off by then."""
    order: list[str] = []
    made = flight(lambda _call: order.append("sink"))
    made.on_end = lambda: order.append("end")
    made.finish("complete")
    made.finish("complete")
    assert order == ["end", "sink"]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_put_off_is_recorded_by_the_reaper(reaper: Reaper, outcome: Any) -> None:
    """Not where it is put off, which may be a finaliser."""
    calls: list[Call] = []
    made = flight(calls.append)
    failure = FAILURE if outcome == "error" else None
    made.put_off(outcome, failure)
    assert calls == []
    reaper.drain()
    assert [(call.outcome, call.failure) for call in calls] == [(outcome, failure)]


def test_only_what_was_abandoned_ends_with_its_last_read(clock: Callable[[float], None]) -> None:
    """Another end that was put off has a moment of its own."""
    calls: list[Call] = []
    for outcome in ("abandoned", "error"):
        clock(100.0)
        made = flight(calls.append)
        made.last_read_at = 101.0
        made.put_off(outcome)  # type: ignore[arg-type]
        clock(105.0)
        made.settle()
    assert [call.duration_s for call in calls] == [1.0, 5.0]


def test_a_dropped_flight_is_abandoned(reaper: Reaper) -> None:
    """A stream that was broken off and let go of leaves its record."""
    calls: list[Call] = []
    made = flight(calls.append)
    del made
    gc.collect()
    reaper.drain()
    assert [call.outcome for call in calls] == ["abandoned"]


def test_a_discarded_flight_leaves_no_record(reaper: Reaper) -> None:
    """It was never sent."""
    calls: list[Call] = []
    made = flight(calls.append)
    made.discard()
    made.finish("complete")
    del made
    gc.collect()
    reaper.drain()
    assert calls == []


def test_no_list_keeps_a_flight_that_has_ended() -> None:
    """Neither finished nor discarded ones."""
    before = set(LIVE)
    first, second = flight(), flight()
    assert set(LIVE) - before == {first.id, second.id}
    first.finish("complete")
    second.discard()
    assert set(LIVE) == before


def test_at_exit_every_open_flight_is_abandoned(reaper: Reaper) -> None:
    """And those that have ended are left alone."""
    calls: list[Call] = []
    still_open, ended = flight(calls.append), flight(calls.append)
    ended.finish("complete")
    abandon_all()
    assert len(calls) == 1
    reaper.drain()
    assert [(call.id, call.outcome) for call in calls] == [(ended.id, "complete"), (still_open.id, "abandoned")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_records_nothing_of_its_parent(reaper: Reaper) -> None:
    """Two processes would pay the same bill twice."""
    calls: list[Call] = []
    made, deferred = flight(calls.append), flight(calls.append)
    deferred.put_off("abandoned")
    child = os.fork()
    if child == 0:
        made.finish("complete")
        reaper.drain()
        os._exit(len(calls))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    made.finish("complete")
    reaper.drain()
    assert sorted(call.outcome for call in calls) == ["abandoned", "complete"]


def test_a_child_s_own_list_begins_empty(reaper: Reaper) -> None:
    """What runs in the child after a fork discards what is open and what was put off."""
    calls: list[Call] = []
    made, deferred = flight(calls.append), flight(calls.append)
    deferred.put_off("abandoned")
    discard_all()
    made.finish("complete")
    reaper.drain()
    assert calls == []
    assert not deferred.is_open


def test_of_many_threads_that_see_the_end_one_records_it() -> None:
    """Without a lock."""
    calls: list[Call] = []
    for _ in range(50):
        made = flight(calls.append)
        together = threading.Barrier(4)

        def end(flown: Flight, barrier: threading.Barrier) -> None:
            barrier.wait()
            flown.finish("complete")

        threads = [threading.Thread(target=end, args=(made, together)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(calls) == len({call.id for call in calls}) == 50


@pytest.mark.parametrize(
    ("reply", "outcome", "reason"),
    [
        (Reply(usage=Usage(cost=0.0)), "complete", None),
        (Reply(usage=Usage(cost=0.1, is_byok=True, upstream_cost=0.2)), "error", None),
        (Reply(usage=Usage(input_tokens=1)), "complete", "no_cost"),
        (Reply(usage=Usage(cost=0.1, is_byok=True)), "complete", "no_upstream_cost"),
        (Reply(), "complete", "no_usage"),
        (Reply(), "closed", "closed"),
        (Reply(), "abandoned", "abandoned"),
        (Reply(), "cancelled", "cancelled"),
        (Reply(failure=Failure("TimeoutError")), "error", "error"),
        (Reply(failure=Failure("429", status_code=429)), "error", "rejected"),
    ],
)
def test_the_reason_why_a_cost_is_unknown(reply: Reply, outcome: Any, reason: str | None) -> None:
    """One word, and none where it is known."""
    assert missing(reply, outcome) == reason


OUTCOME = st.sampled_from(OUTCOMES)


class Lives(RuleBasedStateMachine):
    """Flights that are ended in every way and order, by one thread or two at once."""

    @initialize(stream=st.booleans())
    def begin(self, stream: bool) -> None:
        """Start a flight."""
        self.calls: list[Call] = []
        self.made: Flight | None = flight(self.calls.append, stream=stream)
        self.id = self.made.id
        self.is_discarded = self.is_ended = False

    def do(self, *steps: Callable[[Flight], None]) -> None:
        """Take one step, or two at once in two threads."""
        assert self.made is not None
        threads = [threading.Thread(target=step, args=(self.made,)) for step in steps[1:]]
        for thread in threads:
            thread.start()
        steps[0](self.made)
        for thread in threads:
            thread.join()
        self.is_ended = self.is_ended or not self.made.is_open

    @precondition(lambda self: self.made is not None)
    @rule(first=OUTCOME, second=st.none() | OUTCOME)
    def finish(self, first: Any, second: Any) -> None:
        """End it, perhaps in two threads at once."""
        self.do(*(lambda made, end=end: made.finish(end) for end in (first, second) if end is not None))
        assert self.is_ended

    @precondition(lambda self: self.made is not None)
    @rule(outcome=OUTCOME, at_once=st.booleans())
    def put_off(self, outcome: Any, at_once: bool) -> None:
        """Put its end off, perhaps while another thread drains."""
        drain: list[Callable[[Flight], None]] = [lambda _made: _flight.REAPER.drain()] if at_once else []
        self.do(lambda made: made.put_off(outcome), *drain)

    @precondition(lambda self: self.made is not None)
    @rule(at_once=st.booleans())
    def settle(self, at_once: bool) -> None:
        """Record the end that was put off, perhaps while another thread finishes it."""
        finish: list[Callable[[Flight], None]] = [lambda made: made.finish("complete")] if at_once else []
        self.do(Flight.settle, *finish)
        assert self.is_ended

    @precondition(lambda self: self.made is not None)
    @rule()
    def discard(self) -> None:
        """Forget it, unless it has ended."""
        self.is_discarded = self.is_discarded or not self.is_ended
        self.do(Flight.discard)

    @precondition(lambda self: self.made is not None)
    @rule()
    def drop(self) -> None:
        """Let go of it."""
        self.made = None

    @rule()
    def drain(self) -> None:
        """Do what the reaper's thread does."""
        _flight.REAPER.drain()
        self.is_ended = self.is_ended or (self.made is not None and not self.made.is_open)

    @invariant()
    def is_recorded_at_most_once(self) -> None:
        """Never twice, and never once it was discarded; once it has ended it is recorded."""
        calls = getattr(self, "calls", [])
        assert len(calls) <= 1
        if getattr(self, "is_discarded", False):
            assert calls == []
        elif getattr(self, "is_ended", False):
            assert [call.id for call in calls] == [self.id]

    def teardown(self) -> None:
        """Let go of it, record what is left over, and count."""
        self.made = None
        gc.collect()
        _flight.REAPER.drain()
        assert len(self.calls) == (0 if self.is_discarded else 1)
        assert self.id not in LIVE


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=50, stateful_step_count=12, deadline=None)
