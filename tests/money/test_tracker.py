"""A tracker counts, exactly and once, the cost of the calls that begin inside it."""

from __future__ import annotations

import asyncio
import contextvars
import csv
import gc
import json
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import or_instrument
from or_instrument import Call, ConfigError, CostTracker, Reply, Request, Usage, track
from or_instrument._calls import shield
from or_instrument._calls.scope import TRACKERS
from or_instrument._money import span_total as _span_total
from or_instrument._money.totals import Sum, Totals
from or_instrument.testing import Answer, FakeOpenRouter

ASK: Any = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}]}


def call(number: int = 1, cost: float | None = 0.1, *, reply: dict[str, Any] | None = None, **fields: Any) -> Call:
    """Return a finished call."""
    usage = None if cost is None else Usage(cost=cost, input_tokens=3, output_tokens=2)
    request = Request("chat", "openrouter", "a/model", "openrouter.ai", 443, attributes=fields.pop("attributes", {}))
    answered = Reply(id="gen-1", model="a/model", provider="P", usage=usage)._replace(**(reply or {}))
    missing = "closed" if cost is None else None
    return Call(number, request, answered, "complete", 0, 1.0, missing=missing)._replace(**fields)


@pytest.mark.usefixtures("telemetry")
def test_cost_inside_is_counted_exactly(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """The sum of calls inside is exact in decimals, and calls outside are not in it."""
    fake.script(Answer(cost=9), Answer(cost=0.1), Answer(cost=0.2), Answer(cost=9))
    client.chat.completions.create(**ASK)
    with track("report") as cost:
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
    client.chat.completions.create(**ASK)
    assert (cost.total_usd, cost.calls, cost.unknown) == (Decimal("0.3"), 2, 0)


@pytest.mark.usefixtures("telemetry")
def test_an_inner_block_of_a_tracker_ends_no_outer_one() -> None:
    """The others stay where they are: the outermost is asked first whether its limit is reached."""
    outer, middle, inner = (CostTracker(name) for name in ("outer", "middle", "inner"))
    with outer, middle, inner:
        with outer:
            assert TRACKERS.get() == (outer, middle, inner, outer)
        assert TRACKERS.get() == (outer, middle, inner)


@pytest.mark.usefixtures("telemetry")
def test_nested_trackers_add_up(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """What an inner tracker counts, the outer one counts too; a tracker entered twice counts once."""
    fake.script(Answer(cost=1), Answer(cost=2), Answer(cost=4))
    with track("outer") as outer:
        client.chat.completions.create(**ASK)
        with track("inner") as inner, outer:
            client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
    assert (outer.total_usd, inner.total_usd) == (7, 2)


def test_the_total_is_on_the_span_that_was_given(fake: FakeOpenRouter, client: openai.OpenAI, telemetry: Any) -> None:
    """The span of a request says what its calls cost together, to the last digit."""
    fake.script(Answer(cost=0.1), Answer(cost=0.2))
    tracer = telemetry.tracer_provider.get_tracer("shop")
    with tracer.start_as_current_span("GET /recipe") as span, track(span=span):
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
    request = telemetry.spans()[-1]
    assert (request.name, request.attributes) == ("GET /recipe", {"openrouter.tracked.spend": 0.3})


def test_a_total_of_which_nothing_is_known_is_on_no_span(telemetry: Any) -> None:
    """Neither for a block without calls nor for calls of unknown cost: absent is not 0. A free call costs 0."""
    with telemetry.tracer_provider.get_tracer("shop").start_as_current_span("GET /") as span:
        with track(span=span) as cost:
            cost(call(1, None))
        assert span.attributes == {}
        cost(call(2, 0))
        assert span.attributes == {"openrouter.tracked.spend": 0}


def test_a_span_that_has_ended_is_left_alone(telemetry: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A stream may end after the request's span: the tracker counts it, and the SDK has nothing to warn of."""
    span = telemetry.tracer_provider.get_tracer("shop").start_span("GET /")
    with track(span=span) as cost:
        cost(call(1, 0.1))
        span.end()
        cost(call(2, 0.2))
    assert cost.total_usd == Decimal("0.3")
    assert span.attributes == {"openrouter.tracked.spend": 0.1}
    assert caplog.records == []


class Slotted:
    """A span that takes no weak reference, no attribute of ours, and is not hashable."""

    __slots__ = ("is_open", "written")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.written: dict[str, float] = {}
        self.is_open = True

    def __eq__(self, other: object) -> bool:
        return True

    def is_recording(self) -> bool:
        """Return whether it has not ended."""
        return self.is_open

    def set_attribute(self, key: str, value: float) -> None:
        """Write an attribute."""
        self.written[key] = value


@pytest.fixture(params=["of the SDK", "slotted"])
def span(request: pytest.FixtureRequest, telemetry: Any) -> Any:
    """Return an open span."""
    if request.param == "slotted":
        return Slotted()
    return telemetry.tracer_provider.get_tracer("shop").start_span("GET /")


def spend_on(span: Any) -> Any:
    """Return what stands on a span."""
    return (span.written if isinstance(span, Slotted) else span.attributes)["openrouter.tracked.spend"]


def test_blocks_with_one_span_add_up(fake: FakeOpenRouter, client: openai.OpenAI, span: Any) -> None:
    """The span has the cost of the request: blocks one after the other, within each other and entered again."""
    fake.script(*(Answer(cost=cost) for cost in (0.1, 0.2, 0.4, 0.8, 1.6)))
    with track(span=span):
        client.chat.completions.create(**ASK)
    with track(span=span) as outer:
        client.chat.completions.create(**ASK)
        with track(span=span) as inner, outer:
            client.chat.completions.create(**ASK)
        assert spend_on(span) == 0.7
        client.chat.completions.create(**ASK)
    with inner:
        client.chat.completions.create(**ASK)
    assert (spend_on(span), outer.total_usd, inner.total_usd) == (3.1, Decimal("1.4"), 2)


def test_spans_have_sums_of_their_own(telemetry: Any) -> None:
    """Also those that compare as one."""
    tracer = telemetry.tracer_provider.get_tracer("shop")
    for one, other in ((tracer.start_span("a"), tracer.start_span("a")), (Slotted(), Slotted())):
        track(span=one)(call(1, 0.1))
        track(span=other)(call(2, 0.2))
        assert (spend_on(one), spend_on(other)) == (0.1, 0.2)


def test_what_is_looked_up_is_on_the_span_once(span: Any) -> None:
    """Whichever of its trackers is told first, and in place of what was counted of the call."""
    first, second = track(span=span), track(span=span)
    told = [call(1, None, missing="pending"), call(2, 0.1), call(3, 0.2, recovers=1)]
    for made in told:
        first(made)
        second(made)
    assert spend_on(span) == 0.3


def test_threads_add_up_on_one_span(span: Any) -> None:
    """No call is lost or counted twice where trackers of several threads share a span."""
    trackers = [track(span=span) for _ in range(4)]

    def count(number: int) -> None:
        for made in range(100):
            for tracker in trackers[number:] + trackers[:number]:
                tracker(call(number * 100 + made, 0.01))

    threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spend_on(span) == 4


def test_nothing_is_kept_of_a_span_that_is_gone(telemetry: Any) -> None:
    """A process makes millions of them; one that takes no weak reference is let go of after it has ended."""
    gc.collect()
    kept = len(_span_total._TOTALS), len(_span_total._HELD)
    for _ in range(5):
        slotted = Slotted()
        for one in (telemetry.tracer_provider.get_tracer("shop").start_span("GET /"), slotted):
            track(span=one)(call(1, 0.1))
        slotted.is_open = False
    del one
    gc.collect()
    assert len(_span_total._TOTALS) <= kept[0]
    assert len(_span_total._HELD) <= kept[1] + 1


def test_what_is_no_span_is_refused() -> None:
    """Before any call is made."""
    with pytest.raises(ConfigError, match=r"span='GET /' is not allowed; allowed: an OpenTelemetry span, or None"):
        track(span="GET /")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [5, None, b"nightly"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    """It would stand in exports, where a name is a text."""
    with pytest.raises(ConfigError, match=r"name=.* is not allowed; allowed: a text, '' for none"):
        track(name)


@pytest.mark.parametrize("rows", ["x", None, 1])
def test_rows_are_asked_for_or_not(rows: Any) -> None:
    """By a flag, and not by what may be meant for another argument."""
    with pytest.raises(ConfigError, match=r"rows=.* is not allowed; allowed: True or False"):
        track(rows=rows)


@pytest.mark.parametrize("attr", [5, None, ["model", "tenant"]])
def test_sums_are_asked_for_by_a_text(attr: Any) -> None:
    """Anything else is a ConfigError that says by which."""
    with pytest.raises(
        ConfigError, match=r"attr=.* is not allowed; allowed: a key of attributes\(\.\.\.\), model, provid"
    ):
        track().by(attr)


@pytest.mark.usefixtures("telemetry")
def test_a_stream_that_ends_after_the_block_is_counted(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """A stream that begins inside belongs to the tracker, also where it is read later."""
    with track() as cost:
        stream = client.chat.completions.create(**ASK, stream=True)
    assert cost.calls == 0
    list(stream)
    assert (cost.calls, cost.total_usd) == (1, fake.charged_usd)


@pytest.mark.anyio
@pytest.mark.usefixtures("telemetry")
async def test_tasks_and_threads_started_inside_are_counted(fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Tasks inherit the tracker; so do threads that run in a copy of the context; a task outside does not count."""

    def ask() -> None:
        client.chat.completions.create(**ASK)

    async def elsewhere() -> None:
        await begun.wait()
        await asyncio.to_thread(ask)

    begun = asyncio.Event()
    outside = asyncio.create_task(elsewhere())
    with track() as cost:
        begun.set()
        await asyncio.gather(*(asyncio.create_task(asyncio.to_thread(ask)) for _ in range(3)))
        thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,))
        thread.start()
        await asyncio.to_thread(thread.join)
    await outside
    assert (cost.calls, len(fake.requests)) == (4, 5)


@pytest.mark.usefixtures("telemetry")
def test_any_thread_may_enter_a_tracker(client: openai.OpenAI) -> None:
    """A thread without the context enters the same tracker itself."""

    def ask() -> None:
        with cost:
            client.chat.completions.create(**ASK)

    with track() as cost:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert cost.calls == 4


def test_a_tracker_counts_without_spans_and_metrics(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """With spans and metrics off and no sinks, a tracker still sees its calls."""
    instrumented(spans="off", metrics=False, sinks=[])
    with track() as cost:
        client.chat.completions.create(**ASK)
    assert cost.calls == 1


def test_calls_elsewhere_are_not_seen(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """A call to a host that is not named as OpenRouter is none of the tracker's, also where it is recorded."""
    telemetry = instrumented(hosts=["openrouter.ai", "*"])
    with track() as cost:
        client.chat.completions.create(**ASK)
    assert (cost.calls, len(telemetry.calls)) == (0, 1)


def test_a_tracker_without_instrumentation_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is instrumented, track() warns that it counts nothing, once."""
    monkeypatch.setattr(shield, "_reported", set())
    with caplog.at_level(logging.WARNING), track(), track():
        pass
    (record,) = caplog.records
    assert "Call or_instrument.instrument() first" in record.message


def test_a_tracker_is_a_sink_for_a_whole_process(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """As a sink a tracker counts everything."""
    everything = CostTracker("service")
    instrumented(sinks=[everything])
    client.chat.completions.create(**ASK)
    with track() as part:
        client.chat.completions.create(**ASK)
    assert (everything.calls, part.calls) == (2, 1)


def test_a_sink_that_is_entered_counts_once(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """A tracker for the whole process that is entered too, so that its limit holds, counts each call once."""
    everything = CostTracker("service", limit_usd=100)
    instrumented(sinks=[everything])
    with everything:
        client.chat.completions.create(**ASK)
    assert everything.calls == 1


def test_a_recovered_cost_replaces_the_unknown(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """A broken-off stream is one unknown call until its cost has been looked up; then it is one known call."""
    instrumented(lookup="missing")
    fake.script(Answer(cost=0.25))
    with track(rows=True) as cost, client.chat.completions.create(**ASK, stream=True) as stream:
        next(iter(stream))
    or_instrument.flush()
    assert (cost.calls, cost.unknown, cost.total_usd) == (1, 0, Decimal("0.25"))
    assert cost.by_model() == {"a/model": Decimal("0.25")}


def test_a_recovered_call_moves_to_where_it_belongs() -> None:
    """A look-up that tells the provider moves the call out of the unknown ones; one that fails leaves it there."""
    cost = CostTracker(rows=True)
    for number in (1, 2):
        cost(call(number, None, missing="pending", reply={"provider": None}))
    assert (cost.unknown, cost.by("provider")) == (2, {"(unknown)": 0})
    cost(call(3, 0.5, recovers=1))
    cost(call(4, None, recovers=2, missing="lookup_failed", reply={"provider": None}))
    assert (cost.calls, cost.unknown, cost.total_usd) == (2, 1, Decimal("0.5"))
    assert cost.by("provider") == {"P": Decimal("0.5"), "(unknown)": 0}
    cost(call(5, 0.5, recovers=1))
    assert cost.calls == 2


def test_sums_by_model_attribute_and_day() -> None:
    """Costs are told by model, provider, day and any attribute, the dearest first."""
    cost = CostTracker()
    cost(call(1, 0.1, attributes={"feature": "a", "beta": True}))
    cost(call(2, 0.2, attributes={"feature": "b"}, started_ns=86_400 * 10**9))
    cost(call(3, 0.3, attributes={"feature": "a"}, reply={"model": "b/other"}))
    assert list(cost.by("feature").items()) == [("a", Decimal("0.4")), ("b", Decimal("0.2"))]
    assert cost.by_model() == {"a/model": Decimal("0.3"), "b/other": Decimal("0.3")}
    assert cost.by("day") == {"1970-01-01": Decimal("0.4"), "1970-01-02": Decimal("0.2")}
    assert (cost.by("beta"), cost.by("none")) == ({"true": Decimal("0.1")}, {})


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and dimensions beyond the limits are folded, and nothing is lost from the sum."""
    monkeypatch.setattr("or_instrument._money.totals._VALUES_LIMIT", 3)
    monkeypatch.setattr("or_instrument._money.totals._DIMENSIONS_LIMIT", 4)
    cost = CostTracker()
    for number in range(10):
        cost(call(number, 0.5, attributes={"user": f"u{number}", "more": "x"}))
    assert cost.by("user") == {"(other)": Decimal("3.5"), **{f"u{number}": Decimal("0.5") for number in range(3)}}
    assert (cost.by("more"), cost.total_usd) == ({}, 5)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1e9, allow_nan=False), max_size=20), st.integers(1, 9))
def test_sums_are_exact_whatever_the_decimal_context(costs: list[float], precision: int) -> None:
    """No decimal context of the application rounds a sum."""
    cost = CostTracker()
    with localcontext() as context:
        context.prec = precision
        for number, amount in enumerate(costs):
            cost(call(number, amount))
    with localcontext() as context:
        context.prec = 1000
        assert cost.total_usd == sum((Decimal(repr(amount)) for amount in costs), Decimal(0))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=10))
def test_taking_back_undoes_an_addition(parts: list[tuple[str, int]]) -> None:
    """What was added and taken back leaves nothing behind."""
    totals = Totals()
    done = [(part, totals.add(part, [("model", value)])) for value, usd in parts for part in [Sum(1, 0, Decimal(usd))]]
    random.Random(1).shuffle(done)  # noqa: S311 - an order, not a secret
    for part, keys in done:
        totals.take_back(part, keys)
    assert totals.all == Sum()
    assert not any(totals.groups.values())


@pytest.fixture
def restless() -> Iterator[None]:
    """Have threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_threads_do_not_lose_calls() -> None:
    """Calls that end in many threads at once are all counted."""
    cost = CostTracker()
    threads = [threading.Thread(target=lambda: [cost(call(n, 0.001)) for n in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cost.calls, cost.total_usd) == (1600, Decimal("1.6"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_in_the_midst_of_counting_is_safe() -> None:
    """A child that is forked off while another thread counts can count itself."""
    cost, done = CostTracker(), threading.Event()

    def count() -> None:
        while not done.is_set():
            cost(call())

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                try:
                    cost(call())
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join()


def test_totals_are_exported_as_json(tmp_path: Path) -> None:
    """The JSON has a schema, exact decimal texts and the sums of each dimension; rows only where remembered."""
    cost = CostTracker("report", limit_usd=5)
    cost(call(1, 1e-07, attributes={"feature": "ä"}))
    cost.export_json(tmp_path / "cost.json")
    told = json.loads((tmp_path / "cost.json").read_text("utf-8"))
    one = {"calls": 1, "unknown": 0, "usd": "0.0000001", "input_tokens": 3, "output_tokens": 2, "lower_bound": 0}
    assert (told["schema"], told["name"], told["limit_usd"]) == ("or_instrument.cost/2", "report", "5")
    assert told["total"] == told["by"]["attributes.feature"]["ä"] == told["by"]["model"]["a/model"] == one
    assert "rows" not in told


def test_rows_are_exported_where_remembered(tmp_path: Path) -> None:
    """With rows=True there is one line a call; without, asking for them is refused."""
    cost = CostTracker(rows=True)
    cost(call(1, 0.1, attributes={"feature": 'a,"b'}))
    cost(call(2, None))
    cost.export_csv(tmp_path / "rows.csv", rows=True)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["usd"], first["attributes"]) == ("0.1", '{"feature": "a,\\"b"}')
    assert (second["usd"], second["missing"], second["started_at"]) == ("", "closed", "1970-01-01T00:00:00.000+00:00")
    cost.export_json(tmp_path / "rows.json")
    assert len(json.loads((tmp_path / "rows.json").read_text("utf-8"))["rows"]) == 2
    with pytest.raises(ConfigError, match="rows=True"):
        CostTracker().export_csv(tmp_path / "none.csv", rows=True)


@pytest.mark.parametrize("rows", [True, False])
def test_half_a_surrogate_pair_costs_no_export(rows: bool, tmp_path: Path) -> None:
    """It is no UTF-8, and is shown as a question mark."""
    cost = CostTracker(rows=True)
    cost(call(attributes={"tenant": "a\ud800"}))
    cost.export_json(tmp_path / "told.json")
    cost.export_csv(tmp_path / "told.csv", rows=rows)
    assert "a?" in (tmp_path / "told.json").read_text("utf-8")
    assert "a?" in (tmp_path / "told.csv").read_text("utf-8")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    """An export into /dev/stdout put a file in its place, for all other programs too."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        CostTracker("told").export_json(link)
        assert json.loads(os.read(reader, 65536))["name"] == "told"
    finally:
        os.close(reader)
    assert (pipe.is_fifo(), link.is_symlink(), len(list(tmp_path.iterdir()))) == (True, True, 2)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs the device")
def test_the_program_s_own_output_is_written_where_it_is(tmp_path: Path) -> None:
    """An export took the place of the log that standard output goes into, and what was printed was lost."""
    link, log = tmp_path / "costs.json", tmp_path / "log"
    link.symlink_to("/dev/stdout")
    told = "print('before', flush=True); CostTracker('told').export_json(sys.argv[1]); print('after')"
    with log.open("wb") as output:
        code = f"import sys; from or_instrument import CostTracker; {told}"
        subprocess.run([sys.executable, "-c", code, link], stdout=output, check=True)
    first, *exported, last = log.read_text().splitlines()
    assert (first, json.loads("".join(exported))["name"], last) == ("before", "told", "after")


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    """What it leads to is written, as by any other program."""
    file, link = tmp_path / "file.json", tmp_path / "link.json"
    link.symlink_to(file)
    for name in ("first", "last"):
        CostTracker(name).export_json(link)
    assert (link.is_symlink(), json.loads(file.read_text())["name"]) == (True, "last")


def test_two_that_write_one_file_at_once_spoil_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is whole, and the last one stays."""
    target, replace, others = tmp_path / "cost.json", Path.replace, [CostTracker("other")]

    def in_between(part: Path, to: Path) -> Path:
        if others:
            others.pop().export_json(target)
        return replace(part, to)

    monkeypatch.setattr(Path, "replace", in_between)
    CostTracker("last").export_json(target)
    assert json.loads(target.read_text())["name"] == "last"
    assert list(tmp_path.iterdir()) == [target]


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is written as a whole or not at all."""
    target = tmp_path / "cost.csv"
    CostTracker().export_csv(target)
    before = target.read_text("utf-8")

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        CostTracker(rows=True).export_csv(target)
    assert (target.read_text("utf-8"), len(list(tmp_path.iterdir()))) == (before, 1)


def test_an_export_that_fails_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Not the one that it is written to at first, and with the errors that Python has for it."""
    target = tmp_path / "none" / "cost.json"
    with pytest.raises(FileNotFoundError) as caught:
        CostTracker().export_json(target)
    assert (caught.value.filename, caught.value.filename2) == (str(target), None)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as refused:
        CostTracker().export_csv(tmp_path / "folder")
    assert (refused.value.filename, refused.value.filename2) == (str(tmp_path / "folder"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("path", ["", "/", "x\0.json"])
def test_an_export_to_what_names_no_file_says_so(path: str) -> None:
    """By the error that is documented, with the name as it was given."""
    with pytest.raises(OSError, match="Invalid argument") as caught:
        CostTracker().export_json(path)
    assert caught.value.filename == path


def test_a_tracker_shows_its_figures() -> None:
    """In its repr, as the records do."""
    cost = CostTracker("nightly", limit_usd="5")
    cost(call(1, 0.1))
    cost(call(2, 0.2))
    cost(call(3, None))
    assert repr(cost) == (
        "CostTracker(name='nightly', total_usd=Decimal('0.3'), calls=3, unknown=1, lower_bound=0, "
        "limit_usd=Decimal('5'))"
    )


def test_summary_is_a_table() -> None:
    """The summary shows each model and the total, aligned."""
    cost = CostTracker("report")
    cost(call(1, 0.25))
    cost(call(2, None))
    assert cost.summary().splitlines() == [
        "report",
        "model     USD  calls  unknown",
        "a/model  0.25      2        1",
        "total    0.25      2        1",
    ]
