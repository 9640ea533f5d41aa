"""The Prometheus rules: valid, each alert tried by promtool, and counting as the dashboard does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_server import example, promtool

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).parent.parent.parent / "examples" / "prometheus"
RULES, RULES_TEST = FOLDER / "rules.yml", FOLDER / "rules_test.yml"
queries = example("grafana/queries.py")
MODELS, PROVIDERS = "job, gen_ai_request_model", "job, openrouter_provider_name"
COUNTED = {
    "job_model:openrouter_spend_usd:5m": (queries.SPEND, MODELS, ""),
    "job_model:openrouter_priced_calls:5m": (queries.PRICED, MODELS, ""),
    "job_provider:openrouter_credits_usd:5m": (queries.SPEND, PROVIDERS, queries.CREDITS),
    "job_provider:openrouter_own_key_usd:5m": (queries.SPEND, PROVIDERS, queries.BYOK),
    "job_model:openrouter_input_tokens:5m": (queries.TOKENS, MODELS, queries.INPUT),
    "job_model:openrouter_cached_tokens:5m": (queries.CACHED, MODELS, ""),
    "job:openrouter_calls:5m": (queries.CALLS, "job", ""),
    "job:openrouter_failed_calls:5m": (queries.CALLS, "job", queries.FAILED),
    "job:openrouter_unknown_calls:5m": (queries.MISSING, "job", queries.UNKNOWN),
}


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules that record (or alert), by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}


def test_rules_and_configuration_are_valid() -> None:
    """Promtool finds nothing wrong with the rules, nor with the configuration that loads them."""
    promtool("check", "rules", RULES)
    promtool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.slow
def test_alerts_fire_when_they_should_and_not_before() -> None:
    """The unit tests beside the rules pass."""
    promtool("test", "rules", RULES_TEST)


def test_every_alert_is_tried() -> None:
    """Each alert has a case in which it fires and one in which it does not; the month's has them too."""
    cases = [
        case for test in yaml.safe_load(RULES_TEST.read_text())["tests"] for case in test.get("alert_rule_test", [])
    ]

    for alert in rules("alert"):
        fired = [bool(case["exp_alerts"]) for case in cases if case["alertname"] == alert]
        assert {True, False} <= set(fired), alert


@pytest.mark.parametrize("name", COUNTED)
def test_recording_rule_counts_as_the_dashboard_does(name: str) -> None:
    """Dashboard and alerts cannot disagree: a recording is the dashboard's own expression over five minutes."""
    metric, by, only = COUNTED[name]
    counted = queries.grown(metric, "5m", by, only=only)
    for unset in (f"{queries.CHOSEN},", f"{{{queries.CHOSEN}}}"):
        counted = counted.replace(unset, "")

    assert "".join(rules("record")[name]["expr"].split()) == "".join(counted.split())


def test_every_alert_says_what_happened() -> None:
    """Each alert has a severity and a summary."""
    for alert in rules("alert").values():
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert alert["annotations"]["summary"]
