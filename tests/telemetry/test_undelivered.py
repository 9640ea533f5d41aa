"""What is said where exports of ours do not arrive."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from or_instrument._telemetry import providers
from or_instrument._telemetry import undelivered as _undelivered
from or_instrument._telemetry.undelivered import Undelivered

THEIRS = logging.getLogger("opentelemetry.exporter.test")


class Exporter(SpanExporter):
    """One that says why it fails, as OpenTelemetry's do."""

    def __init__(self, *results: Any) -> None:
        self._endpoint = "http://collector:4318/v1/traces"
        self._results = list(results)

    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
        """Fail or not, as was wished."""
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        if result is SpanExportResult.FAILURE:
            THEIRS.warning("Connection refused, retrying in 1.00s.")
            THEIRS.error("Failed to export span batch due to timeout")
        return result  # type: ignore[no-any-return]


def test_one_line_a_minute_in_place_of_theirs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the endpoint and the first reason."""
    times = iter((100.0, 101.0, 159.0, 160.0))
    monkeypatch.setattr(_undelivered, "monotonic", lambda: next(times))
    undelivered = Undelivered()
    exporter = undelivered.watched(Exporter(*[SpanExportResult.FAILURE] * 4), SpanExportResult.FAILURE)
    for _ in range(4):
        assert exporter.export([]) is SpanExportResult.FAILURE
    assert [record.name for record in caplog.records] == ["or_instrument", "or_instrument"]
    assert "the exporter delivers nothing to http://collector:4318/v1/traces: connection refused. Calls" in caplog.text


def test_an_exporter_that_raises_is_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's own line with a traceback does not come of it."""
    undelivered = Undelivered()
    exporter = undelivered.watched(Exporter(ValueError("x")), SpanExportResult.FAILURE)
    assert exporter.export([]) is SpanExportResult.FAILURE
    assert undelivered.problem == "http://collector:4318/v1/traces: ValueError"
    assert len(caplog.records) == 1


def test_a_good_export_says_nothing_and_clears_the_problem(caplog: pytest.LogCaptureFixture) -> None:
    """What was is over."""
    undelivered = Undelivered()
    theirs = Exporter(SpanExportResult.FAILURE, SpanExportResult.SUCCESS)
    exporter = undelivered.watched(theirs, SpanExportResult.FAILURE)
    exporter.export([])
    assert undelivered.problem is not None
    caplog.clear()
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert undelivered.problem is None
    assert caplog.records == []


def test_an_export_under_way_has_not_succeeded_yet() -> None:
    """A process that ends meanwhile says so; what another exporter of ours delivers does not make up for it."""
    undelivered, seen = Undelivered(), list[str | None]()
    other = undelivered.watched(Exporter(SpanExportResult.SUCCESS), SpanExportResult.FAILURE)

    class Slow(Exporter):
        def export(self, spans: Any) -> SpanExportResult:
            other.export(spans)
            seen.append(undelivered.problem)
            return super().export(spans)

    undelivered.watched(Slow(SpanExportResult.SUCCESS), SpanExportResult.FAILURE).export([])
    assert seen == ["http://collector:4318/v1/traces: no answer yet"]
    assert undelivered.problem is None


def test_the_failure_of_one_goes_before_another_that_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """What is told is why something failed, and not that the other has no answer yet."""
    undelivered = Undelivered()
    other = undelivered.watched(Exporter(ValueError("x")), SpanExportResult.FAILURE)

    class Slow(Exporter):
        def export(self, spans: Any) -> SpanExportResult:
            other.export(spans)
            return super().export(spans)

    undelivered.watched(Slow(SpanExportResult.SUCCESS), SpanExportResult.FAILURE).export([])
    assert "the exporter delivers nothing to http://collector:4318/v1/traces: ValueError. Calls" in caplog.text


def test_exporters_of_the_application_say_what_they_say(caplog: pytest.LogCaptureFixture) -> None:
    """They use the same loggers."""
    Undelivered().watched(Exporter(), SpanExportResult.FAILURE)
    Exporter(SpanExportResult.FAILURE).export([])
    assert [record.name for record in caplog.records] == [THEIRS.name] * 2


def test_a_flush_that_fails_over_it_says_no_more(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's provider of metrics raises then: that is no failure of ours, and where nobody listens is said."""
    undelivered = Undelivered()
    undelivered.watched(Exporter(SpanExportResult.FAILURE), SpanExportResult.FAILURE).export([])
    undelivered._told_at = None
    caplog.clear()
    monkeypatch.setattr(providers, "UNDELIVERED", undelivered)

    def fail(**_: object) -> bool:
        raise ValueError

    assert not providers.flush_within(5.0, SimpleNamespace(force_flush=fail))
    (record,) = caplog.records
    assert "the exporter delivers nothing to http://collector:4318/v1/traces: connection refused." in caplog.text
    assert record.name == "or_instrument"
