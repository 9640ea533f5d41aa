"""What OpenRouter tells of how it routed a call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_instrument import Attempt, Routing, Stage
from or_instrument._openrouter.fold import fold
from or_instrument._openrouter.routing import routing_of

METADATA: dict[str, Any] = {
    "requested": "acme/large",
    "strategy": "fallback",
    "region": "us-east",
    "summary": "what the user said",
    "attempt": 2,
    "is_byok": False,
    "endpoints": {
        "total": 2,
        "available": [
            {"provider": "Azure", "model": "acme/large", "selected": False},
            {"provider": "Acme AI", "model": "acme/large", "selected": True},
        ],
    },
    "attempts": [
        {"provider": "Azure", "model": "acme/large", "status": 429},
        {"provider": "Acme AI", "model": "acme/large", "status": 200},
    ],
    "pipeline": [
        {"type": "guardrail", "name": "pii", "data": {"found": "what the user said"}, "summary": "what the user said"},
        {"type": "plugin", "name": "web", "cost_usd": 0.1},
        {"type": "plugin", "name": "file-parser", "cost_usd": 0.2},
    ],
    "generation_time": 1430,
    "of_the_future": [],
}
ROUTING = Routing(
    requested="acme/large",
    strategy="fallback",
    region="us-east",
    attempt=2,
    attempts=(Attempt("Azure", "acme/large", 429), Attempt("Acme AI", "acme/large", 200)),
    pipeline=(Stage("guardrail", "pii"), Stage("plugin", "web", 0.1), Stage("plugin", "file-parser", 0.2)),
    provider="Acme AI",
    is_byok=False,
    generation_time_s=1.43,
)


def test_names_numbers_and_costs_are_read() -> None:
    """No free text: a guardrail's data and every summary may quote the prompt."""
    assert routing_of(METADATA) == ROUTING
    assert "user said" not in repr(ROUTING)


def test_the_costs_of_the_pipeline_add_up_exactly() -> None:
    """0.1 and 0.2 are 0.3; where no stage tells a cost there is none, which is not 0."""
    assert ROUTING.pipeline_cost == 0.3
    assert Routing(pipeline=(Stage("plugin", "web", 0.0),)).pipeline_cost == 0.0
    assert Routing(pipeline=(Stage("guardrail", "pii"),)).pipeline_cost is None


def test_a_call_that_reached_no_provider_tells_less() -> None:
    """As the documentation shows it for a 404."""
    said = {"requested": "acme/none", "strategy": "direct", "attempt": 0, "endpoints": {"total": 0, "available": []}}
    assert routing_of(said) == Routing(requested="acme/none", strategy="direct", attempt=0)


@pytest.mark.parametrize("said", [None, {}, [], "direct", 7, {"attempts": "none", "pipeline": {}, "strategy": 3}])
def test_what_tells_nothing_is_no_routing(said: object) -> None:
    """Whatever it is."""
    assert routing_of(said) is None


@pytest.mark.parametrize(
    "bodies",
    [
        [{"id": "gen-1", "choices": [], "openrouter_metadata": METADATA}],
        [{"choices": [{"delta": {}}]}, {"choices": [], "usage": {"cost": 1}, "openrouter_metadata": METADATA}],
        [{"error": {"code": 403, "message": "no"}, "openrouter_metadata": METADATA}],
        [{"type": "response.completed", "response": {"status": "completed", "openrouter_metadata": METADATA}}],
        [{"type": "response.completed", "response": {"status": "completed"}, "openrouter_metadata": METADATA}],
        [{"type": "message_delta", "usage": {"cost": 1}}, {"type": "message_stop", "openrouter_metadata": METADATA}],
        [{"openrouter_metadata": METADATA}, {"openrouter_metadata": None}, {"openrouter_metadata": {}}],
    ],
)
def test_it_is_read_wherever_it_is(bodies: list[object]) -> None:
    """At the top of a body or of an error, in a stream's last event; a later empty one erases nothing."""
    assert fold(bodies).routing == ROUTING


def test_the_selected_provider_counts_where_the_body_names_none() -> None:
    """Responses bodies name none; a body's own word goes first, and a failed call was served by nobody."""
    body = {"openrouter_metadata": METADATA}
    assert fold([body]).provider == "Acme AI"
    assert fold([{**body, "provider": "Other"}]).provider == "Other"
    assert fold([{**body, "error": {"code": 503}}]).provider is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(METADATA)), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(METADATA)), JSON))
def test_whatever_stands_there_is_read_or_left_out(said: dict[str, Any]) -> None:
    """Nothing raises."""
    routing = routing_of(said)
    assert routing is None or routing.pipeline_cost is None or routing.pipeline_cost >= 0
