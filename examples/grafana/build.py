"""Builds openrouter-cost.json, the Grafana dashboard: `python examples/grafana/build.py`."""

from __future__ import annotations

from pathlib import Path

import queries as q
from grafana_foundation_sdk.builders import common, dashboard, heatmap, stat, table, text
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from panels import (
    NO_DATA,
    PLAIN,
    ROW_TRACES,
    SECONDS,
    SHARE,
    SOURCE,
    USD,
    bars,
    framed,
    graph,
    link,
    number,
    points,
    query,
)

TARGET = Path(__file__).with_name("openrouter-cost.json")
PERIOD, BAR = "$__range", "$__interval"
GROUP = "{{$by}}"
BUDGET = " ".join(f"{{{{openrouter_account_budget_{name}}}}}" for name in ("scope", "reset_interval", "id"))
GUIDE = """\
**Spend** is what a call cost in all: OpenRouter's charge and, on your own provider key (BYOK), the provider's bill.
**No data** is not 0: nothing was measured. Calls that failed cost nothing; a call *of unknown cost* ended before its
price was told (`lookup="missing"` recovers it).

The metrics are expected as `gen_ai_usage_cost_USD_sum` and the like: dots as underscores, with unit and type suffixes.
This is what opentelemetry-exporter-prometheus writes, and Prometheus's OTLP receiver with its default
`translation_strategy: UnderscoreEscapingWithSuffixes`. *Service* is the label `job`.

To group by an attribute of your own, allow it with `instrument(metric_attributes=["tenant"])` and type its name into
*Group by*. *Traces* is the address of Jaeger, which the links of the panels lead to.
"""


def verdict(text_shown: str, color: str) -> models.ValueMappingResult:
    return models.ValueMappingResult(text=text_shown, color=color)


def data_check() -> stat.Panel:
    messages = {
        "0": verdict("No metrics yet: does the service run, with metrics exported, and is it scraped?", "orange"),
        "1": verdict("Metrics found", "green"),
        "2": verdict("Other name or unit: gen_ai_usage_cost_USD_sum is expected", "red"),
        "3": verdict("Calls, but none whose cost is known", "red"),
    }
    panel = framed(stat.Panel(), "Data", "Whether the metrics are there, under the names expected.", 4, 4)
    panel = panel.graph_mode(options.BigValueGraphMode.NONE).color_mode(options.BigValueColorMode.BACKGROUND)
    panel = panel.text(common.VizTextDisplayOptions().value_size(16)).no_value("The data source does not answer")
    return panel.mappings([models.ValueMap(options=messages)]).with_target(query(q.data_check(), "data").instant())


def by_model() -> table.Panel:
    by = "job, gen_ai_request_model, openrouter_provider_name"
    columns = {
        "Spend": q.spend(PERIOD, by),
        "Calls": q.grown(q.CALLS, PERIOD, by),
        "USD per call": q.cost_per_call(PERIOD, by),
        "USD per 1,000 tokens": q.cost_per_1000_tokens(PERIOD, by),
    }
    names = {"job": "Service", "gen_ai_request_model": "Model", "openrouter_provider_name": "Served by"}
    panel = framed(table.Panel(), "By service, model and provider", "Click a model for its traces.", 24, 8)
    for ref, (name, expression) in zip("ABCD", columns.items(), strict=True):
        panel = panel.with_target(query(expression, name, ref).instant().format(PromQueryFormat.TABLE))
        names[f"Value #{ref}"] = name
        money = [
            models.DynamicConfigValue("unit", PLAIN if name == "Calls" else USD),
            models.DynamicConfigValue("decimals", 0 if name == "Calls" else 6),
        ]
        panel = panel.override_by_name(name, money)
    panel = panel.override_by_name("Model", [models.DynamicConfigValue("links", [link("Traces", ROW_TRACES).build()])])
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    hidden = {"excludeByName": {"Time": True}, "renameByName": names}
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=hidden))
    return panel.sort_by([common.TableSortByFieldState().display_name("Spend").desc(True)]).no_value(NO_DATA)


def durations() -> heatmap.Panel:
    panel = framed(heatmap.Panel(), "Durations", "How many calls took how long.", 12, 8).no_value(NO_DATA)
    target = query(q.grown(q.SECONDS_BUCKETS, BAR, "le"), "{{le}}").format(PromQueryFormat.HEATMAP).exemplar(True)
    axis = heatmap.YAxisConfig().unit(SECONDS)
    return panel.interval("1m").max_data_points(100).y_axis(axis).with_target(target)


def money() -> list[Builder[models.Panel]]:
    return [
        data_check(),
        number("Today", q.spend(PERIOD), "USD spent since midnight.", since="now/d"),
        number("This month", q.spend(PERIOD), "USD spent since the first of the month.", since="now/M"),
        number("This period", q.spend(PERIOD), "USD spent in the time chosen above."),
        number("An hour, now", q.spend("1h"), "USD spent in the last hour."),
        number("Credits left", q.credits_left(), "USD left of the key's limit, where the service reports it."),
        bars("Spend by $by", "USD spent in each bar's time.", query(q.spend(BAR, "$by"), GROUP)),
        bars(
            "Who bills it",
            "OpenRouter's charge, its BYOK fee included, against what providers bill on your own keys.",
            query(q.billed_by_openrouter(BAR), "OpenRouter"),
            query(q.billed_by_provider(BAR), "providers, on your own keys", "B"),
        ),
        bars(
            "Own key (BYOK) or not",
            "USD spent, by whether your own provider key was used.",
            query(q.spend(BAR, "openrouter_usage_is_byok"), "BYOK: {{openrouter_usage_is_byok}}"),
        ),
        bars(
            "By serving provider",
            "USD spent, by the provider that OpenRouter chose.",
            query(q.spend(BAR, "openrouter_provider_name"), "{{openrouter_provider_name}}"),
        ),
        bars(
            "Own key bypassed",
            "USD billed to your credits by providers that your own key was used at within the day before.",
            query(q.byok_bypassed(BAR), "{{openrouter_provider_name}}"),
        ).span(8),
        bars(
            "By service tier",
            "USD spent, by the tier that calls were served in; allow it with metric_attributes.",
            query(q.spend(BAR, q.TIER), f"{{{{{q.TIER}}}}}"),
        ).span(8),
        bars(
            "By client",
            "USD spent, by the library that made the calls; allow it with metric_attributes.",
            query(q.spend(BAR, q.CLIENT), f"{{{{{q.CLIENT}}}}}"),
        ).span(8),
        graph(
            "Budgets of the key",
            "USD left of each, where the service reports them.",
            query(q.budgets_left(), BUDGET),
            unit=USD,
            decimals=3,
        ).span(24),
        by_model(),
    ]


def efficiency() -> list[Builder[models.Panel]]:
    per_1000 = query(q.cost_per_1000_tokens(BAR, "$by"), GROUP)
    return [
        points("Cost of a call", "Mean USD.", query(q.cost_per_call(BAR, "$by"), GROUP), unit=USD, decimals=6),
        points("Cost of 1,000 tokens", "USD, input and output together.", per_1000, unit=USD, decimals=6),
        bars(
            "Tokens",
            "Input and output tokens.",
            query(q.grown(q.TOKENS, BAR, "gen_ai_token_type"), "{{gen_ai_token_type}}"),
            unit=PLAIN,
            decimals=0,
        ).span(8),
        points(
            "Prompt cache",
            "The part of the input tokens that was read from a cache.",
            query(q.cache_hit_share(BAR), "cache hits"),
            unit=SHARE,
            decimals=1,
        ).span(8),
        bars(
            "Provider switches",
            "Calls whose session went to another provider, this one, and lost its prompt cache.",
            query(q.provider_switches(BAR), "{{openrouter_provider_name}}"),
            unit=PLAIN,
            decimals=0,
        ).span(8),
    ]


def health() -> list[Builder[models.Panel]]:
    seconds = q.ratio(q.grown(q.SECONDS, BAR, "$by"), q.grown(q.CALLS, BAR, "$by"))
    first = q.ratio(q.grown(q.FIRST_CHUNK, BAR, "$by"), q.grown(q.STREAMS, BAR, "$by"))
    missing = query(q.grown(q.MISSING, BAR, q.REASON, only=q.UNKNOWN), f"{{{{{q.REASON}}}}}")
    return [
        number("Calls", q.grown(q.CALLS, PERIOD), "Calls in the time chosen.", unit=PLAIN, decimals=0).span(6),
        number("Calls that failed", q.error_share(PERIOD), "Part of all calls.", unit=SHARE, decimals=1).span(6),
        number("Calls of unknown cost", q.unknown(PERIOD), "See below.", unit=PLAIN, decimals=0).span(6),
        number(
            "Unattributed",
            q.unattributed(),
            "USD that the key was charged and that no recorded call explains, where there is a ledger.",
        ).span(6),
        points("Duration", "Mean seconds of a call.", query(seconds, GROUP), unit=SECONDS, decimals=2),
        durations(),
        points("Time to first chunk", "Mean seconds, streams only.", query(first, GROUP), unit=SECONDS, decimals=2),
        bars(
            "Errors",
            "Failed calls by type.",
            query(q.grown(q.CALLS, BAR, "error_type", only=q.FAILED), "{{error_type}}"),
            unit=PLAIN,
            decimals=0,
        ),
        bars("Unknown cost", "Calls whose cost never became known.", missing, unit=PLAIN, decimals=0),
        text.Panel().title("How to read this").span(12).height(8).content(GUIDE),
    ]


def build() -> dashboard.Dashboard:
    board = dashboard.Dashboard("OpenRouter cost").uid("openrouter-cost").tags(["openrouter", "cost", "llm"])
    board = board.time("now-24h", "now").refresh("1m").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    for variable in variables():
        board = board.with_variable(variable)
    for title, panels in (("Money", money()), ("Efficiency", efficiency()), ("Health", health())):
        board = board.with_row(dashboard.Row(title))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def variables() -> list[Builder[models.VariableModel]]:
    labels = "gen_ai_request_model,openrouter_provider_name,openrouter_usage_is_byok,job,gen_ai_operation_name,"
    labels += f"{q.CLIENT},{q.TIER}"
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        values_of("job", "Service", f"label_values({q.CALLS}, job)"),
        values_of("model", "Model", f'label_values({q.CALLS}{{job=~"$job"}}, gen_ai_request_model)'),
        dashboard.CustomVariable("by").label("Group by").values(labels).allow_custom_value(True),
        dashboard.TextBoxVariable("traces").label("Traces").default_value("http://localhost:16686"),
    ]


def values_of(name: str, label: str, expression: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).query(expression).datasource(SOURCE)
    everything = models.VariableOption(text="All", value="$__all")
    variable = variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True)
    return variable.include_all(True).all_value(".*").current(everything)


def rendered() -> str:
    return JSONEncoder(sort_keys=True, indent=2).encode(build().build()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(rendered())
    print(f"written: {TARGET}")
