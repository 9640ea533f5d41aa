"""Shows what the demo recorded: the calls, one trace with its durations, and the totals by model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from or_instrument._cli import tables
from or_instrument._cli.demo_calls import Step
from or_instrument._records import Call

_WIDTH: Final = 120
"""The least that the tables need."""
_ABSENT: Final = "-"
_UNKNOWN: Final = "unknown"


def make_console() -> Console:
    """Return the console to print on, wide enough for the tables."""
    console: Console = tables.make_console()
    console.width = max(console.width, _WIDTH)
    return console


def progress(steps: Iterable[Step]) -> Iterable[Step]:
    """Yield the steps, with a display of the one that runs: on stderr, as it is no result."""
    console = Console(stderr=True)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as display:
        task = display.add_task("")
        for step in steps:
            display.update(task, description=f"{step.title}: {step.model}")
            yield step


def show(
    console: Console, place: str, steps: Sequence[Step], calls: Sequence[Call], spans: Sequence[ReadableSpan]
) -> None:
    """Print what was recorded of the steps, one call each, and the spans of their one trace."""
    console.print(_calls_table(place, steps, calls))
    console.print(_trace_tree(spans))
    console.print(_totals_table(calls))


def usd(amount: float | Decimal | None, absent: str = _ABSENT) -> str:
    """Return an amount with all of its digits and no exponent."""
    return absent if amount is None else f"{Decimal(str(amount)):f}"


def _table(title: str, *columns: str, text_columns: int) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(
            column, justify="left" if position < text_columns else "right", no_wrap=position >= text_columns
        )
    return table


def _calls_table(place: str, steps: Sequence[Step], calls: Sequence[Call]) -> Table:
    columns = ("in", "out", "cached", "cost USD", "upstream", "spend USD", "BYOK", "ended")
    table = _table(f"Calls to {place}", "call", "model", *columns, text_columns=2)
    for step, call in zip(steps, calls, strict=True):
        table.add_row(step.title, call.request.model, *_call_cells(call))
    return table


def _call_cells(call: Call) -> list[str]:
    usage = call.usage
    tokens = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) if usage else (None, None, None)
    byok = None if usage is None else usage.is_byok
    return [
        *(_ABSENT if count is None else str(count) for count in tokens),
        usd(usage and usage.cost),
        usd(usage and usage.upstream_cost),
        usd(call.spend, _UNKNOWN),
        _ABSENT if byok is None else ("yes" if byok else "no"),
        "error" if call.failure else call.outcome,
    ]


def _trace_tree(spans: Sequence[ReadableSpan]) -> Tree:
    (root,) = (span for span in spans if span.parent is None)
    tree = Tree(_span_line(root))
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if span.parent is not None and span.parent.span_id == root.context.span_id:
            tree.add(_span_line(span))
    return tree


def _span_line(span: ReadableSpan) -> Text:
    attributes = span.attributes or {}
    milliseconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    line = Text.assemble((span.name, "bold"), f"  {milliseconds:.1f} ms")
    if isinstance(spend := attributes.get("openrouter.usage.spend"), float):
        line.append(f"  {usd(spend)} USD", "green")
    if error_type := attributes.get("error.type"):
        line.append(f"  {error_type!s}", "red")
    if served_by := attributes.get("openrouter.provider.name"):
        line.append(f"  served by {served_by!s}", "dim")
    return line


def _totals_table(calls: Sequence[Call]) -> Table:
    by_model: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_model[call.request.model or _ABSENT].append(call)
    table = _table("Totals by model", "model", "calls", "in", "out", "spend USD", "cost unknown", text_columns=1)
    for model, made in sorted(by_model.items()):
        table.add_row(model, *_total_cells(made))
    table.add_section()
    table.add_row("all", *_total_cells(calls), style="bold")
    return table


def _total_cells(calls: Sequence[Call]) -> list[str]:
    usages = [call.usage for call in calls if call.usage is not None]
    spends = [spend for usage in usages if (spend := usage.spend_exact) is not None]
    return [
        str(len(calls)),
        str(sum(usage.input_tokens or 0 for usage in usages)),
        str(sum(usage.output_tokens or 0 for usage in usages)),
        usd(sum(spends, Decimal(0))),
        str(sum(call.missing is not None for call in calls)),
    ]
