"""Draws the dashboard from its own JSON and what a Prometheus answers to its queries: a drawing, no screenshot.

pip install matplotlib
python examples/pictures/dashboard.py http://localhost:9090 docs/pictures/dashboard.png
"""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BOARD = Path(__file__).parents[1] / "grafana" / "openrouter-cost.json"
RANGE_S, STEP_S = 600, 20
FILLED = {
    "$__interval": f"{STEP_S}s",
    "$__range": f"{RANGE_S}s",
    "$job": ".*",
    "$model": ".*",
    "$by": "gen_ai_request_model",
}
UNITS = {"currencyUSD": "${:.4f}", "s": "{:.2f} s", "percentunit": "{:.1%}", "short": "{:,.0f}"}
COLUMN, ROW = 24, 0.3
"""Grafana's columns in a row of panels, and inches of one of its rows."""


def filled(text: str) -> str:
    for name, value in FILLED.items():
        text = text.replace(name, value)
    return text


def ask(server: str, query: str, *, over_time: bool) -> list[dict[str, Any]]:
    now = time.time()
    fields: dict[str, Any] = {"query": filled(query)}
    if over_time:
        fields |= {"start": now - RANGE_S, "end": now, "step": STEP_S}
    path = "query_range" if over_time else "query"
    with urllib.request.urlopen(f"{server}/api/v1/{path}", urllib.parse.urlencode(fields).encode()) as answer:
        return list(json.load(answer)["data"]["result"])


def named(series: dict[str, Any], target: dict[str, Any]) -> str:
    fixed = target["legendFormat"]
    return ", ".join(series["metric"].values()) or ("none" if "{{" in fixed else fixed)


def number(axes: Axes, panel: dict[str, Any], server: str) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    found = ask(server, panel["targets"][0]["expr"], over_time=False)
    shown = defaults.get("noValue", "no data")
    if found:
        value = found[0]["value"][1]
        mapped = [m["options"][value]["text"] for m in defaults.get("mappings", ()) if value in m["options"]]
        shown = mapped[0] if mapped else UNITS[defaults["unit"]].format(float(value))
    axes.text(0.5, 0.45, shown, ha="center", va="center", fontsize=13, color="#73bf69")
    axes.axis("off")


def graph(axes: Axes, panel: dict[str, Any], server: str) -> None:
    bars = panel["fieldConfig"]["defaults"].get("custom", {}).get("drawStyle") == "bars"
    below: dict[float, float] = {}
    for target in panel["targets"]:
        for series in ask(server, target["expr"], over_time=True):
            at = [float(when) - time.time() for when, _ in series["values"]]
            values = [float(value) for _, value in series["values"]]
            if bars:
                bottom = [below.get(round(when), 0.0) for when in at]
                axes.bar(at, values, STEP_S, bottom, label=named(series, target))
                below |= {round(when): under + value for when, under, value in zip(at, bottom, values, strict=True)}
            else:
                axes.plot(at, values, ".", label=named(series, target))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=5, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelcolor="#ccc")
    axes.tick_params(labelsize=5, colors="#999")
    axes.set_xticks([-RANGE_S, -RANGE_S / 2, 0], ["10 min ago", "5 min ago", "now"])


def table(axes: Axes, panel: dict[str, Any], server: str) -> None:
    rows: dict[tuple[str, ...], list[str]] = {}
    for column, target in enumerate(panel["targets"]):
        for series in ask(server, target["expr"], over_time=False):
            key = tuple(
                series["metric"].get(label, "") for label in ("job", "gen_ai_request_model", "openrouter_provider_name")
            )
            cells = rows.setdefault(key, [""] * len(panel["targets"]))
            cells[column] = f"{float(series['value'][1]):,.6g}"
    listed = sorted(([*key, *cells] for key, cells in rows.items()), key=lambda row: -float(row[3] or 0))
    heads = ["Service", "Model", "Served by", *(target["legendFormat"] for target in panel["targets"])]
    axes.axis("off")
    drawn = axes.table([heads, *listed], loc="upper center", cellLoc="left", edges="horizontal")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(6)
    for cell in drawn.get_celld().values():
        cell.set_edgecolor("#444")
        cell.get_text().set_color("#ccc")


def heat(axes: Axes, panel: dict[str, Any], server: str) -> None:
    found = ask(server, panel["targets"][0]["expr"], over_time=False)
    below = sorted((float(series["metric"]["le"]), float(series["value"][1])) for series in found)
    counts = [count - under for (_, count), (_, under) in zip(below, [(0.0, 0.0), *below], strict=False)]
    axes.barh([str(bound) for bound, _ in below], counts)
    axes.tick_params(labelsize=5, colors="#999")


DRAWN = {"stat": number, "timeseries": graph, "table": table, "heatmap": heat}


def draw(server: str, target: str) -> None:
    panels = [panel for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] in DRAWN]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(12, height * ROW + 0.4), facecolor="#111217")
    figure.text(0.01, 0.995, "A drawing of the dashboard, not a screenshot", color="#999", va="top", fontsize=8)
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] / COLUMN, 1 - (place["y"] + 0.7) / (height + 1)
        width, tall = place["w"] / COLUMN, place["h"] / (height + 1)
        legend = 0.7 if panel["type"] == "timeseries" else 0.9
        axes = figure.add_axes(
            (left + 0.03, top - tall * 0.85, width * legend - 0.02, tall * 0.68), facecolor="#111217"
        )
        axes.set_title(filled(panel["title"]), color="#ccc", fontsize=8, loc="left")
        for spine in axes.spines.values():
            spine.set_color("#333")
        DRAWN[panel["type"]](axes, panel, server)
    figure.savefig(target, dpi=90)


if __name__ == "__main__":
    mpl.use("agg")
    draw(*sys.argv[1:])
