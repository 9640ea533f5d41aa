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
from others import APART, BENEATH, OTHERS

BILLED: Final = (
    *("chat", "stream", "helper", "raw", "raw_stream", "achat", "astream"),
    *("responses", "responses_stream", "embeddings"),
)
"""Ten shapes of calls whose cost is known."""
SPEND: Final = "openrouter.usage.spend"
COST: Final = "gen_ai.usage.cost"
PROGRAM: Final = Path(__file__).parents[1] / "support" / "beside.py"
MODES: Final = (("own", True), ("own", False), ("enrich", True))
"""Where the other's spans are out of reach, the order makes no difference to enriching."""
OF_ONE_PROCESS: Final = [pytest.param(name, id=name, marks=pytest.mark.xdist_group(name)) for name in OTHERS]
"""What is told of each is asked for once, where all tests of it run in one process."""
KINDS: Final = (*BILLED, "closed", "error", "suppressed")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run(theirs: str, mode: str, is_first: bool, kinds: tuple[str, ...], after: str = "") -> tuple[Any, str]:
    """Run the program beside an instrumentation; return what it tells in its last line, and what it warned of."""
    order = {"theirs": theirs, "mode": mode, "is_first": is_first, "kinds": kinds, "after": after}
    command = [sys.executable, str(PROGRAM), json.dumps(order)]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def need(module: str) -> None:
    """Skip where an instrumentation is not installed."""
    if not _is_installed(module):
        pytest.skip(f"{module} is not installed")


@cache
def told(name: str, mode: str, is_first: bool) -> Mapping[str, Any]:
    """Return what the program tells of all kinds of calls."""
    other = OTHERS[name]
    need(other.module)
    said, _ = run(other.code, mode, is_first, KINDS)
    return dict(said)


def check_billed(said: Mapping[str, Any], kinds: tuple[str, ...]) -> None:
    """Hold records, the spans that carry a spend, and our cost metric against what the service charged."""
    for kind in kinds:
        charged = pytest.approx(said[kind]["charged"])
        assert said[kind]["calls"] == [["complete", charged]], kind
        carried = [span["attributes"].get(SPEND) for span in said[kind]["spans"]]
        assert [spend for spend in carried if spend is not None] == [charged], kind
    costs = [value for scope, metric, value in said["points"] if (scope, metric) == ("or_instrument", COST)]
    assert sum(costs) == pytest.approx(sum(said[kind]["charged"] for kind in kinds))


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


def test_an_uninstrument_that_takes_ours_with_it_is_mended() -> None:
    """OpenInference, switched on before us and off after, restores the plain SDK: noticed at the next look, mended."""
    other = OTHERS["openinference"]
    need(other.module)
    after = f"{other.off}\nassert not or_instrument.is_instrumented()\nours()\nassert or_instrument.is_instrumented()"
    said, warned = run(other.code, "own", is_first=False, kinds=("chat", "stream", "achat"), after=after)
    assert warned.count("had been taken off by another library") == 1
    for kind in ("chat", "stream", "achat"):
        assert said[kind]["calls"] == [["complete", pytest.approx(said[kind]["charged"])]]
        assert [SPEND in span["attributes"] for span in said[kind]["spans"]] == [True]


@pytest.mark.parametrize("is_ours_first_off", [True, False], ids=["ours first off", "theirs first off"])
@pytest.mark.parametrize("name", OF_ONE_PROCESS)
def test_both_can_be_taken_off(name: str, is_first: bool, is_ours_first_off: bool) -> None:
    """In whatever order: then calls are answered as ever, and nothing of ours sees them."""
    other = OTHERS[name]
    need(other.module)
    off = ["or_instrument.uninstrument()", other.off]
    after = "\n".join(off if is_ours_first_off else off[::-1])
    kinds = ("chat", "stream", "achat", "responses")
    said, _ = run(other.code, "own", is_first, kinds, f"{after}\nassert not or_instrument.is_instrumented()")
    for kind in kinds:
        assert said[kind]["calls"] == [], kind
        for span in said[kind]["spans"]:  # of an uninstrument() of theirs that leaves something behind
            assert span["scope"] != "or_instrument", kind
            assert SPEND not in span["attributes"], kind
    assert not [scope for scope, _metric, _value in said["points"] if scope == "or_instrument"]


@pytest.mark.parametrize(("mode", "is_first"), MODES)
@pytest.mark.parametrize("name", APART)
def test_beside_what_leaves_no_span_to_write_on(name: str, mode: str, is_first: bool) -> None:
    """The spend is on one span, which is ours whatever the mode, and all sums are the service's."""
    need(APART[name].module)
    said, _ = run(APART[name].code, mode, is_first, BILLED)
    check_billed(said, BILLED)
    for kind in BILLED:
        assert [span["scope"] for span in said[kind]["spans"] if SPEND in span["attributes"]] == ["or_instrument"]


@pytest.mark.parametrize(("mode", "is_first"), MODES)
@pytest.mark.parametrize("name", BENEATH)
def test_beside_instrumentations_of_other_clients(name: str, mode: str, is_first: bool) -> None:
    """Calls through httpx, requests, aiohttp, anthropic and LiteLLM: the spend on one span, and all sums true."""
    beneath = BENEATH[name]
    need(beneath.module)
    said, _ = run(beneath.code, mode, is_first, beneath.kinds)
    check_billed(said, beneath.kinds)


def test_the_cost_metric_of_litellm_doubles_ours() -> None:
    """Its callback records one of the same name where its metrics are switched on; where they are not, only we do."""
    need("litellm")
    said, _ = run(BENEATH["litellm"].code, "own", True, ("litellm",))
    assert {scope for scope, metric, _value in said["points"] if metric == COST} > {"or_instrument"}
    off = BENEATH["litellm"].code.replace('LITELLM_OTEL_INTEGRATION_ENABLE_METRICS="true"', "")
    said, _ = run(off, "own", True, ("litellm",))
    assert {scope for scope, metric, _value in said["points"] if metric == COST} == {"or_instrument"}


def test_http_spans_are_inside_ours() -> None:
    """The span of the HTTP client's instrumentation is a child of ours, and there is one of each."""
    need("opentelemetry.instrumentation.httpx")
    theirs = (
        "from opentelemetry.instrumentation import httpx as h; "
        "getattr(h, 'HTTPX2ClientInstrumentor', h.HTTPXClientInstrumentor)().instrument()"
    )
    said, _ = run(theirs, "own", is_first=True, kinds=("stream",))
    http, ours = said["stream"]["spans"]
    assert (http["name"], ours["name"]) == ("POST", "chat vendor/model")
    assert http["parent"] == ours["id"]
