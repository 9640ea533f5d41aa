"""Beside other instrumentations of the OpenAI SDK, each installed for real, ours before theirs and after.

Every case runs in a process of its own, since some of them cannot be taken off again.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from fresh_install import environ
from others import APART, BENEATH, OTHERS, Apart, Other

pytestmark = pytest.mark.slow
BILLED: Final = (
    *("chat", "stream", "helper", "raw", "raw_stream", "achat", "astream"),
    *("responses", "responses_stream", "embeddings"),
)
"""Ten shapes of calls whose cost is known."""
SPEND: Final = "openrouter.usage.spend"
COST: Final = "gen_ai.usage.cost"
PROGRAM: Final = Path(__file__).parents[1] / "support" / "beside.py"
ORDERS: Final = [("own", True, True), ("own", False, False), ("enrich", True, False), ("enrich", False, True)]
"""The mode, whether ours is switched on first, and whether it is taken off first: all orders, in two modes each."""
FEW: Final = ("chat", "stream", "achat", "responses")
OFF: Final = "or_instrument.uninstrument()"
LOOK: Final = "ours(); ours()"
TOLD: Final = "had been taken off by another library"
OF_ONE_PROCESS: Final = [pytest.param(name, id=name, marks=pytest.mark.xdist_group(name)) for name in OTHERS]
"""What is told of each is asked for once, where all tests of it run in one process."""
KINDS: Final = (*BILLED, "closed", "error", "suppressed")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


Phase = tuple[str, tuple[str, ...]]


def run(mode: str, *phases: Phase) -> tuple[list[dict[str, Any]], str]:
    """Run the program; return what it tells of each phase, and what it warned of."""
    command = [sys.executable, str(PROGRAM), json.dumps({"mode": mode, "phases": phases})]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def both(theirs: str, is_first: bool, kinds: tuple[str, ...]) -> tuple[Phase, Phase]:
    """Return the phases that switch both on; the calls are made in the second."""
    first, second = ("ours()", theirs) if is_first else (theirs, "ours()")
    # What theirs leaves alone is there to be compared.
    return (first, () if is_first else FEW), (second, kinds)


def need(module: str) -> None:
    """Skip where an instrumentation is not installed."""
    if not _is_installed(module):
        pytest.skip(f"{module} is not installed")


@cache
def told(name: str, mode: str, is_first: bool) -> Mapping[str, Any]:
    """Return what the program tells of all kinds of calls."""
    other = OTHERS[name]
    need(other.module)
    said, _ = run(mode, *both(other.code, is_first, KINDS))
    return said[-1]


def check_billed(said: Mapping[str, Any], kinds: tuple[str, ...], before: float = 0.0) -> None:
    """Hold records, the spans that carry a spend, and our cost metric against what the service charged."""
    for kind in kinds:
        charged = pytest.approx(said[kind]["charged"])
        assert said[kind]["calls"] == [["complete", charged]], kind
        carried = [span["attributes"].get(SPEND) for span in said[kind]["spans"]]
        assert [spend for spend in carried if spend is not None] == [charged], kind
    assert counted(said) - before == pytest.approx(sum(said[kind]["charged"] for kind in kinds))


def counted(said: Mapping[str, Any]) -> float:
    """Return what our cost metric has counted by then."""
    return sum(value for scope, metric, value in said["points"] if (scope, metric) == ("or_instrument", COST))


def check_not_seen(said: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Calls are answered as ever, and nothing of ours saw them."""
    assert not said["is_instrumented"]
    assert counted(said) == counted(before)
    for kind in FEW:
        assert said[kind]["calls"] == [], kind
        for span in said[kind]["spans"]:  # of theirs, or of an end of theirs that leaves something behind
            assert span["scope"] != "or_instrument", kind
            assert SPEND not in span["attributes"], kind


def shapes(said: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what can be compared of the spans of few kinds of calls."""
    return {
        kind: [
            (span["scope"], span["name"], span["status"], sorted(span["attributes"])) for span in said[kind]["spans"]
        ]
        for kind in FEW
    }


def check_taken_off(other: Other | Apart, mode: str, is_first: bool, is_ours_first_off: bool) -> None:
    """Take both off in that order: ours sees calls until it is taken off itself, and nothing afterwards."""
    need(other.module)
    theirs_off = (f"{other.off}\n{LOOK}", FEW)
    off = [(OFF, FEW), (other.off, FEW)] if is_ours_first_off else [theirs_off, (OFF, FEW)]
    said, warned = run(mode, *both(other.code, is_first, BILLED), *off)
    alone, on, one_off, none_on = said
    check_billed(on, BILLED)
    if is_ours_first_off:
        check_not_seen(one_off, on)
        if not is_first:
            assert shapes(one_off) == shapes(alone)
    else:
        assert one_off["is_instrumented"]
        check_billed(one_off, FEW, counted(on))
    check_not_seen(none_on, one_off)
    took_ours = other.takes_ours_along and not is_first and not is_ours_first_off
    assert warned.count(TOLD) == took_ours


@pytest.fixture(params=[True, False], ids=["ours first", "theirs first"])
def is_first(request: pytest.FixtureRequest) -> bool:
    """Return whether ours is switched on before theirs."""
    return bool(request.param)


@pytest.mark.parametrize("mode", ["own", "enrich"])
@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_every_call_is_recorded_once(name: str, mode: str, is_first: bool) -> None:
    """Sinks get each call once with its true cost, the cost metric has the true sum, and nothing raises."""
    said = told(name, mode, is_first)
    for kind in BILLED:
        assert said[kind]["calls"] == [["complete", pytest.approx(said[kind]["charged"])]], kind
    assert [outcome for outcome, _spend in said["closed"]["calls"]] == ["closed"]
    assert [outcome for outcome, _spend in said["error"]["calls"]] == ["error"]
    assert said["suppressed"]["calls"] == []
    spent = sum(value for scope, metric, value in said["points"] if metric == "gen_ai.usage.cost")
    known = sum(said[kind]["charged"] for kind in KINDS if kind not in ("closed", "suppressed"))
    assert spent == pytest.approx(known)


@pytest.mark.parametrize("mode", ["own", "enrich"])
@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_exactly_one_span_carries_the_spend(name: str, mode: str, is_first: bool) -> None:
    """Of each billed call, whatever it is and in whatever order the two were switched on: a sum over spans is right."""
    said = told(name, mode, is_first)
    carried = {
        kind: [s["attributes"][SPEND] for s in said[kind]["spans"] if SPEND in s["attributes"]] for kind in BILLED
    }
    assert carried == {kind: [pytest.approx(said[kind]["charged"])] for kind in BILLED}


@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_enrich_writes_on_theirs(name: str, is_first: bool) -> None:
    """There is a span of ours only for calls whose own span nobody else can write on when their cost is known."""
    said, other = told(name, "enrich", is_first), OTHERS[name]
    for kind in BILLED:
        spans = said[kind]["spans"]
        without = kind in (*other.ended_early, *other.made_late)
        carrying = [span["scope"] for span in spans if SPEND in span["attributes"]]
        assert carrying == ["or_instrument" if without else other.scope], kind
        assert {span["scope"] for span in spans} - set(carrying) == ({other.scope} if without else set()), kind


@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_an_error_is_told_on_their_span(name: str) -> None:
    """OpenRouter's error code is on their span too, where ours was switched on first."""
    said = told(name, "enrich", True)
    (span,) = said["error"]["spans"]
    assert span["scope"] == OTHERS[name].scope
    assert span["attributes"]["openrouter.error.code"] == "402"
    assert span["status"] == "ERROR"


@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_own_writes_on_ours(name: str, is_first: bool) -> None:
    """In own mode the spend is on a span of ours, or on theirs where it asks for no second and is still there."""
    said, other = told(name, "own", is_first), OTHERS[name]
    for kind in BILLED:
        on_theirs = is_first in other.asks_for_one_span and kind not in other.ended_early
        (span,) = [span for span in said[kind]["spans"] if SPEND in span["attributes"]]
        assert span["scope"] == (other.scope if on_theirs else "or_instrument"), kind


@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_enrich_repeats_no_metric_of_theirs(name: str, is_first: bool) -> None:
    """The convention's metrics of an enriched call are theirs where they record them, otherwise ours."""
    said, other = told(name, "enrich", is_first), OTHERS[name]
    scopes = {scope for scope, metric, _value in said["points"] if metric == "gen_ai.client.token.usage"}
    ours = {"or_instrument"} if other.made_late or not other.has_metrics else set()
    assert scopes == ours | ({other.scope} if other.has_metrics else set())


@pytest.mark.parametrize("is_ours_first_off", [True, False], ids=["ours first off", "theirs first off"])
@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_both_can_be_taken_off(name: str, is_first: bool, is_ours_first_off: bool) -> None:
    """In whatever order. What takes ours along is noticed at the next look, mended, and said once."""
    check_taken_off(OTHERS[name], "own", is_first, is_ours_first_off)


@pytest.mark.parametrize(("mode", "is_first", "is_ours_first_off"), ORDERS)
@pytest.mark.parametrize("name", [name for name, other in APART.items() if other.off])
def test_both_can_be_taken_off_where_theirs_leaves_no_span(
    name: str, mode: str, is_first: bool, is_ours_first_off: bool
) -> None:
    """Likewise; until ours is taken off the spend is on one span, which is ours whatever the mode."""
    check_taken_off(APART[name], mode, is_first, is_ours_first_off)


@pytest.mark.parametrize(("mode", "is_first", "_is_ours_first_off"), ORDERS)
@pytest.mark.parametrize("name", [name for name, other in APART.items() if not other.off])
def test_ours_can_be_taken_off_where_theirs_cannot(
    name: str, mode: str, is_first: bool, _is_ours_first_off: bool
) -> None:
    """Their spans are then what they are without us; switched on again, ours sees each call again."""
    other = APART[name]
    need(other.module)
    phases = both(other.code, is_first, BILLED)
    (alone, on, off, again), warned = run(mode, *phases, (OFF, FEW), ("ours()", FEW))
    check_billed(on, BILLED)
    check_not_seen(off, on)
    if not is_first:
        assert shapes(off) == shapes(alone)
    check_billed(again, FEW, counted(off))
    assert TOLD not in warned


@pytest.mark.parametrize(("mode", "is_first"), [("own", True), ("own", False), ("enrich", True), ("enrich", False)])
@pytest.mark.parametrize("name", BENEATH)
def test_beside_instrumentations_of_other_clients(name: str, mode: str, is_first: bool) -> None:
    """Calls through httpx, requests, aiohttp, anthropic and LiteLLM: the spend on one span, and all sums true."""
    beneath = BENEATH[name]
    need(beneath.module)
    said, _ = run(mode, *both(beneath.code, is_first, beneath.kinds))
    check_billed(said[-1], beneath.kinds)


def test_the_cost_metric_of_litellm_doubles_ours() -> None:
    """Its callback records one of the same name where its metrics are switched on; where they are not, only we do."""
    need("litellm")
    (_, said), _ = run("own", *both(BENEATH["litellm"].code, True, ("litellm",)))
    assert {scope for scope, metric, _value in said["points"] if metric == COST} > {"or_instrument"}
    off = BENEATH["litellm"].code.replace('LITELLM_OTEL_INTEGRATION_ENABLE_METRICS="true"', "")
    (_, said), _ = run("own", *both(off, True, ("litellm",)))
    assert {scope for scope, metric, _value in said["points"] if metric == COST} == {"or_instrument"}


def test_http_spans_are_inside_ours() -> None:
    """The span of the HTTP client's instrumentation is a child of ours, and there is one of each."""
    need("opentelemetry.instrumentation.httpx")
    theirs = (
        "from opentelemetry.instrumentation import httpx as h; "
        "getattr(h, 'HTTPX2ClientInstrumentor', h.HTTPXClientInstrumentor)().instrument()"
    )
    (_, said), _ = run("own", *both(theirs, True, ("stream",)))
    http, ours = said["stream"]["spans"]
    assert (http["name"], ours["name"]) == ("POST", "chat vendor/model")
    assert http["parent"] == ours["id"]
