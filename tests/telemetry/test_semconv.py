"""The registry of names in docs/semconv: held against the code, the reference and what real calls leave, both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import openai
import pytest
from fresh_install import until
from in_memory import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import or_instrument
from or_instrument._calls.own_names import is_ours
from or_instrument._settings import resolve
from or_instrument.testing import Answer, FakeOpenRouter, errors

yaml = pytest.importorskip("yaml")

ROOT: Final = Path(__file__).parents[2]
SEMCONV: Final = ROOT / "docs" / "semconv"
WINGS: Final = ("_calls", "_clients", "_content", "_money", "_openrouter", "_telemetry")
NOT_OURS: Final = frozenset(("openrouter.ai", "_telemetry/backends.py"))
"""A host; and the names that other products' backends read."""
NAME: Final = re.compile(r"(?:openrouter|gen_ai|error|http|server)(?:\.[a-z_][a-z0-9_]*)+")
TYPES: Final = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple}
KINDS: Final = {"histogram": "Histogram", "counter": "Sum", "gauge": "Gauge"}


class Registry(NamedTuple):
    """What the files say."""

    defined: Mapping[str, Mapping[str, Any]]
    """Attributes of ours, by name."""
    used: Mapping[str, frozenset[str]]
    """The attributes that each group uses, by its id."""
    metrics: Mapping[str, Mapping[str, Any]]
    """Metrics of ours, by name."""
    imported: frozenset[str]
    """Metrics and events of the conventions."""

    @property
    def attributes(self) -> frozenset[str]:
        """All attributes, those of the conventions included."""
        return frozenset(self.defined).union(*self.used.values())

    @property
    def names(self) -> frozenset[str]:
        """All names there are."""
        return self.attributes | self.metrics.keys() | self.imported


@cache
def registry() -> Registry:
    """Return the registry, its groups with all that they extend."""
    files = [yaml.safe_load((SEMCONV / f"{name}.yaml").read_text()) for name in ("attributes", "spans", "metrics")]
    groups = {group["id"]: group for file in files for group in file["groups"]}

    def refs(group: Mapping[str, Any]) -> frozenset[str]:
        own = {attribute["ref"] for attribute in group.get("attributes", ()) if "ref" in attribute}
        return own | refs(groups[group["extends"]]) if "extends" in group else frozenset(own)

    return Registry(
        {a["id"]: a for group in groups.values() for a in group.get("attributes", ()) if "id" in a},
        {id_: refs(group) for id_, group in groups.items()},
        {group["metric_name"]: group for group in groups.values() if group["type"] == "metric"},
        frozenset(name for file in files for names in file.get("imports", {}).values() for name in names),
    )


def names_in_code() -> Iterator[re.Pattern[str]]:
    """Yield each name that the code spells, as a pattern: one that is put together has a gap for each part."""
    package = ROOT / "src" / "or_instrument"
    for path in package.rglob("*.py"):
        file = path.relative_to(package).as_posix()
        if file in NOT_OURS or not file.startswith(WINGS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                if node.value not in NOT_OURS:
                    yield re.compile(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
                if parts[0] is not None and NAME.match(parts[0]):
                    yield re.compile("".join("[a-z0-9_]+" if part is None else re.escape(part) for part in parts))


def names_in_text(text: str) -> Iterator[str]:
    """Yield each name between backticks, `a.{b,c}` as two."""
    for quoted in re.findall(r"`([a-z0-9_.{},]+)`", text):
        pieces = [piece.split(",") for piece in re.split(r"[{}]", quoted)]
        yield from (name for name in map("".join, product(*pieces)) if NAME.fullmatch(name))


def is_namespace(pattern: re.Pattern[str], names: Iterable[str]) -> bool:
    """Return whether the pattern is what some names begin with, before a dot."""
    return any(re.match(f"{pattern.pattern}\\.", name) for name in names)


@pytest.mark.parametrize("name", sorted(registry().defined))
def test_an_attribute_says_what_it_is(name: str) -> None:
    """With its type, what it means, how stable it is and, where the type does not tell, examples of that type."""
    attribute = registry().defined[name]
    assert attribute["brief"].endswith(".")
    assert attribute["stability"] == "development"
    if isinstance(attribute["type"], str):
        expected = TYPES[attribute["type"]]
        assert attribute["examples"]
        assert {tuple if type(example) is list else type(example) for example in attribute["examples"]} == {expected}


def test_every_name_in_the_code_is_registered() -> None:
    """Whoever adds an attribute or a metric says there what it means."""
    names = registry().names
    unknown = {p.pattern for p in names_in_code() if not any(map(p.fullmatch, names)) and not is_namespace(p, names)}
    assert unknown == set()


def test_every_registered_name_is_in_the_code() -> None:
    """Nothing is described that is not recorded."""
    patterns = [*names_in_code()]
    names = registry().names
    spelt = {name for name in names for pattern in patterns if pattern.fullmatch(name)}
    put_together = {name for name in names for p in patterns if re.match(f"{p.pattern}\\.[a-z0-9_]+$", name)}
    assert names - spelt - put_together == set()


def test_every_attribute_of_ours_is_used() -> None:
    """By a span or a metric; and what is used under our name is defined."""
    used = frozenset[str]().union(*registry().used.values())
    assert set(registry().defined) - used == set()
    assert {name for name in used if name.startswith("openrouter.")} <= set(registry().defined)


def test_no_registered_name_but_the_spend_s_is_an_alias_of_it() -> None:
    """`OR_INSTRUMENT_COST_ALIASES` takes none of our own attributes away: in its place would be a number of USD."""
    names = registry().used["span.openrouter.client"]
    aliases = resolve({}, {"OR_INSTRUMENT_COST_ALIASES": ",".join(sorted(names))}).cost_aliases
    assert set(aliases) == {"gen_ai.usage.cost", "openrouter.usage.spend"}


def test_every_registered_name_is_left_to_us() -> None:
    """`attributes(...)` sets none of what a span of ours tells, but for the conversation, which the user knows."""
    names = registry().used["span.openrouter.client"]
    assert {name for name in names if not is_ours(name)} == {"gen_ai.conversation.id"}


def test_the_reference_lists_every_name_and_no_other() -> None:
    """Its tables and the registry tell the same."""
    text = (ROOT / "docs" / "reference.md").read_text()
    recorded = text[text.index("## What is recorded") : text.index("## Options")]
    assert set(names_in_text(recorded)) == registry().names


CHAT: Final[Any] = {
    "model": "a/model",
    "messages": [{"role": "user", "content": "hi"}],
    "temperature": 1,
    "stop": ["."],
    "n": 2,
    "extra_body": {"models": ["b/model"], "provider": {"order": ["Azure"], "sort": "price"}, "session_id": "s"},
}


EVERYTHING: Final[Any] = {
    "cost": 0.5,
    "prompt_tokens": 90,
    "prompt_tokens_details": dict.fromkeys(("text_tokens", "file_tokens", "audio_tokens", "image_tokens"), 3),
    "completion_tokens": 40,
    "completion_tokens_details": dict.fromkeys(
        ("text_tokens", "video_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"), 4
    ),
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 6},
    "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
    "search_units": 1,
    "iterations": [{}],
    "seconds": 9,
    "service_tier": "priority",
    "speed": "fast",
}
ROUTED: Final = {
    "strategy": "fallback",
    "region": "us-east",
    "attempt": 1,
    "attempts": [{"provider": "Azure", "status": 200}],
    "pipeline": [{"type": "plugin", "name": "web", "cost_usd": 0}],
    "generation_time": 7,
}
CACHED: Final = {
    "X-OpenRouter-Cache-Status": "HIT",
    "X-OpenRouter-Cache-Age": "12",
    "X-OpenRouter-Cache-TTL": "300",
}


def make_calls(client: openai.OpenAI, fake: FakeOpenRouter) -> None:
    """Make calls that leave most of what there is."""
    fake.script(Answer(byok=True, cached_tokens=1), errors.rate_limit(2), Answer(), Answer(omit_usage=True), Answer())
    fake.script(Answer(usage=EVERYTHING, headers=CACHED, extra={"openrouter_metadata": ROUTED}))
    client.chat.completions.create(**CHAT)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**CHAT)
    list(client.chat.completions.create(**CHAT, stream=True))
    client.chat.completions.create(**CHAT)
    client.embeddings.create(model="a/model", input="hi", dimensions=3)
    client.chat.completions.create(**CHAT)


def test_real_spans_hold_what_is_registered(telemetry: Telemetry, client: openai.OpenAI, fake: FakeOpenRouter) -> None:
    """Each attribute is one of the span's group, and has its type."""
    make_calls(client, fake)
    written = [(name, value) for span in telemetry.spans() for name, value in (span.attributes or {}).items()]
    assert len({name for name, _ in written}) > 45
    for name, value in written:
        assert name in registry().used["span.openrouter.client"]
        kind = registry().defined.get(name, {}).get("type", "the conventions")
        assert isinstance(value, TYPES.get(kind, str) if isinstance(kind, str) and kind in TYPES else object), name


def test_real_metrics_are_those_that_are_registered(
    telemetry: Telemetry, client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """With their kind, unit and labels."""
    make_calls(client, fake)
    said = telemetry.reader.get_metrics_data()
    assert said is not None
    recorded = [metric for r in said.resource_metrics for scope in r.scope_metrics for metric in scope.metrics]
    assert {metric.name for metric in recorded} > {"gen_ai.usage.cost", "openrouter.usage.missing"}
    for metric in recorded:
        if metric.name in registry().imported:
            continue
        group = registry().metrics[metric.name]
        labels = {label for point in metric.data.data_points for label in point.attributes}
        assert (metric.unit, type(metric.data).__name__) == (group["unit"], KINDS[group["instrument"]])
        assert metric.description == group["brief"]
        assert labels <= registry().used[group["id"]]


def test_the_gauges_of_the_account_are_registered(
    client: openai.OpenAI, fake: FakeOpenRouter, instrumented: Callable[..., Telemetry], tmp_path: Path
) -> None:
    """With their unit; a key with a limit and a ledger shows all of them."""
    fake.key_limit_usd = 5
    instrumented(ledger=tmp_path / "costs.db")
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    with or_instrument.observe_account(client, meter_provider=provider) as gauges:
        until(lambda: gauges._last is not None, "the first reading")  # none of the thread's is under way after it
        gauges.refresh()
        said = reader.get_metrics_data()
    provider.shutdown()
    assert said is not None
    recorded = {m.name: m for r in said.resource_metrics for scope in r.scope_metrics for m in scope.metrics}
    assert recorded.keys() == {name for name in registry().metrics if name.startswith("openrouter.account.")}
    for name, metric in recorded.items():
        group = registry().metrics[name]
        assert (metric.unit, metric.description) == (group["unit"], group["brief"])
