"""Our spans join OpenRouter's Broadcast: by a link that changes nothing, or by ids in the body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from or_instrument import ConfigError
from or_instrument._openrouter.broadcast import broadcast_span, with_trace
from or_instrument.testing import Answer, FakeOpenRouter

ASK: Any = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}]}


def test_ids_are_those_that_were_observed() -> None:
    """The ids of Broadcast's root span are hashes of the generation id: one observed pair."""
    span = broadcast_span("gen-1783220991-afTJPipoXDClAMTywVu2")
    assert f"{span.trace_id:032x}" == "8ebcf0a15806fbd08fd19acea5a0c443"
    assert f"{span.span_id:016x}" == "8ebcf0a15806fbd0"


def test_a_trace_id_of_the_callers_counts() -> None:
    """A caller's trace id is taken as it is where it is 32 hex digits, else hashed; the span's id does not change."""
    plain, given_, hashed = broadcast_span("gen-1"), broadcast_span("gen-1", "AB" * 16), broadcast_span("gen-1", "mine")
    assert f"{given_.trace_id:032x}" == "ab" * 16
    assert hashed.trace_id not in (plain.trace_id, given_.trace_id)
    assert plain.span_id == given_.span_id == hashed.span_id


def test_link_points_to_the_broadcast_trace(
    instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """With `link` the span has one link, and the request is what it would be without."""
    telemetry = instrumented(broadcast="link")
    reply = client.chat.completions.create(**ASK)
    list(client.chat.completions.create(**ASK, stream=True))
    first, second = telemetry.spans()
    (link,) = first.links
    assert (link.context.trace_id, link.context.span_id) == broadcast_span(reply.id)
    assert link.context.is_remote
    assert len(second.links) == 1
    assert all("trace" not in (request.fields or {}) for request in fake.requests)


def test_link_knows_the_callers_own_trace(instrumented: Callable[..., Any], client: openai.OpenAI) -> None:
    """A trace id that the caller sends for Broadcast is where the link points."""
    telemetry = instrumented(broadcast="link")
    client.chat.completions.create(**ASK, extra_body={"trace": {"trace_id": "cd" * 16}})
    (link,) = telemetry.spans()[0].links
    assert f"{link.context.trace_id:032x}" == "cd" * 16


def test_calls_without_a_generation_id_have_no_link(
    instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A reply that names no generation has none to link to."""
    telemetry = instrumented(broadcast="link")
    fake.script(Answer(json_body={"id": "chatcmpl-1", "choices": []}, headers={"X-Generation-Id": ""}))
    client.chat.completions.create(**ASK)
    assert telemetry.spans()[0].links == ()


@pytest.mark.parametrize("path", ["chat", "responses"])
def test_propagate_sends_our_ids(
    path: str, instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """With `propagate` chat and Responses carry our span's ids, beside what the user sends."""
    telemetry = instrumented(broadcast="propagate")
    extra = {"trace": {"trace_name": "mine"}, "top_a": 1}
    if path == "chat":
        client.chat.completions.create(**ASK, extra_body=extra)
    else:
        client.post("/responses", cast_to=object, body={"model": "a/model", "input": "hi", **extra})
    (span,) = telemetry.spans()
    (sent,) = fake.requests
    ids = {"trace_id": f"{span.context.trace_id:032x}", "parent_span_id": f"{span.context.span_id:016x}"}
    assert sent.fields is not None
    assert (sent.fields["trace"], sent.fields["top_a"]) == ({"trace_name": "mine", **ids}, 1)
    assert sent.fields["usage"] == {"include": True}
    assert extra == {"trace": {"trace_name": "mine"}, "top_a": 1}
    assert span.links == ()


@pytest.mark.parametrize("theirs", [{"trace_id": "mine"}, {"parent_span_id": "ab" * 8}, "odd", ["odd"]])
def test_the_users_own_trace_wins(
    theirs: Any, instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """A `trace` that names a parent already, or that is no object, is sent as it is."""
    instrumented(broadcast="propagate")
    client.chat.completions.create(**ASK, extra_body={"trace": theirs})
    assert fake.requests[0].fields is not None
    assert fake.requests[0].fields["trace"] == theirs


@pytest.mark.parametrize(
    "options",
    [{"hosts": "*"}, {"tracer_provider": TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)}, {"spans": "off"}],
    ids=["not named", "not sampled", "no span"],
)
def test_propagate_needs_a_span_at_openrouter(
    options: Any, instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """Hosts that are not named, traces that are not sampled, and calls without a span, are sent as they are."""
    instrumented(**{"broadcast": "propagate", **options})
    client.chat.completions.create(**ASK)
    assert "trace" not in (fake.requests[0].fields or {})


def test_propagate_leaves_other_endpoints_alone(
    instrumented: Callable[..., Any], fake: FakeOpenRouter, client: openai.OpenAI
) -> None:
    """Embeddings are sent as they are."""
    instrumented(broadcast="propagate")
    client.embeddings.create(model="a/model", input="hi")
    assert "trace" not in (fake.requests[0].fields or {})


def test_off_by_default(telemetry: Any, fake: FakeOpenRouter, client: openai.OpenAI) -> None:
    """Without the option there is neither a link nor a trace in the body."""
    client.chat.completions.create(**ASK)
    assert telemetry.spans()[0].links == ()
    assert "trace" not in (fake.requests[0].fields or {})


def test_a_wrong_value_is_refused(instrumented: Callable[..., Any]) -> None:
    """What is none of the three is a ConfigError that names them."""
    with pytest.raises(ConfigError, match="allowed: off, link or propagate"):
        instrumented(broadcast="both")


@settings(max_examples=50)
@given(
    st.none()
    | st.dictionaries(
        st.sampled_from(["trace", "a"]), st.none() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    ),
)
def test_nothing_of_the_users_is_lost(extra: dict[str, Any] | None) -> None:
    """Whatever the user sends is sent still, and none of it is mutated."""
    before = repr(extra)
    made = with_trace(extra or {}, extra, 1, 2)
    assert repr(extra) == before
    if made is not None:
        assert {**(extra or {}), "trace": 0} == {**made, "trace": 0}
        assert ((extra or {}).get("trace") or {}).items() <= made["trace"].items()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "extra"), [({"trace": "theirs"}, None), ({"trace": {"trace_id": "t"}}, None), ({}, [1])]
)
def test_what_we_cannot_add_to_stays(body: dict[str, Any], extra: Any) -> None:
    """A trace of the user's, and an extra body that is no object, are sent as they are."""
    assert with_trace(body, extra, 1, 2) is None
