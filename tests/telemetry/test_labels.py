"""Metric labels: of the user's attributes only the allowed keys, and of every label a bounded number of values."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import openai
import pytest
from in_memory import Telemetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

import or_instrument
from or_instrument._records import Call, Failure, Reply, Request
from or_instrument._settings import resolve
from or_instrument._telemetry.labels import LabelSets
from or_instrument._telemetry.metrics import Metrics
from or_instrument.testing import Answer, FakeOpenRouter

MESSAGES: Any = [{"role": "user", "content": "hi"}]
COST = "gen_ai.usage.cost"


def _ask(client: openai.OpenAI, **attributes: Any) -> None:
    with or_instrument.attributes(**attributes):
        client.chat.completions.create(model="vendor/model", messages=MESSAGES)


def test_only_the_allowed_keys_become_labels(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """All attributes are on the span; on the metrics are those that were allowed."""
    telemetry = instrumented(metric_attributes=["feature"])
    _ask(client, feature="search", user="u-1")
    assert {"feature", "user"} <= set(telemetry.span())
    for points in telemetry.metrics().values():
        assert all(point.attributes["feature"] == "search" for point in points)
        assert all("user" not in point.attributes for point in points)


def test_values_above_the_limit_are_other(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter, caplog: pytest.LogCaptureFixture
) -> None:
    """A key with too many values has `other` for the further ones: one warning, and the sum stays true."""
    telemetry = instrumented(metric_attributes=["user"], metric_values_limit=2)
    with caplog.at_level(logging.WARNING, "or_instrument"):
        for number in range(5):
            _ask(client, user=f"u-{number}")
        _ask(client, user="u-0")
    users = {point.attributes["user"]: point.count for point in telemetry.metrics()[COST]}
    assert users == {"u-0": 2, "u-1": 1, "other": 3}
    assert telemetry.total(COST) == pytest.approx(float(fake.charged_usd))
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "the metric attribute user has had 2 values"
    ]
    assert [span.attributes["user"] for span in telemetry.spans()][:3] == ["u-0", "u-1", "u-2"]


def test_each_key_has_its_own_limit(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """A key that is full does not spoil another."""
    telemetry = instrumented(metric_attributes=["user", "feature"], metric_values_limit=1)
    _ask(client, user="u-0", feature="search")
    _ask(client, user="u-1", feature="search")
    labels = {(point.attributes["user"], point.attributes["feature"]) for point in telemetry.metrics()[COST]}
    assert labels == {("u-0", "search"), ("other", "search")}


def test_the_default_limit_is_a_hundred() -> None:
    """Without an option a key has a hundred values."""
    assert resolve({}, {}).metric_values_limit == 100


def test_a_list_can_be_a_label(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """A list of words is a value like any other."""
    telemetry = instrumented(metric_attributes=["tags"])
    _ask(client, tags=["a", "b"])
    (point,) = telemetry.metrics()[COST]
    assert tuple(point.attributes["tags"]) == ("a", "b")


@pytest.mark.parametrize("limit", [0, -1, "many", True])
def test_a_wrong_limit_is_refused(limit: Any) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(or_instrument.ConfigError, match=r"metric_values_limit=.* a whole number, at least 1"):
        or_instrument.instrument(metric_values_limit=limit)


def test_metrics_are_complete_at_one_percent_sampling(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Where hardly any trace is sampled the metrics know every call."""
    telemetry = instrumented(tracer_provider=TracerProvider(TraceIdRatioBased(0.01), shutdown_on_exit=False))
    for _ in range(20):
        _ask(client)
    assert sum(point.count for point in telemetry.metrics()[COST]) == 20
    assert telemetry.total(COST) == pytest.approx(float(fake.charged_usd))


def test_the_service_tier_is_a_label_where_it_is_asked_for(
    instrumented: Callable[..., Any], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """An attribute of ours among the keys of the user's own."""
    telemetry = instrumented(metric_attributes=["feature", "openrouter.response.service_tier"])
    fake.script(Answer(service_tier="flex"))
    _ask(client, feature="search")
    (point,) = telemetry.metrics()[COST]
    assert (point.attributes["feature"], point.attributes["openrouter.response.service_tier"]) == ("search", "flex")


def _outside(number: int) -> Call:
    """Return a call in which all that comes from outside has a value of its own."""
    return Call(
        number,
        Request(f"o-{number}", f"p-{number}", f"m-{number}", "h", 443),
        Reply(model=f"r-{number}", provider=f"s-{number}", failure=Failure(f"e-{number}")),
        "error",
        0,
        0.1,
        missing="error",
    )


def test_what_comes_from_outside_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Operation, models, providers and error type fold to `other`, each with one warning, and as they did before."""
    telemetry = Telemetry()
    sink = Metrics(telemetry.meter_provider.get_meter("test"), values_limit=2)
    with caplog.at_level(logging.WARNING, "or_instrument"):
        for number in (*range(9), 0):
            sink(_outside(number))
    told = {
        "gen_ai.operation.name": "o",
        "gen_ai.provider.name": "p",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "r",
        "openrouter.provider.name": "s",
        "error.type": "e",
    }
    points = telemetry.metrics()["gen_ai.client.operation.duration"]
    assert sorted(point.count for point in points) == [1, 2, 7]
    for name, letter in told.items():
        assert {point.attributes[name] for point in points} == {f"{letter}-0", f"{letter}-1", "other"}
    warned = [record.getMessage().split(" has had")[0] for record in caplog.records]
    assert sorted(warned) == sorted(f"the metric attribute {name}" for name in told)


def test_label_sets_are_bounded_too() -> None:
    """Names that are made up for ever fill no memory."""
    labels = LabelSets((), 3)
    for number in range(3000):
        labels.of(_outside(number))
    assert len(labels._cache) <= 1024
    assert labels.of(_outside(0)).common["gen_ai.request.model"] == "m-0"
    assert labels.of(_outside(2999)).common["gen_ai.request.model"] == "other"


def test_spans_keep_the_names_that_labels_fold(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """A model that is `other` in the metrics has its name on the span."""
    telemetry = instrumented(metric_values_limit=1)
    for model in ("a/first", "a/second"):
        client.chat.completions.create(model=model, messages=MESSAGES)
    assert [span.attributes["gen_ai.request.model"] for span in telemetry.spans()] == ["a/first", "a/second"]
    assert {point.attributes["gen_ai.request.model"] for point in telemetry.metrics()[COST]} == {"a/first", "other"}


def test_an_id_is_the_same_on_span_and_metric(
    instrumented: Callable[..., Any], client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """A UUID is a text on both, and OpenTelemetry has nothing to say about it."""
    telemetry = instrumented(metric_attributes=["tenant"])
    _ask(client, tenant=UUID(int=5))
    (point,) = telemetry.metrics()[COST]
    assert point.attributes["tenant"] == telemetry.span()["tenant"] == telemetry.calls[0].request.attributes["tenant"]
    assert telemetry.span()["tenant"] == "00000000-0000-0000-0000-000000000005"
    assert caplog.records == []
