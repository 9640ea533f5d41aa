"""The chain of the examples, of real programs: Collector, Jaeger and Prometheus agree with the books to the digit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import openai
import pytest
from chain import Chain, running, validate
from prometheus_server import EXAMPLES, example
from served import wait_until

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter, errors

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PROGRAMS: Final = Path(os.environ.get("OR_INSTRUMENT_TESTS_PROGRAMS", "nowhere"))
"""Where otelcol, jaeger and prometheus are; `nox -s chain` builds them."""
if not (PROGRAMS / "otelcol" / "otelcol").exists():
    pytest.skip("the programs of the chain are not built: nox -s chain", allow_module_level=True)
SERVICE: Final = "shop"
WINDOW: Final = "10m"
SUM: Final = "sum(gen_ai_usage_cost_USD_sum)"
ANCHORED: Final = "created-timestamp-zero-ingestion,promql-extended-range-selectors"
"""The features of Prometheus with which docs/costs.md has a short form."""
traffic = example("traffic.py")


class Books:
    """What was made: our records of all calls, over all processes of the service, and the ledger that they share."""

    def __init__(self, fake: FakeOpenRouter, ledger: Path) -> None:
        self.fake = fake
        self.ledger = ledger
        self.calls: list[or_instrument.Call] = []
        self.rounds = 0

    @property
    def spend(self) -> Decimal:
        """USD, of the calls whose cost was told."""
        return sum((call.usage.spend_exact or Decimal(0) for call in self.calls if call.usage), Decimal(0))

    @property
    def unattributed(self) -> float:
        """USD that the key was charged and that no call told."""
        told = (Decimal(str(call.usage.cost)) for call in self.calls if call.usage and call.usage.cost is not None)
        return float(self.fake.charged_usd - sum(told, Decimal(0)))

    def make_round(self, client: openai.OpenAI) -> None:
        """Make the calls of examples/traffic.py once."""
        traffic.make_round(client, self.fake)
        self.rounds += 1


@contextmanager
def process(chain: Chain, books: Books) -> Iterator[openai.OpenAI]:
    """Yield a client in what is a process of the service to those who look from outside; flush all at its end."""
    resource = Resource.create({"service.name": SERVICE, "service.instance.id": str(uuid4())})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{chain.otlp}/v1/traces", timeout=60)))
    exporter = OTLPMetricExporter(f"{chain.otlp}/v1/metrics", timeout=60)
    meters = MeterProvider([PeriodicExportingMetricReader(exporter, 1000)], resource, shutdown_on_exit=False)
    or_instrument.instrument(
        hosts="127.0.0.1",
        tracer_provider=tracers,
        meter_provider=meters,
        sinks=[books.calls.append],
        metric_attributes=traffic.LABELS,
        ledger=str(books.ledger),
    )
    with (
        openai.OpenAI(api_key="sk-or-test", base_url=books.fake.base_url, max_retries=0) as client,
        or_instrument.observe_account(client, every_s=3600, meter_provider=meters) as account,
    ):
        # What is charged before the first reading is none of the growth.
        account.refresh()
        yield client
        or_instrument.flush()
        account.refresh()
        meters.force_flush()
    or_instrument.uninstrument()
    tracers.shutdown()
    meters.shutdown()


def panels() -> Iterator[tuple[str, str]]:
    """Yield the title and the query of each panel, its variables filled in."""
    board = json.loads((EXAMPLES / "grafana" / "openrouter-cost.json").read_text())
    filled = {"$__interval": WINDOW, "$__range": WINDOW, "$job": ".*", "$model": ".*", "$by": "gen_ai_request_model"}
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in filled.items():
                query = query.replace(name, value)
            yield panel["title"], query


def check_panels(chain: Chain, books: Books) -> None:
    """Hold what the dashboard shows against the books."""
    shown = {}
    for title, query in panels():
        shown.setdefault(title, chain.prometheus.query(query))
    spend = pytest.approx(float(books.spend), rel=1e-9)
    for title in ("Today", "This month", "This period"):
        assert sum(shown[title].values()) == spend, title
    for title in ("Spend by $by", "Own key (BYOK) or not", "By serving provider", "By service, model and provider"):
        assert sum(shown[title].values()) == spend, title
    for title in ("By client", "By service tier"):
        assert sum(shown[title].values()) == spend, title
    assert sum(shown["Own key bypassed"].values()) == pytest.approx(bypassed(books), rel=1e-9)
    assert sum(shown["Provider switches"].values()) == books.rounds
    assert sum(shown["Calls"].values()) == len(books.calls)
    assert list(shown["Data"].values()) == [1]


def bypassed(books: Books) -> float:
    """Return the USD billed to credits by providers that were billed to the user's own key too."""
    used = [(call.usage, call.reply.provider) for call in books.calls if call.usage and call.usage.spend is not None]
    own = {provider for usage, provider in used if usage.is_byok}
    return sum(usage.spend or 0 for usage, provider in used if provider in own and not usage.is_byok)


def arrived(chain: Chain, books: Books) -> None:
    """Wait until Prometheus has the metrics of all calls."""
    count = f"sum(gen_ai_client_operation_duration_seconds_count{{job='{SERVICE}'}})"
    wait_until(lambda: sum(chain.prometheus.query(count).values()) == len(books.calls))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Return the chain, which keeps every trace."""
    with running(PROGRAMS, tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Return the books of a running fake service."""
    with FakeOpenRouter(prices=traffic.PRICES) as fake:
        fake.key_limit_usd = 5
        yield Books(fake, tmp_path_factory.mktemp("ledger") / "calls.db")


def test_the_dashboard_is_right_in_every_shape_of_traffic(chain: Chain, books: Books) -> None:
    """After the first call ever, in steady traffic, and after all workers were started anew; every panel answers."""
    with process(chain, books) as client:
        books.fake.script(Answer(cost="0.123456"))
        client.chat.completions.create(model=traffic.SONNET, messages=[{"role": "user", "content": "?"}])
        arrived(chain, books)
        check_panels(chain, books)
        for _ in range(3):
            books.make_round(client)
        arrived(chain, books)
        check_panels(chain, books)
    with process(chain, books) as client:
        books.make_round(client)
    arrived(chain, books)
    check_panels(chain, books)
    left_over = dict(panels())["Unattributed"]
    # Of a process that has ended Prometheus shows the last value for five minutes, and the larger one of two.
    wait_until(lambda: list(chain.prometheus.query(left_over).values()) == [pytest.approx(books.unattributed)])
    assert [title for title, query in panels() if not chain.prometheus.query(query)] == []
    check_jaeger(chain, books)


def check_jaeger(chain: Chain, books: Books) -> None:
    """Hold the calls that Jaeger finds, by what they cost and by whose key it was, against the books."""
    wait_until(lambda: len(chain.spans(SERVICE)) == len(books.calls))
    told = sum(Decimal(str(tags.get("openrouter.usage.spend", 0))) for tags in chain.spans(SERVICE))
    assert told == books.spend
    byok = [call for call in books.calls if call.usage and call.usage.is_byok]
    assert len(chain.spans(SERVICE, **{"openrouter.usage.is_byok": "true"})) == len(byok)
    (dear,) = chain.spans(SERVICE, **{"openrouter.cost.band": "over_10_cents"})
    assert dear["openrouter.usage.spend"] == 0.123456
    mini = [call for call in books.calls if call.request.model == traffic.MINI]
    assert len(chain.spans(SERVICE, **{"gen_ai.request.model": traffic.MINI})) == len(mini)


def test_sampling_keeps_every_error_and_every_dear_call(tmp_path: Path) -> None:
    """With five traces in a hundred kept, no failed call and none from five cents up is lost; metrics are complete."""
    with running(PROGRAMS, tmp_path, keep_percent=5) as chain, FakeOpenRouter() as fake:
        books = Books(fake, tmp_path / "calls.db")
        asked: Any = {"model": "a/model", "messages": [{"role": "user", "content": "?"}]}
        with process(chain, books) as client:
            for number in range(100):
                fake.script(Answer(cost="0.05" if number % 10 == 0 else "0.001"))
                client.chat.completions.create(**asked)
            for _ in range(5):
                fake.script(errors.rate_limit(1))
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(**asked)
        arrived(chain, books)
        wait_until(lambda: [tags.get("error") for tags in chain.spans(SERVICE)].count(True) == 5)
        wait_until(lambda: len(chain.spans(SERVICE, **{"openrouter.usage.spend": "0.05"})) == 10)
        assert len(chain.spans(SERVICE)) < 60
        assert sum(chain.prometheus.query(SUM).values()) == pytest.approx(float(books.spend), rel=1e-9)


def test_the_short_form_is_exact_too(tmp_path: Path) -> None:
    """`increase(... anchored)` equals the books from the first call on, also after a restart; plain does not."""
    increase = "sum(increase(gen_ai_usage_cost_USD_sum[10m]{}))"
    with running(PROGRAMS, tmp_path, features=ANCHORED) as chain, FakeOpenRouter(prices=traffic.PRICES) as fake:
        books = Books(fake, tmp_path / "calls.db")

        def check() -> None:
            arrived(chain, books)
            (anchored,) = chain.prometheus.query(increase.format(" anchored")).values()
            plain = sum(chain.prometheus.query(increase.format("")).values())
            assert anchored == pytest.approx(float(books.spend), rel=1e-9)
            assert plain != pytest.approx(float(books.spend), rel=1e-3)

        for _ in range(2):
            with process(chain, books) as client:
                books.make_round(client)
                check()
                books.make_round(client)
                check()


@pytest.mark.parametrize("names", ["NoUTF8EscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes", "NoTranslation"])
def test_the_data_panel_tells_other_names(tmp_path: Path, names: str) -> None:
    """With each other way of making names it says so, instead of "no metrics"."""
    with running(PROGRAMS, tmp_path, names=names) as chain, FakeOpenRouter() as fake:
        with process(chain, Books(fake, tmp_path / "calls.db")) as client:
            client.chat.completions.create(model=traffic.MINI, messages=[{"role": "user", "content": "?"}])
        data = dict(panels())["Data"]
        wait_until(lambda: list(chain.prometheus.query(data).values()) == [2], patience_s=60)


def test_the_fleet_configuration_is_valid() -> None:
    """Laid over the other one, as its head says."""
    validate(PROGRAMS, "collector.yaml")
    validate(PROGRAMS, "collector.yaml", "collector-fleet.yaml")
