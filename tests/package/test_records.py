"""Facts about the frozen records, and what a call cost."""

from __future__ import annotations

import copy
import decimal
import pickle
import pydoc
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_tables import RECORDS, tables, written

import or_instrument
from or_instrument import BudgetExceeded, Call, Failure, LookupFailed, Reply, Request, Usage
from or_instrument import _field_docs as docs
from or_instrument._amounts import counted

REQUEST = Request("chat", "openrouter", "acme/large", "openrouter.ai", 443)
AMOUNTS = st.floats(0, allow_nan=False, allow_infinity=False)


def test_spend_of_a_call_that_is_not_byok_is_the_cost_alone() -> None:
    """Upstream is reported for such calls too, where it is part of the cost."""
    usage = Usage(cost=0.25, is_byok=False, upstream_cost=0.25)
    assert usage.spend == 0.25
    assert usage.spend_exact == Decimal("0.25")


def test_spend_where_byok_was_not_said_is_the_cost_alone() -> None:
    """An absent `is_byok` is not a BYOK call."""
    assert Usage(cost=0.25, upstream_cost=0.25).spend == 0.25


def test_spend_of_a_byok_call_adds_the_bill_of_the_provider() -> None:
    """OpenRouter charged its fee, the provider the inference."""
    usage = Usage(cost=0.0439847, is_byok=True, upstream_cost=0.879694)
    assert usage.spend == 0.9236787
    assert usage.spend_exact == Decimal("0.9236787")


def test_spend_is_added_in_decimal_digits() -> None:
    """0.1 + 0.2 is 0.3, where binary addition says 0.30000000000000004."""
    assert Usage(cost=0.1, is_byok=True, upstream_cost=0.2).spend == 0.3


def test_a_free_byok_call_costs_what_the_provider_bills() -> None:
    """A cost of 0 is a cost that is known."""
    assert Usage(cost=0.0, is_byok=True, upstream_cost=0.035002).spend == 0.035002


def test_spend_of_a_byok_call_without_upstream_is_unknown() -> None:
    """The provider's bill is the larger part; without it the sum would be a lie."""
    usage = Usage(cost=0.01, is_byok=True)
    assert usage.spend is None
    assert usage.spend_exact is None


@pytest.mark.parametrize("byok", [None, False, True])
def test_spend_without_a_cost_is_unknown(byok: bool | None) -> None:
    """What OpenRouter charged is not guessed from the rest."""
    usage = Usage(is_byok=byok, upstream_cost=0.5)
    assert usage.spend is None
    assert usage.spend_exact is None


@given(AMOUNTS, AMOUNTS)
@settings(max_examples=80, deadline=None)
def test_spend_is_exact_whatever_decimal_context_the_application_has_set(cost: float, upstream: float) -> None:
    """The application's own precision and traps neither round the sum nor make it raise."""
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = True
        usage = Usage(cost=cost, is_byok=True, upstream_cost=upstream)
        spend, exact = usage.spend, usage.spend_exact
    with decimal.localcontext() as context:
        context.prec = 2000
        assert exact == Decimal(repr(cost)) + Decimal(repr(upstream))
        assert spend == float(exact)


def test_a_call_shows_the_usage_failure_and_spend_of_its_reply() -> None:
    """`call.usage` and its like are the reply's own."""
    usage, failure = Usage(cost=0.5), Failure("server")
    call = Call(1, REQUEST, Reply(usage=usage, failure=failure), "error", 0, 1.0)
    assert (call.usage, call.failure, call.spend) == (usage, failure, 0.5)


def test_the_spend_of_a_call_without_usage_is_unknown() -> None:
    """No usage object is not a cost of 0."""
    assert Call(1, REQUEST, Reply(), "complete", 0, 1.0).spend is None


@pytest.mark.parametrize("record", [REQUEST, Usage(), Failure("server"), Reply()], ids=lambda r: type(r).__name__)
def test_records_are_frozen(record: object) -> None:
    """What a sink gets, no other sink can change."""
    with pytest.raises(AttributeError):
        record.type = "changed"  # type: ignore[attr-defined]


def test_an_empty_usage_reports_nothing() -> None:
    """Every number's default is "not reported", none is 0."""
    fields = Usage()._asdict()
    assert (fields.pop("details"), fields.pop("source"), fields.pop("lower_bound")) == ({}, "response", False)
    assert set(fields.values()) == {None}


def test_a_copy_of_a_call_keeps_its_span() -> None:
    """It stays in this process."""
    call = Call(1, REQUEST, Reply(), "complete", 0, 1.0, context={"span": threading.Lock()})
    assert copy.copy(call) == call


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("gen-1"), "gen-1"),
        (Reply("gen-1", generation_id="gen-2"), "gen-2"),
        (Reply("chatcmpl-1"), None),
        (Reply(), None),
    ],
    ids=["body", "header first", "another's id", "none"],
)
def test_the_generation_id_is_the_header_s_or_the_reply_s_own(reply: Reply, expected: str | None) -> None:
    """An id that OpenRouter did not give cannot be looked up there."""
    assert Call(1, REQUEST, reply, "complete", 0, 1.0).generation_id == expected


def test_budget_exceeded_tells_scope_amounts_and_what_to_do() -> None:
    """In exact amounts."""
    error = BudgetExceeded("nightly", Decimal("0.30"), Decimal("0.25"))
    assert (error.name, error.spent_usd, error.limit_usd) == ("nightly", Decimal("0.30"), Decimal("0.25"))
    assert str(error).startswith("track('nightly') has spent 0.30 USD of its limit of 0.25 USD; the call was not sent.")
    assert "Raise limit_usd" in str(error)
    assert str(BudgetExceeded("", Decimal(1), Decimal(1))).startswith("this track() scope has spent 1 USD")


def test_lookup_failed_tells_what_was_asked_how_often_and_the_last_answer() -> None:
    """And a hint where there is one."""
    error = LookupFailed("GET /key", 3, "HTTP 401", "Check the key.")
    assert str(error) == "GET /key was asked 3 times; the last answer was HTTP 401. Check the key."
    assert (error.question, error.attempts, error.last_answer) == ("GET /key", 3, "HTTP 401")
    assert str(LookupFailed("GET /key", 1, "HTTP 500")) == "GET /key was asked once; the last answer was HTTP 500."


def test_every_public_record_is_told_of() -> None:
    """A new one needs its texts too."""
    public = [value for name in or_instrument.__all__ if hasattr(value := getattr(or_instrument, name), "_fields")]
    assert {record.__name__ for record in public} == {record.__name__ for record in RECORDS}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_help_tells_every_field(record: Any) -> None:
    """In the words below it in the source, where editors look for them too."""
    told = pydoc.plain(pydoc.render_doc(record))
    texts = docs.field_docs(record)
    assert set(texts) == set(record._fields)
    for name, text in texts.items():
        assert f" |  {name}\n |      {text.splitlines()[0]}\n" in told
    assert "Alias for field number" not in told
    assert record.__doc__.splitlines()[0] in told


def test_the_reference_has_the_same_texts() -> None:
    """`python tests/support/record_tables.py` writes them there."""
    assert written() == tables()


@docs.with_field_docs
class Packed(NamedTuple):
    """The text of its own."""

    field: int = 0
    """Below the field."""


def test_help_needs_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that is packed without it has the record's own text."""

    def gone(_module: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", gone)
    assert docs.field_docs(Packed) == {}
    assert "The text of its own." in pydoc.plain(pydoc.render_doc(Packed))


def test_the_import_reads_no_source() -> None:
    """The texts are read for `help()` alone."""
    code = (
        "import sys, or_instrument; or_instrument.Usage(), or_instrument.Generation('gen-1')\n"
        "print({'ast', 'inspect'} & set(sys.modules), or_instrument.Usage.cost.__doc__)\n"
        "print(or_instrument.Usage.__doc__[:6], or_instrument.Usage.cost.__doc__)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines() == [
        "set() Alias for field number 5",
        "Tokens USD that OpenRouter charged to the account.",
    ]


def test_a_record_is_pickled_as_what_it_is() -> None:
    """As a sink that hands calls to another process needs it, where the span of one cannot go."""
    call = Call(1, REQUEST, Reply(usage=Usage(cost=0.5)), "complete", 0, 1.0, context={"span": threading.Lock()})
    assert pickle.loads(pickle.dumps(call)) == call._replace(context=None)  # noqa: S301 - our own


@pytest.mark.parametrize(
    "error",
    [BudgetExceeded("nightly", Decimal("0.30"), Decimal("0.25")), LookupFailed("GET /key", 3, "HTTP 401", "Check it.")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_pickled_as_what_it_is(error: Exception) -> None:
    """A pool of processes breaks, or waits for ever, where it cannot read what a job has raised."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(("count", "words"), [(0, "0 calls"), (1, "1 call"), (12, "12 calls")])
def test_a_count_in_words_knows_one_from_several(count: int, words: str) -> None:
    """What is printed of one call is no plural."""
    assert counted(count, "call") == words
