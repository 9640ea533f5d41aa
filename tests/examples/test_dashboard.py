"""The Grafana dashboard: fresh, whole, and right on a real Prometheus that scraped calls made with the real SDK."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from prometheus_server import EXAMPLES, Labels, Prometheus, check_expressions, example, running

import or_instrument
from or_instrument._telemetry import names
from or_instrument.testing import FakeOpenRouter

DASHBOARD = EXAMPLES / "grafana" / "openrouter-cost.json"
JOB = "shop"
WINDOW = "10m"
ACCOUNT = "sum by (job) (openrouter_account_usage_USD)"
VARIABLES = {
    "$__interval": WINDOW,
    "$__range": WINDOW,
    "$job": ".*",
    "$model": ".*",
    "$by": "gen_ai_request_model",
}
BUDGET = "openrouter_account_budget"
MODEL, SERVED_BY, BYOK = "gen_ai_request_model", "openrouter_provider_name", "openrouter_usage_is_byok"


queries = example("grafana/queries.py")


def panels() -> dict[str, dict[str, Any]]:
    """Return the panels of the dashboard that ask for data, by title."""
    board = json.loads(DASHBOARD.read_text())
    return {panel["title"]: panel for panel in board["panels"] if panel.get("targets")}


def expression(panel: Mapping[str, Any], ref: str = "A") -> str:
    """Return the expression of a target with every variable filled in."""
    (found,) = (target["expr"] for target in panel["targets"] if target["refId"] == ref)
    for name, value in VARIABLES.items():
        found = found.replace(name, value)
    assert "$" not in found
    return str(found)


class World(NamedTuple):
    """What was called, and who saw it: the fake's own books, our records, Prometheus."""

    fake: FakeOpenRouter
    calls: list[or_instrument.Call]
    prometheus: Prometheus

    def books(self, *keys: str) -> dict[tuple[str, ...], list[dict[str, Any]]]:
        """Return what the fake keeps on the calls whose cost it told, by these keys of its own."""
        kept: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        told = {call.reply.id for call in self.calls if call.spend is not None}
        for entry in self.fake.generations.values():
            if entry["id"] in told:
                kept[tuple(str(entry[key]).lower() if key == "is_byok" else entry[key] for key in keys)].append(entry)
        return kept


def money(entries: list[dict[str, Any]]) -> float:
    """Return the USD that these calls cost in all."""
    return float(sum(Decimal(str(e["total_cost"])) + Decimal(str(e["upstream_inference_cost"])) for e in entries))


def tokens(entries: list[dict[str, Any]]) -> int:
    """Return the tokens of both types."""
    return sum(e["native_tokens_prompt"] + e["native_tokens_completion"] for e in entries)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Make one round of calls before Prometheus starts and two after its first scrape; return when all is scraped."""
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - so is this, where the exporter is
    from prometheus_client import start_http_server  # noqa: PLC0415 - it comes with the exporter

    traffic = example("traffic.py")
    provider = MeterProvider([exporter.PrometheusMetricReader()], shutdown_on_exit=False)
    calls: list[or_instrument.Call] = []
    or_instrument.instrument(
        hosts=["127.0.0.1"],
        meter_provider=provider,
        sinks=[calls.append],
        metric_attributes=traffic.LABELS,
        ledger=str(tmp_path_factory.mktemp("ledger") / "calls.db"),
    )
    server, thread = start_http_server(0, "127.0.0.1")
    with (
        FakeOpenRouter(prices=traffic.PRICES) as fake,
        openai.OpenAI(api_key="sk-or-test", base_url=fake.base_url, max_retries=0) as client,
        or_instrument.observe_account(client, every_s=3600, meter_provider=provider) as account,
    ):
        fake.key_limit_usd = 12.5
        account.refresh()
        traffic.make_round(client, fake)
        with running(tmp_path_factory.mktemp("prometheus"), JOB, server.server_port) as prometheus:
            prometheus.wait_until(lambda p: scraped(p) == len(calls))
            for _ in range(2):
                traffic.make_round(client, fake)
            or_instrument.flush()
            account.refresh()
            or_instrument.uninstrument()
            prometheus.wait_until(lambda p: scraped(p) == len(calls))
            prometheus.wait_until(lambda p: p.query(ACCOUNT).get(by("job")(JOB)) == float(fake.charged_usd))
            yield World(fake, calls, prometheus)
    server.shutdown()
    server.server_close()
    thread.join()
    provider.shutdown()


def scraped(prometheus: Prometheus) -> float:
    """Return how many calls Prometheus knows."""
    return next(iter(prometheus.query(f"sum({queries.CALLS})").values()), 0)


def by(*keys: str) -> Callable[..., Labels]:
    """Return a maker of label sets with these names; an empty label is none."""
    return lambda *values: frozenset((key, value) for key, value in zip(keys, values, strict=True) if value)


ALL: Labels = frozenset()
Expected = Callable[[World], dict[Labels, float]]


def per_model(figure: Callable[[list[dict[str, Any]]], float]) -> Expected:
    """Return the figure of each model's calls, by the fake's books."""
    return lambda w: {by(MODEL)(*key): figure(entries) for key, entries in w.books("model").items()}


def of_all(figure: Callable[[World], float]) -> Expected:
    """Return one figure without labels."""
    return lambda w: {ALL: figure(w)}


def told(world: World) -> list[dict[str, Any]]:
    """Return the fake's books on every call whose cost it told."""
    (entries,) = world.books().values()
    return entries


def total(key: str) -> Expected:
    """Return the sum of an amount over those books."""
    return of_all(lambda world: float(sum(Decimal(str(entry[key])) for entry in told(world))))


def counted(label: str, value: Callable[[or_instrument.Call], str | None]) -> Expected:
    """Return how many calls have each value of the label."""

    def expected(world: World) -> dict[Labels, float]:
        count: dict[Labels, float] = defaultdict(float)
        for call in world.calls:
            if (found := value(call)) is not None:
                count[by(label)(found)] += 1
        return count

    return expected


def mean(value: Callable[[or_instrument.Call], float | None]) -> Expected:
    """Return the mean of a value over each model's calls that have it."""

    def expected(world: World) -> dict[Labels, float]:
        found: dict[Labels, list[float]] = defaultdict(list)
        for call in world.calls:
            if (measured := value(call)) is not None:
                found[by(MODEL)(call.request.model or "")].append(measured)
        return {label: sum(values) / len(values) for label, values in found.items()}

    return expected


def in_rows(figure: Callable[[list[dict[str, Any]]], float]) -> Expected:
    """Return the figure of each row of the table of models."""
    row = by(MODEL, SERVED_BY, "job")
    return lambda w: {row(*key, JOB): figure(entries) for key, entries in w.books("model", "provider_name").items()}


def calls_in_rows(world: World) -> dict[Labels, float]:
    """Return how many calls each row of the table has, failed ones included: those have no provider."""
    count: dict[Labels, float] = defaultdict(float)
    for call in world.calls:
        count[by(MODEL, SERVED_BY, "job")(call.request.model or "", call.reply.provider or "", JOB)] += 1
    return count


def tokens_by_type(world: World) -> dict[Labels, float]:
    """Return the fake's own count of tokens."""
    entries = told(world)
    return {
        by("gen_ai_token_type")("input"): sum(e["native_tokens_prompt"] for e in entries),
        by("gen_ai_token_type")("output"): sum(e["native_tokens_completion"] for e in entries),
    }


def cache_share(world: World) -> float:
    """Return the part of the fake's input tokens that were cached."""
    entries = told(world)
    return float(sum(e["native_tokens_cached"] for e in entries) / sum(e["native_tokens_prompt"] for e in entries))


def within_seconds(world: World) -> dict[Labels, float]:
    """Return how many calls took at most so long, for each boundary."""
    bounds = [*names.SECONDS_BUCKETS, float("inf")]
    return {
        by("le")("+Inf" if bound == float("inf") else str(bound)): sum(call.duration_s <= bound for call in world.calls)
        for bound in bounds
    }


def part(count: Callable[[or_instrument.Call], bool]) -> Expected:
    """Return which part of the calls this holds for."""
    return of_all(lambda w: sum(map(count, w.calls)) / len(w.calls))


def unknown(call: or_instrument.Call) -> str | None:
    """Return why the call's cost is unknown, unless the service refused it."""
    return call.missing if call.missing != "rejected" else None


def by_tier(world: World) -> dict[Labels, float]:
    """Return the spend of each tier, of calls without one too."""
    spend: dict[Labels, float] = defaultdict(float)
    for call in world.calls:
        if call.spend is not None:
            tier = call.reply.service_tier
            spend[by("openrouter_response_service_tier")(tier) if tier else frozenset()] += call.spend
    return spend


def charged(calls: list[or_instrument.Call]) -> Decimal:
    """Return what OpenRouter charged for these calls, as far as they told."""
    return sum(
        (Decimal(str(call.usage.cost)) for call in calls if call.usage and call.usage.cost is not None), Decimal(0)
    )


def bypassed(world: World) -> dict[Labels, float]:
    """Return what was billed to credits by each provider that was billed to the user's own key too."""
    books = world.books("provider_name", "is_byok")
    return {
        by(SERVED_BY)(provider): money(books.get((provider, "false"), [])) for provider, byok in books if byok == "true"
    }


def switched(world: World) -> dict[Labels, float]:
    """Return how many calls each provider took over from another whose prompt cache was lost; 0 where it took none."""
    lost: dict[Labels, float] = defaultdict(float)
    for call in world.calls:
        if call.reply.provider:
            lost[by(SERVED_BY)(call.reply.provider)] += bool(call.provider_switched)
    return lost


spent = of_all(lambda world: money(told(world)))
EXPECTED: dict[tuple[str, str], Expected] = {
    ("Data", "A"): of_all(lambda _: 1),
    ("Today", "A"): spent,
    ("This month", "A"): spent,
    ("This period", "A"): spent,
    ("An hour, now", "A"): spent,
    ("Credits left", "A"): lambda w: {by("job")(JOB): float(Decimal("12.5") - w.fake.charged_usd)},
    ("Spend by $by", "A"): per_model(money),
    ("Who bills it", "A"): total("total_cost"),
    ("Who bills it", "B"): total("upstream_inference_cost"),
    ("Own key (BYOK) or not", "A"): lambda w: {by(BYOK)(*key): money(e) for key, e in w.books("is_byok").items()},
    ("By serving provider", "A"): lambda w: {
        by(SERVED_BY)(*key): money(e) for key, e in w.books("provider_name").items()
    },
    ("Own key bypassed", "A"): bypassed,
    ("By service tier", "A"): by_tier,
    ("By client", "A"): lambda w: {by("openrouter_client")("openai"): money(told(w))},
    ("Unattributed", "A"): lambda w: {by("job")(JOB): float(w.fake.charged_usd - charged(w.calls))},
    ("Budgets of the key", "A"): lambda w: {
        by(f"{BUDGET}_scope", f"{BUDGET}_reset_interval")("key_limit", "monthly"): float(
            Decimal("12.5") - w.fake.charged_usd
        )
    },
    ("By service, model and provider", "A"): in_rows(money),
    ("By service, model and provider", "B"): calls_in_rows,
    ("By service, model and provider", "C"): in_rows(lambda e: money(e) / len(e)),
    ("By service, model and provider", "D"): in_rows(lambda e: 1000 * money(e) / tokens(e)),
    ("Cost of a call", "A"): per_model(lambda e: money(e) / len(e)),
    ("Cost of 1,000 tokens", "A"): per_model(lambda e: 1000 * money(e) / tokens(e)),
    ("Tokens", "A"): tokens_by_type,
    ("Prompt cache", "A"): of_all(cache_share),
    ("Provider switches", "A"): switched,
    ("Calls", "A"): of_all(lambda w: len(w.calls)),
    ("Calls that failed", "A"): part(lambda call: call.failure is not None),
    ("Calls of unknown cost", "A"): of_all(lambda w: sum(unknown(call) is not None for call in w.calls)),
    ("Duration", "A"): mean(lambda call: call.duration_s),
    ("Durations", "A"): within_seconds,
    ("Time to first chunk", "A"): mean(lambda call: call.time_to_first_chunk_s),
    ("Errors", "A"): counted("error_type", lambda call: call.failure.type if call.failure else None),
    ("Unknown cost", "A"): counted("openrouter_missing_reason", unknown),
}


def test_json_is_what_its_script_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed dashboard is the one that build.py makes."""
    pytest.importorskip("grafana_foundation_sdk")
    monkeypatch.syspath_prepend(str(EXAMPLES / "grafana"))

    built = example("grafana/build.py").rendered()
    for name in ("queries", "panels"):
        sys.modules.pop(name, None)

    assert DASHBOARD.read_text() == built, "run: python examples/grafana/build.py"


def test_every_panel_has_an_expectation() -> None:
    """No expression of the dashboard goes untested."""
    asked = {(title, target["refId"]) for title, panel in panels().items() for target in panel["targets"]}

    assert set(EXPECTED) == asked


@pytest.mark.parametrize(("title", "ref"), EXPECTED, ids=lambda part: part.replace(" ", "-"))
def test_panel_shows_what_the_service_charged(world: World, title: str, ref: str) -> None:
    """The expression gives on Prometheus what the fake service's own books say."""
    shown = world.prometheus.query_up(expression(panels()[title], ref))

    assert shown == pytest.approx(EXPECTED[title, ref](world), rel=1e-9, abs=1e-15)


def test_panels_can_be_grouped_by_an_allowed_attribute(world: World) -> None:
    """A key of `metric_attributes` works as "Group by"."""
    asked = expression(panels()["Spend by $by"]).replace("sum by (gen_ai_request_model)", "sum by (tenant)")

    shown = world.prometheus.query(asked)

    assert {dict(labels)["tenant"] for labels in shown} == {"acme", "umbrella"}
    assert sum(shown.values()) == pytest.approx(money(told(world)), rel=1e-9)


def test_bars_add_up_to_the_total(world: World) -> None:
    """The windows of a graph's bars touch: every cent is in one bar, and in no other."""
    bar = str(queries.spend("2s", MODEL)).replace("$job", ".*").replace("$model", ".*")
    end = 2 * (int(time.time()) // 2 + 1)

    shown = world.prometheus.query(f"sum_over_time(({bar})[{WINDOW}:2s])", end)

    assert shown == pytest.approx(EXPECTED["Spend by $by", "A"](world), rel=1e-9)


def test_what_the_service_charged_is_either_shown_or_of_unknown_cost(world: World) -> None:
    """The spend shown and that of the calls counted as unknown make up the fake's whole bill."""
    (shown,) = world.prometheus.query(expression(panels()["This period"])).values()
    untold = [world.fake.generations[c.reply.id or ""] for c in world.calls if unknown(c)]

    assert len(untold) == 3
    assert shown + money(untold) == pytest.approx(float(world.fake.spend_usd), rel=1e-9)


def test_recording_rules_count_what_the_service_charged(world: World) -> None:
    """The rules that alerts are made of give on Prometheus what the fake's books say."""
    yaml = pytest.importorskip("yaml")
    rules = yaml.safe_load((EXAMPLES / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]
    counting = {rule["record"]: rule["expr"].replace("[5m]", f"[{WINDOW}]") for rule in rules if "[5m]" in rule["expr"]}
    shown = {name: world.prometheus.query(expr) for name, expr in counting.items()}
    of_model, of_job = by("job", MODEL), by("job")(JOB)
    books, of_provider = world.books("model").items(), by("job", SERVED_BY)
    keys = world.books("provider_name", "is_byok").items()
    read: dict[str, Counter[str]] = {"input_tokens": Counter(), "cache_read_tokens": Counter()}
    for call in world.calls:
        for name, counted in read.items():
            counted[str(call.request.model)] += getattr(call.usage, name, None) or 0

    assert shown == {
        "job_model:openrouter_spend_usd:5m": pytest.approx({of_model(JOB, *key): money(e) for key, e in books}),
        "job_model:openrouter_priced_calls:5m": {of_model(JOB, *key): len(e) for key, e in books},
        **{
            f"job_provider:openrouter_{name}_usd:5m": pytest.approx(
                {of_provider(JOB, provider): money(e) for (provider, byok), e in keys if byok == said}
            )
            for name, said in (("credits", "false"), ("own_key", "true"))
        },
        **{
            f"job_model:openrouter_{name}_tokens:5m": {of_model(JOB, m): n for m, n in read[field].items() if n}
            for name, field in (("input", "input_tokens"), ("cached", "cache_read_tokens"))
        },
        "job:openrouter_calls:5m": {of_job: len(world.calls)},
        "job:openrouter_failed_calls:5m": {of_job: sum(call.failure is not None for call in world.calls)},
        "job:openrouter_unknown_calls:5m": {of_job: sum(unknown(call) is not None for call in world.calls)},
    }


def test_rules_and_dashboard_name_only_metrics_that_are_there(world: World) -> None:
    """Every metric that an alert or a panel names was scraped: none is misspelt."""
    texts = (EXAMPLES / "prometheus" / "rules.yml").read_text(), DASHBOARD.read_text()
    named = set(re.findall(r"\b(?:gen_ai|openrouter)_\w+_(?:sum|count|bucket|total|USD|seconds)\b", " ".join(texts)))

    assert len(named) > 10
    assert {name for name in named if not world.prometheus.query(f"last_over_time({name}[{WINDOW}])")} == set()


def test_variables_offer_what_was_recorded(world: World) -> None:
    """The label values that the variables ask for are the job and the models of the calls."""
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    wanted = {variable["name"]: variable["query"] for variable in variables}
    found = world.prometheus.query(f"count by (job, gen_ai_request_model) (last_over_time({queries.CALLS}[{WINDOW}]))")

    assert wanted["job"] == f"label_values({queries.CALLS}, job)"
    assert {dict(labels)["job"] for labels in found} == {JOB}
    assert {dict(labels)[MODEL] for labels in found} == {call.request.model for call in world.calls}


@pytest.mark.parametrize("title", panels())
def test_panel_says_when_there_is_no_data(title: str) -> None:
    """Every panel has words for an empty result."""
    assert panels()[title]["fieldConfig"]["defaults"]["noValue"]


def test_money_has_the_decimals_for_a_tenth_of_a_cent() -> None:
    """Every panel in USD shows three decimals or more."""
    shown = [panel["fieldConfig"]["defaults"] for panel in panels().values()]
    decimals = [defaults["decimals"] for defaults in shown if defaults.get("unit") == "currencyUSD"]

    assert len(decimals) > 8
    assert min(decimals) >= 3


def test_links_lead_to_the_traces_in_jaeger() -> None:
    """Every graph links to Jaeger's search for its service and time, a row of the table also for its model."""
    links = re.findall(r'"url": "(.*?)"', DASHBOARD.read_text())
    of_model = [url for url in links if names.REQUEST_MODEL in url]

    assert len(links) == 1 + sum(panel["type"] == "timeseries" for panel in panels().values())
    assert len(of_model) == 1
    assert "service=${__data.fields.Service}" in of_model[0]
    for url in links:
        assert url.startswith("${traces}/search?service=${")
        assert url.endswith("start=${__from}000&end=${__to}000&limit=100")


def grown(*, by: str = "", window: str = "30m") -> str:
    """Return the growth of the spend, with the variables filled in."""
    return str(queries.spend(window, by)).replace("$job", ".*").replace("$model", ".*")


def spend_series(**labels: str) -> str:
    """Return a series of the spend."""
    text = ",".join(f'{key}="{value}"' for key, value in {"job": "a", **labels}.items())
    return f"{queries.SPEND}{{{text}}}"


def test_growth_sees_the_call_that_a_series_is_born_with(tmp_path: Path) -> None:
    """A counter that appears within the window counts with all it holds; `increase` would say 0."""
    check_expressions(tmp_path, {spend_series(): "_x50 0.25x10"}, {grown(): [("{}", 0.25)]})


def test_growth_is_not_extrapolated(tmp_path: Path) -> None:
    """One call in the window counts once; `increase` would add what it guesses at both ends."""
    check_expressions(tmp_path, {spend_series(): "5x20 _x14 5x10 6x10"}, {grown(): [("{}", 1)]})


def test_growth_of_an_idle_counter_is_zero(tmp_path: Path) -> None:
    """A counter that stands still gives 0, which is not the same as no data."""
    check_expressions(tmp_path, {spend_series(): "5x60"}, {grown(): [("{}", 0)]})


def test_growth_of_nothing_is_no_data(tmp_path: Path) -> None:
    """Where no series is, nothing is returned, not 0."""
    check_expressions(tmp_path, {spend_series(): "_x60"}, {grown(): []})


def test_growth_survives_a_gap_in_the_scrapes(tmp_path: Path) -> None:
    """A counter that was not scraped at the window's begin is not taken for a new one."""
    check_expressions(tmp_path, {spend_series(): "5x20 _x20 6x20"}, {grown(): [("{}", 1)]})


def test_growth_survives_a_reset(tmp_path: Path) -> None:
    """A process that starts anew under the same labels never makes the spend negative."""
    check_expressions(tmp_path, {spend_series(): "9x29 1x31"}, {grown(window="31m"): [("{}", 1)]})


def test_growth_of_a_series_that_ended_counts(tmp_path: Path) -> None:
    """What a process spent before it ended within the window stays in the sum."""
    series = {spend_series(instance="1"): "1x35 3x5 _x20", spend_series(instance="2"): "_x42 2x18"}

    each = [('{instance="1"}', 2), ('{instance="2"}', 2)]
    check_expressions(tmp_path, series, {grown(): [("{}", 4)], grown(by="instance"): each})


@pytest.mark.parametrize(
    ("series", "verdict"),
    [
        ({}, 0),
        ({"gen_ai_usage_cost_USD_count": "1x60", "gen_ai_client_operation_duration_seconds_count": "1x60"}, 1),
        ({"gen_ai_usage_cost_count": "1x60", "gen_ai_client_operation_duration_seconds_count": "1x60"}, 2),
        ({"gen_ai_client_operation_duration_seconds_count": "1x60"}, 3),
    ],
    ids=["nothing", "found", "other-unit", "no-cost"],
)
def test_data_panel_says_what_is_wrong(tmp_path: Path, series: dict[str, str], verdict: int) -> None:
    """Metrics under another name or unit, calls without a cost and no metrics at all have a message each."""
    panel = panels()["Data"]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]

    check_expressions(tmp_path, series, {expression(panel): [("{}", verdict)]})
    assert mapping["options"][str(verdict)]["text"]


def test_failed_calls_alone_have_no_cost_but_a_count(tmp_path: Path) -> None:
    """Cost per call is no data, not NaN, where every call failed."""
    series = {f'{queries.CALLS}{{job="a",error_type="500"}}': "0 1x59", spend_series(): "0x60"}
    per_call = str(queries.cost_per_call("30m")).replace("$job", ".*").replace("$model", ".*")
    share = str(queries.error_share("90m")).replace("$job", ".*").replace("$model", ".*")

    check_expressions(tmp_path, series, {per_call: [], share: [("{}", 1)]})
