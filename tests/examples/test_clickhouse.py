"""The questions of examples/clickhouse, asked of ClickHouse itself, about the spans of real calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest
from in_memory import Telemetry
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_server import EXAMPLES

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

SQL = os.environ.get("OR_INSTRUMENT_TESTS_CLICKHOUSE_SQL")
"""Where the Collector's exporter has its statements: `nox -s clickhouse` brings them."""
pytestmark = pytest.mark.skipif(
    find_spec("chdb") is None or SQL is None,
    reason="ClickHouse comes in the package chdb, and its tables in the Collector's exporter: nox -s clickhouse",
)
DATABASE, TABLE = "otel", "otel_traces"


def definitions() -> list[str]:
    """Return what the exporter sends when it begins, configured as in collector-fleet.yaml."""
    engine, ttl = "MergeTree()", "TTL toDateTime({}) + toIntervalDay(30)"
    filled = {
        "traces_table": (DATABASE, TABLE, "", engine, ttl.format("Timestamp")),
        "traces_id_ts_lookup_table": (DATABASE, TABLE, "", engine, ttl.format("Start")),
        "traces_id_ts_lookup_mv": (DATABASE, TABLE, "", *(DATABASE, TABLE) * 2),
    }
    return [f"CREATE DATABASE {DATABASE}", *(as_go(template(name), values) for name, values in filled.items())]


def template(name: str) -> str:
    """Return a statement of the exporter."""
    return Path(SQL or "", f"{name}.sql").read_text()


def as_go(text: str, values: tuple[str, ...]) -> str:
    """Return a text with values in the places of its verbs: `%s`, and `%q` with quotes."""
    rest = iter(values)
    filled = re.sub("%[sq]", lambda verb: f'"{next(rest)}"' if verb[0] == "%q" else next(rest), text)
    assert list(rest) == []
    return filled


ASK = """
import json, sys
from chdb import session
told = json.load(sys.stdin)
clickhouse = session.Session()
for statement in told["definitions"]:
    clickhouse.query(statement)
clickhouse.query("USE otel")
clickhouse.query("INSERT INTO otel_traces FORMAT JSONEachRow " + told["rows"])
options = " SETTINGS output_format_json_quote_decimals = 1, output_format_json_quote_64bit_integers = 0"
json.dump([json.loads(str(clickhouse.query(q + options, "JSON")))["data"] for q in told["questions"]], sys.stdout)
"""
"""In a process of its own: the library answers a failure with the end of the process."""


def row(span: ReadableSpan) -> dict[str, Any]:
    """Return a span as the exporter writes it: attributes are texts, as protobuf's JSON has them."""
    context, scope = span.context, span.instrumentation_scope
    assert context is not None
    assert scope is not None
    return {
        "Timestamp": f"{(span.start_time or 0) / 1e9:.9f}",
        "TraceId": f"{context.trace_id:032x}",
        "SpanId": f"{context.span_id:016x}",
        "ParentSpanId": "" if span.parent is None else f"{span.parent.span_id:016x}",
        "SpanName": span.name,
        "ServiceName": "shop",
        "ScopeName": scope.name,
        "SpanAttributes": {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in (span.attributes or {}).items()
        },
    }


def ask(spans: list[ReadableSpan]) -> list[list[dict[str, Any]]]:
    """Return what ClickHouse answers to each of the questions."""
    text = (EXAMPLES / "clickhouse" / "costs.sql").read_text()
    questions = [question for question in text.split(";\n") if "SELECT" in question]
    told = {
        "definitions": definitions(),
        "rows": "\n".join(json.dumps(row(span)) for span in spans),
        "questions": questions,
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], input=json.dumps(told), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return answers


def test_rows_have_columns_of_the_exporter_s(telemetry: Telemetry, client: openai.OpenAI) -> None:
    """What is written here in its place goes into columns that it fills itself."""
    client.chat.completions.create(model="a/model", messages=[])
    (span,) = telemetry.spans()
    columns = template("traces_insert").partition("(")[2].partition(")")[0]
    assert row(span).keys() <= {column.strip() for column in columns.split(",")}


def test_clickhouse_answers_what_the_ledger_does(
    instrumented: Callable[..., Telemetry], client: openai.OpenAI, fake: FakeOpenRouter, tmp_path: Path
) -> None:
    """By model and tenant, for BYOK and look-ups, to the digit of the service's own books."""
    telemetry = instrumented(lookup="missing", ledger=tmp_path / "costs.db")
    fake.script(
        Answer(cost=0.1),
        Answer(cost=0.2),
        Answer(cost=1e-07, byok=True, upstream=0.3),
        Answer(cost=0.5),
        Answer(status=500),
    )
    asked: Any = {"messages": []}
    for model, tenant in (("a/model", "acme"), ("b/other", "acme"), ("a/model", "zeta")):
        with or_instrument.attributes(tenant=tenant):
            client.chat.completions.create(model=model, **asked)
    with client.chat.completions.create(model="a/model", stream=True, **asked) as stream:
        next(iter(stream))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="a/model", **asked)
    assert or_instrument.flush()
    by_model, by_tenant, parts, unknown = ask(telemetry.spans())
    assert {line["model"]: (Decimal(line["usd"]), line["calls"]) for line in by_model} == {
        "a/model": (Decimal("0.9000001"), 4),
        "b/other": (Decimal("0.2"), 1),
    }
    assert sum(Decimal(line["usd"]) for line in by_model) == fake.spend_usd
    assert {line["tenant"]: Decimal(line["usd"]) for line in by_tenant} == {
        "acme": Decimal("0.3"),
        "zeta": Decimal("0.3000001"),
        "": Decimal("0.5"),
    }
    assert [(Decimal(line["charged"]), Decimal(line["upstream"])) for line in parts] == [
        (fake.charged_usd, Decimal("0.3"))
    ]
    assert [(line["error"], line["calls"]) for line in unknown] == [("500", 1)]
