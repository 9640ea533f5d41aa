"""Draws what a user feels, from what the other benchmarks have measured and kept with `--json`.

    pip install matplotlib
    python benchmarks/picture.py overhead.json streams.json memory.json docs/pictures/performance.png

Four panels: the share of a call's own CPU time that is added, how late an event loop with 1,000 streams comes, their
throughput, and the memory that an open stream holds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS, PLAIN = "or_instrument", "plain"
CALLS = ("chat", "embeddings", "stream of 200")
NOT_SHOWN = (PLAIN, "plain again", f"{OURS} content", f"{OURS} not sampled")
"""Of what is added to a plain call."""
COLORS = {
    OURS: "tab:orange",
    "recorder": "tab:gray",
    "recorder again": "tab:gray",
    PLAIN: "lightgray",
    "genai-openai": "tab:blue",
    "openinference": "tab:green",
    "traceloop": "tab:purple",
    "logfire": "tab:brown",
}
LATE, SPEED, SPANS = "the event loop is late by", "chunks per second", "spans a round"
HELD = " open, "

Told = dict[str, Any]


def told_by(path: str) -> Told:
    """Return what a benchmark has written: `about`, and its rows."""
    told: Told = json.loads(Path(path).read_text())
    return told


def values(told: Told, measure: str) -> dict[str, float]:
    """Return the values of one measure by subject."""
    return {row["subject"]: row["value"] for row in told["rows"] if row["measure"] == measure}


def of_those_that_record(streams: Told, measure: str) -> dict[str, float]:
    """Return the values of those that made a span of each stream, and of the plain one."""
    spans = values(streams, SPANS)
    return {name: value for name, value in values(streams, measure).items() if spans[name] or name == PLAIN}


def draw_shares(axes: Axes, told: Told) -> None:
    """Draw what is added to a call's own CPU time, one group of bars a kind of call."""
    plain = told["about"]["plain_us"]
    names = [name for name in values(told, CALLS[0]) if name not in NOT_SHOWN]
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        shares = [100 * values(told, call)[name] / plain[call] for call in CALLS]
        at = [group + place * width for group in range(len(CALLS))]
        axes.bar(at, shares, width, label=name, color=COLORS.get(name))
    labels = [f"{call}\n({plain[call] / 1e3:.2f} ms plain)" for call in CALLS]
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(CALLS))], labels)
    axes.set_title("CPU time added, % of the call's own")
    axes.legend(fontsize="x-small", loc="upper left")
    axes.margins(y=0.3)


def draw_bars(axes: Axes, title: str, shown: dict[str, float], form: str) -> None:
    """Draw one bar a subject, with its value at its end."""
    bars = axes.barh(list(shown), list(shown.values()), color=[COLORS.get(name, COLORS[OURS]) for name in shown])
    axes.bar_label(bars, labels=[form.format(value) for value in shown.values()], padding=3, fontsize="small")
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set_title(title)


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    overhead, streams, memory = (told_by(path) for path in sys.argv[1:4])
    figure = Figure(figsize=(12, 8), layout="constrained")
    shares, late, speed, held = figure.subplots(2, 2).flat
    draw_shares(shares, overhead)
    draw_bars(late, "1,000 streams: event loop late by (ms, median)", of_those_that_record(streams, LATE), "{:.1f}")
    draw_bars(speed, "1,000 streams: chunks a second", of_those_that_record(streams, SPEED), "{:,.0f}")
    stream = {row["measure"]: row["value"] / 1000 for row in memory["rows"] if HELD in row["measure"]}
    draw_bars(held, "Held by an open stream, beyond the span (KB)", stream, "{:.1f}")
    about = overhead["about"]
    figure.suptitle(f"Measured on {about['on']}, {about['cores']} virtual cores, Python {about['python']}, "
                    f"openai {about['openai']}", fontsize="medium")  # fmt: skip
    figure.savefig(sys.argv[4], dpi=80)


if __name__ == "__main__":
    main()
