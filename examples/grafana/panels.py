"""The kinds of panels that the dashboard is made of."""

from __future__ import annotations

from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
USD, SECONDS, SHARE, PLAIN = "currencyUSD", "s", "percentunit", "short"
NO_DATA = "no data"
TIME = "start=${__from}000&end=${__to}000&limit=100"
SERVICE_TRACES = "${traces}/search?service=${job}&" + TIME
ROW_TRACES = (
    "${traces}/search?service=${__data.fields.Service}&tags="
    "%7B%22gen_ai.request.model%22%3A%22${__data.fields.Model}%22%7D&" + TIME
)
Panel = TypeVar("Panel", stat.Panel, timeseries.Panel, table.Panel, heatmap.Panel)


def query(expression: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref)


def framed(panel: Panel, title: str, description: str, width: int, height: int) -> Panel:
    return panel.title(title).description(description).datasource(SOURCE).span(width).height(height)


def number(
    title: str, expression: str, description: str, *, unit: str = USD, decimals: int = 3, since: str = ""
) -> stat.Panel:
    panel = framed(stat.Panel(), title, description, 4, 4).unit(unit).decimals(decimals).no_value(NO_DATA)
    panel = panel.graph_mode(options.BigValueGraphMode.NONE).with_target(query(expression, "{{job}}").instant())
    return panel.time_from(since) if since else panel


def graph(title: str, description: str, *targets: prometheus.Dataquery, unit: str, decimals: int) -> timeseries.Panel:
    panel = framed(timeseries.Panel(), title, description, 12, 8).unit(unit).decimals(decimals).min(0).no_value(NO_DATA)
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode.TABLE).show_legend(True)
    panel = panel.interval("1m").max_data_points(200).legend(legend.placement(options.LegendPlacement.RIGHT))
    panel = panel.data_links([link("Traces of the service (choose one above)", SERVICE_TRACES)])
    for target in targets:
        panel = panel.with_target(target)
    return panel


def bars(title: str, description: str, *targets: prometheus.Dataquery, unit: str = USD, decimals: int = 4) -> Panel:
    """Return stacked bars, each of which holds what came in its own time: together they are the total."""
    panel = graph(title, description, *targets, unit=unit, decimals=decimals).fill_opacity(80)
    stacking = common.StackingConfig().mode(options.StackingMode.NORMAL).group("A")
    sums = common.VizLegendOptions().display_mode(options.LegendDisplayMode.TABLE).show_legend(True).calcs(["sum"])
    panel = panel.draw_style(options.GraphDrawStyle.BARS).stacking(stacking)
    return panel.legend(sums.placement(options.LegendPlacement.RIGHT))


def points(title: str, description: str, *targets: prometheus.Dataquery, unit: str, decimals: int) -> timeseries.Panel:
    """Return points: where there was no call there is no mean, so nothing is joined up."""
    return graph(title, description, *targets, unit=unit, decimals=decimals).show_points(options.VisibilityMode.ALWAYS)


def link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url).target_blank(True)
