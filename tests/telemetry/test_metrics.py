"""Facts about the metric points of a call, recorded from hand-made records."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.context import set_value
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import INVALID_SPAN, get_current_span

from or_instrument import Call, Failure, Reply, Request, Usage
from or_instrument._calls.missing import missing
from or_instrument._telemetry import labels as _labels
from or_instrument._telemetry.enrich import _THEIRS, Theirs
from or_instrument._telemetry.metrics import Metrics
from or_instrument._telemetry.names import CACHE_READ_TOKENS
from or_instrument._telemetry.span import Spans

REQUEST = Request("chat", "openrouter", "acme/large:nitro", "openrouter.ai", 443)
REPLY = Reply("gen-1", "acme/large", "Acme AI")
M = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openrouter",
    "gen_ai.request.model": "acme/large:nitro",
    "gen_ai.response.model": "acme/large",
    "openrouter.provider.name": "Acme AI",
}
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
TOKENS = "gen_ai.client.token.usage"
COST = "gen_ai.usage.cost"
UPSTREAM = "openrouter.usage.upstream_cost"
MISSING = "openrouter.usage.missing"


class Recorder:
    """A metric sink on a provider of its own, and what it has recorded."""

    def __init__(self, *metric_attributes: str, values_limit: int = 100) -> None:
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], exemplar_filter=AlwaysOnExemplarFilter(), shutdown_on_exit=False)
        self.sink = Metrics(provider.get_meter("test"), metric_attributes, values_limit)

    def record(self, usage: Usage | None = None, request: Request = REQUEST, **fields: Any) -> Recorder:
        """Record one call."""
        reply = fields.pop("reply", REPLY)._replace(usage=usage, failure=fields.pop("failure", None))
        outcome = fields.pop("outcome", "complete")
        call = Call(1, request, reply, outcome, 0, 1.5, missing=missing(reply, outcome), **fields)
        self.sink(call)
        return self

    def metrics(self) -> dict[str, Any]:
        """Return the metrics by name."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Return the labels and the sum of every point of a metric."""
        metric = self.metrics().get(name)
        points = [] if metric is None else metric.data.data_points
        return [(dict(p.attributes), p.sum if hasattr(p, "sum") else p.value) for p in points]


def test_every_call_has_a_duration() -> None:
    """One point, with the labels of the call."""
    assert Recorder().record(Usage(cost=0.5)).points(DURATION) == [(M, 1.5)]


def test_the_duration_of_a_failed_call_carries_the_error_type() -> None:
    """And no other metric does."""
    recorder = Recorder().record(Usage(cost=0.5), failure=Failure("server", "502"), outcome="error")
    assert recorder.points(DURATION) == [({**M, "error.type": "server"}, 1.5)]
    assert recorder.points(COST) == [(M, 0.5)]


def test_the_time_to_the_first_chunk_is_of_streams() -> None:
    """A call without one has no point."""
    assert Recorder().record(time_to_first_chunk_s=0.25).points(FIRST_CHUNK) == [(M, 0.25)]
    assert Recorder().record().points(FIRST_CHUNK) == []


def test_tokens_are_told_by_their_type() -> None:
    """Input and output, a reported 0 too."""
    recorder = Recorder().record(Usage(input_tokens=12, output_tokens=0, cost=0.5))
    assert recorder.points(TOKENS) == [
        ({**M, "gen_ai.token.type": "input"}, 12),
        ({**M, "gen_ai.token.type": "output"}, 0),
    ]


def test_tokens_that_were_not_reported_are_no_point() -> None:
    """An embedding has no output; an absent count is not 0."""
    assert Recorder().record(Usage(input_tokens=12)).points(TOKENS) == [({**M, "gen_ai.token.type": "input"}, 12)]
    assert Recorder().record(Usage(output_tokens=7)).points(TOKENS) == [({**M, "gen_ai.token.type": "output"}, 7)]
    assert Recorder().record().points(TOKENS) == []


def test_the_cost_metric_is_the_spend() -> None:
    """OpenRouter's charge, and for BYOK the provider's bill on top; only the latter is upstream."""
    recorder = Recorder().record(Usage(cost=0.1, is_byok=True, upstream_cost=0.2))
    assert recorder.points(COST) == [({**M, "openrouter.usage.is_byok": True}, 0.3)]
    assert recorder.points(UPSTREAM) == [({**M, "openrouter.usage.is_byok": True}, 0.2)]


@pytest.mark.parametrize("byok", [None, False])
def test_upstream_of_a_call_that_is_not_byok_is_counted_nowhere(byok: bool | None) -> None:
    """It is part of the cost already."""
    recorder = Recorder().record(Usage(cost=0.1, is_byok=byok, upstream_cost=0.1))
    assert [value for _, value in recorder.points(COST)] == [0.1]
    assert recorder.points(UPSTREAM) == []


def test_a_cost_of_zero_is_a_point() -> None:
    """Free is not unknown."""
    recorder = Recorder().record(Usage(cost=0.0))
    assert recorder.points(COST) == [(M, 0.0)]
    assert recorder.points(MISSING) == []


@pytest.mark.parametrize(
    ("usage", "fields", "reason"),
    [
        (None, {}, "no_usage"),
        (None, {"outcome": "closed"}, "closed"),
        (None, {"outcome": "abandoned"}, "abandoned"),
        (None, {"outcome": "cancelled"}, "cancelled"),
        (None, {"outcome": "error", "failure": Failure("429", status_code=429)}, "rejected"),
        (None, {"outcome": "error", "failure": Failure("TimeoutError")}, "error"),
        (Usage(input_tokens=3), {}, "no_cost"),
        (Usage(cost=0.1, is_byok=True), {}, "no_upstream_cost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_of_unknown_cost_is_counted_with_its_reason(usage: Usage | None, fields: Any, reason: str) -> None:
    """It is no point of the cost, not even of 0."""
    recorder = Recorder().record(usage, **fields)
    ((labels, value),) = recorder.points(MISSING)
    assert (labels["openrouter.missing.reason"], value) == (reason, 1)
    assert {key: labels[key] for key in M} == M
    assert recorder.points(COST) == []


def test_unknown_labels_are_left_out() -> None:
    """No "None", no empty string."""
    recorder = Recorder().record(request=REQUEST._replace(model=None), reply=Reply())
    assert recorder.points(DURATION) == [({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openrouter"}, 1.5)]


def test_byok_said_false_is_another_label_than_not_said() -> None:
    """And 0 is not False."""
    recorder = Recorder().record(Usage(cost=1.0, is_byok=False)).record(Usage(cost=2.0))
    assert recorder.points(COST) == [({**M, "openrouter.usage.is_byok": False}, 1.0), (M, 2.0)]


def test_attributes_become_labels_only_where_they_are_allowed() -> None:
    """A customer's id would make a time series each."""
    request = REQUEST._replace(attributes={"feature": "search", "customer": "c-1"})
    recorder = Recorder("feature", "absent").record(request=request).record()
    assert recorder.points(DURATION) == [({**M, "feature": "search"}, 1.5), (M, 1.5)]


@pytest.mark.parametrize("value", [{"a": 1}, {1}, [{}], object()], ids=["dict", "set", "list", "object"])
def test_what_cannot_be_an_attribute_is_no_label(value: Any) -> None:
    """The call is recorded without it."""
    request = REQUEST._replace(attributes={"tags": value})
    assert Recorder("tags").record(request=request).points(DURATION) == [(M, 1.5)]


def test_an_allowed_attribute_may_be_a_tuple() -> None:
    """A scope's lists come as tuples."""
    request = REQUEST._replace(attributes={"tags": ("a", "b")})
    assert Recorder("tags").record(request=request).points(DURATION) == [({**M, "tags": ("a", "b")}, 1.5)]


def test_calls_of_one_kind_share_their_labels() -> None:
    """They are made once, not once a call."""
    recorder = Recorder().record(Usage(cost=1.0)).record(Usage(cost=2.0))
    assert len(recorder.sink._labels._cache) == 1
    assert recorder.points(COST) == [(M, 3.0)]


@pytest.mark.parametrize(
    ("request_fields", "reply"),
    [
        ({"operation": "embeddings"}, REPLY),
        ({"provider": "openai"}, REPLY),
        ({"model": "acme/small"}, REPLY),
        ({}, REPLY._replace(model="acme/small")),
        ({}, REPLY._replace(provider="Other")),
        ({"attributes": {"feature": "search"}}, REPLY),
    ],
)
def test_calls_of_another_kind_have_labels_of_their_own(request_fields: Any, reply: Reply) -> None:
    """Every label tells two calls apart."""
    recorder = Recorder("feature").record().record(request=REQUEST._replace(**request_fields), reply=reply)
    points = recorder.points(DURATION)
    assert points[0] == (M, 1.5)
    assert len(points) == 2


def test_values_of_an_attribute_above_the_limit_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    """A user's id as a label would cost a fortune; one warning says so."""
    recorder = Recorder("user", values_limit=2)
    for user in ("a", "b", "c", "d", "a", None):
        recorder.record(request=REQUEST._replace(attributes={"user": user, "else": 1}))
    labels = {points.get("user"): value for points, value in recorder.points(DURATION)}
    assert labels == {"a": 3.0, "b": 1.5, "other": 3.0, None: 1.5}
    (record,) = caplog.records
    assert "the metric attribute user has had 2 values" in record.getMessage()


def test_a_list_is_a_label_like_a_tuple() -> None:
    """A record that somebody made by hand may hold one."""
    request = REQUEST._replace(attributes={"tags": ["a"]})
    assert Recorder("tags").record(request=request).points(DURATION) == [({**M, "tags": ("a",)}, 1.5)]


def test_a_call_that_is_being_looked_up_is_not_missing_yet() -> None:
    """The look-up's own record says how it went."""
    recorder = Recorder()
    recorder.sink(Call(1, REQUEST, REPLY, "closed", 0, 1.5, missing="pending"))
    assert recorder.points(DURATION) == [(M, 1.5)]
    assert recorder.points(MISSING) == recorder.points(COST) == []


def test_a_cost_that_was_looked_up_is_cost_and_tokens_and_no_second_call() -> None:
    """The call's duration was recorded when it ended."""
    recorder = Recorder().record(Usage(input_tokens=3, cost=0.5, source="generation"), recovers=7)
    assert recorder.points(COST) == [(M, 0.5)]
    assert recorder.points(TOKENS) == [({**M, "gen_ai.token.type": "input"}, 3)]
    assert recorder.points(DURATION) == []


def test_tokens_of_a_call_that_is_looked_up_are_counted_once() -> None:
    """By the look-up, which tells again what the call told; also where it brings nothing."""
    told = Usage(input_tokens=3, cache_read_tokens=2)
    for outcome in (None, "lookup_failed"):
        recorder, reply = Recorder(), REPLY._replace(usage=told)
        pending = Call(1, REQUEST, reply, "closed", 0, 1.5, missing="pending")
        recorder.sink(pending)
        recorder.sink(pending._replace(id=2, recovers=1, missing=outcome))
        assert [tokens for _, tokens in recorder.points(TOKENS)] == [3]
        assert recorder.points(CACHE_READ_TOKENS) == [(M, 2)]


def test_a_failed_look_up_is_counted_as_missing() -> None:
    """Once, with its reason."""
    recorder = Recorder()
    recorder.sink(Call(2, REQUEST, REPLY, "closed", 0, 1.5, missing="not_found", recovers=1))
    assert recorder.points(MISSING) == [({**M, "openrouter.missing.reason": "not_found"}, 1)]
    assert recorder.points(DURATION) == []


def test_an_estimate_is_a_metric_of_its_own_and_no_cost() -> None:
    """What is guessed is never added to what was billed."""
    recorder = Recorder().record(Usage(input_tokens=3, estimated_cost=0.25))
    assert recorder.points("openrouter.usage.estimated_cost") == [(M, 0.25)]
    assert recorder.points(COST) == []
    assert recorder.points(MISSING) == [({**M, "openrouter.missing.reason": "no_cost"}, 1)]


def test_tokens_read_from_a_cache_are_counted() -> None:
    """Those of calls without any are no point."""
    recorder = (
        Recorder().record(Usage(cache_read_tokens=1000)).record(Usage(cache_read_tokens=0)).record(Usage(cost=1.0))
    )
    assert recorder.points(CACHE_READ_TOKENS) == [(M, 1000)]


def test_the_labels_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many models there are; each keeps its own labels."""
    monkeypatch.setattr(_labels, "_CACHE_LIMIT", 4)
    recorder = Recorder()
    models = [f"acme/{number}" for number in range(20)]
    for model in models:
        recorder.record(request=REQUEST._replace(model=model))
        assert len(recorder.sink._labels._cache) <= 4
    assert [labels["gen_ai.request.model"] for labels, _ in recorder.points(DURATION)] == models


@pytest.mark.parametrize(
    ("name", "unit", "first", "last", "size"),
    [
        (DURATION, "s", 0.01, 81.92, 14),
        (FIRST_CHUNK, "s", 0.01, 81.92, 14),
        (TOKENS, "{token}", 1.0, 4.0**13, 14),
        (COST, "USD", 1e-6, 100.0, 25),
    ],
)
def test_histograms_bring_their_boundaries(name: str, unit: str, first: float, last: float, size: int) -> None:
    """The SDK's own are made for milliseconds, and put every cost into one bucket."""
    metric = Recorder().record(Usage(input_tokens=1, cost=0.5), time_to_first_chunk_s=0.1).metrics()[name]
    bounds = metric.data.data_points[0].explicit_bounds
    assert metric.unit == unit
    assert (bounds[0], bounds[-1], len(bounds)) == (first, last, size)
    assert list(bounds) == sorted(set(bounds))


def test_the_boundaries_of_the_cost_are_round_numbers() -> None:
    """In steps of 1, 2.5 and 5."""
    bounds = Recorder().record(Usage(cost=0.5)).metrics()[COST].data.data_points[0].explicit_bounds
    assert [f"{bound:g}" for bound in bounds[:6]] == ["1e-06", "2.5e-06", "5e-06", "1e-05", "2.5e-05", "5e-05"]
    assert bounds[-4:] == (10.0, 25.0, 50.0, 100.0)


def test_counters_have_their_units() -> None:
    """USD and calls."""
    recorder = Recorder().record(Usage(cost=0.1, is_byok=True, upstream_cost=0.2)).record()
    metrics = recorder.metrics()
    assert (metrics[UPSTREAM].unit, metrics[MISSING].unit) == ("USD", "{call}")


@pytest.mark.parametrize("is_sampled", [True, False])
def test_points_carry_the_call_s_own_span_and_are_complete_without_it(is_sampled: bool) -> None:
    """An exemplar leads to the very call; a trace that is not sampled loses no money."""
    provider = TracerProvider(ALWAYS_ON if is_sampled else ALWAYS_OFF, shutdown_on_exit=False)
    context = Spans(provider.get_tracer("test")).open(REQUEST, 1)
    recorder = Recorder().record(
        Usage(input_tokens=1, output_tokens=2, cost=0.1, is_byok=True, upstream_cost=0.2),
        context=context,
        time_to_first_chunk_s=0.1,
    )
    recorder.record(context=context)
    metrics = recorder.metrics()
    for name in (DURATION, FIRST_CHUNK, TOKENS, COST, UPSTREAM, MISSING):
        for point in metrics[name].data.data_points:
            (exemplar, *_) = point.exemplars
            assert exemplar.span_id == get_current_span(context).get_span_context().span_id
    get_current_span(context).end()


def test_the_instruments_are_made_once() -> None:
    """Not at the first call, when somebody waits."""
    made: list[str] = []

    class Recording(Meter):
        """A meter that notes what is asked of it."""

        def __getattribute__(self, name: str) -> Any:
            if name.startswith("create_"):
                return lambda instrument, *_args, **_kwargs: made.append(instrument)
            return super().__getattribute__(name)

    Recording.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    Metrics(Recording("test"))  # type: ignore[abstract]
    assert {DURATION, FIRST_CHUNK, TOKENS, COST, UPSTREAM, MISSING} <= set(made)
    assert len(made) == len(set(made))


def test_a_call_that_another_instrumentation_counts_adds_its_cost_only() -> None:
    """Duration and tokens are in its metrics already; what it knows nothing of is ours."""
    theirs = set_value(_THEIRS, Theirs(INVALID_SPAN, None, has_metrics=True))
    recorder = Recorder().record(Usage(input_tokens=3, cost=0.5), context=theirs, time_to_first_chunk_s=0.1)
    assert recorder.points(COST) == [(M, 0.5)]
    assert [recorder.points(name) for name in (DURATION, FIRST_CHUNK, TOKENS)] == [[], [], []]


def test_a_call_of_another_instrumentation_without_metrics_has_all_of_ours() -> None:
    """Nobody else would record them."""
    theirs = set_value(_THEIRS, Theirs(INVALID_SPAN, None, has_metrics=False))
    recorder = Recorder().record(Usage(input_tokens=3, cost=0.5), context=theirs)
    assert [len(recorder.points(name)) for name in (COST, DURATION, TOKENS)] == [1, 1, 1]


def test_a_record_that_says_neither_cost_nor_why_is_no_point_of_either() -> None:
    """A sink makes nothing up."""
    recorder = Recorder()
    recorder.sink(Call(1, REQUEST, REPLY, "complete", 0, 1.5))
    assert recorder.points(COST) == recorder.points(MISSING) == []
