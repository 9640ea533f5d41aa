"""Facts about the options: keyword, then variable, then default; what is wrong, and what then."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from or_instrument import ConfigError
from or_instrument._options import OPTIONS
from or_instrument._settings import Settings, enabled, explain, refuse_unknown, resolve
from or_instrument._telemetry.backends import BACKENDS

WARNED = logging.WARNING
ALIASES = "OR_INSTRUMENT_COST_ALIASES"
COSTS = [
    *("gen_ai.cost", "gen_ai.usage.cost", "gen_ai.usage.total_cost", "llm.cost.total", "$ai_total_cost_usd"),
    *("langwatch.span.cost", "langfuse.observation.metadata.cost", "signoz.gen_ai.usage.tokens.cost"),
]
"""What somebody may read as the cost of a call."""
EXAMPLES: list[tuple[str, str, object, object]] = [
    ("hosts", "a.example, b.example", ["a.example", "b.example"], ("a.example", "b.example")),
    ("inject_usage", "no", False, False),
    ("spans", " OFF ", "off", "off"),
    ("metrics", "0", False, False),
    ("router_metadata", "true", True, True),
    ("metric_attributes", "feature,tenant,feature", ["feature", "tenant"], ("feature", "tenant")),
    ("backend", "MLflow, signoz,mlflow", ["mlflow", "signoz"], ("mlflow", "signoz")),
    ("cost_aliases", "operation.cost,", ["operation.cost"], ("operation.cost",)),
    ("cost_aliases", ",".join(COSTS), COSTS, tuple(COSTS)),
]
"""Option, variable's text, the same as a keyword, what both come to."""

WRONG: list[tuple[str, object]] = [
    ("hosts", []),
    ("hosts", ["https://openrouter.ai"]),
    ("hosts", ["openrouter.ai:443"]),
    ("hosts", ["openrouter.ai/api"]),
    ("hosts", ["*.openrouter.ai"]),
    ("hosts", [7]),
    ("hosts", 7),
    ("inject_usage", "maybe"),
    ("inject_usage", 1),
    ("router_metadata", "perhaps"),
    ("router_metadata", 1),
    ("spans", "none"),
    ("spans", True),
    ("metrics", "sometimes"),
    ("metrics", []),
    ("metric_attributes", 7),
    ("metric_attributes", [None]),
    ("metric_attributes", ["feature", "gen_ai.request.model"]),
    ("metric_attributes", "openrouter.usage.is_byok"),
    ("metric_attributes", "server.address"),
    ("backend", "datadog"),
    ("backend", ["mlflow", "datadog"]),
    ("backend", True),
]


@pytest.mark.parametrize(("name", "text", "keyword", "expected"), EXAMPLES, ids=lambda value: str(value)[:24])
def test_an_option_is_set_by_keyword_or_variable(name: str, text: str, keyword: object, expected: object) -> None:
    """Both ways come to the same; alone it differs from the default."""
    assert getattr(resolve({name: keyword}, {}), name) == expected
    assert getattr(resolve({}, {OPTIONS[name].variable: text}), name) == expected
    assert getattr(Settings(), name) != expected


@pytest.mark.parametrize(("name", "text", "keyword", "expected"), EXAMPLES, ids=lambda value: str(value)[:24])
def test_the_keyword_wins_over_the_variable(name: str, text: str, keyword: object, expected: object) -> None:
    """Even where it is the default."""
    default = getattr(Settings(), name)
    assert getattr(resolve({name: default}, {OPTIONS[name].variable: text}), name) == default
    assert getattr(resolve({name: keyword}, {OPTIONS[name].variable: "?!"}), name) == expected


def test_without_keyword_and_variable_there_are_the_defaults() -> None:
    """`None` is a keyword that was not given, a blank variable one that was not set."""
    blank = {option.variable: " " for option in OPTIONS.values()}
    assert resolve(dict.fromkeys(OPTIONS), blank) == Settings()
    assert Settings()[:4] == (("openrouter.ai",), True, "own", True)


def test_every_option_has_its_setting_and_variable() -> None:
    """No option is read into nothing, and no two from one variable."""
    assert set(OPTIONS) == set(Settings._fields)
    assert len({option.variable for option in OPTIONS.values()}) == len(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_the_default_of_every_option_is_allowed(name: str) -> None:
    """Who writes it out changes nothing."""
    assert resolve({name: getattr(Settings(), name)}, {}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"), [*WRONG, *((name, object()) for name in sorted(OPTIONS))], ids=lambda value: str(value)[:20]
)
def test_a_wrong_keyword_is_refused(name: str, value: object) -> None:
    """The error names the option, the value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        resolve({name: value}, {})
    assert str(caught.value) == f"{name}={value!r} is not allowed; allowed: {OPTIONS[name].allowed}"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hosts", "https://openrouter.ai"),
        ("hosts", ","),
        ("hosts", "*.openrouter.ai"),
        ("inject_usage", "maybe"),
        ("spans", "none"),
        ("metrics", "2"),
        ("backend", "mlflow,datadog"),
    ],
)
def test_a_wrong_variable_is_one_warning_and_the_default(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Telemetry never stops a service from starting."""
    option = OPTIONS[name]
    assert resolve({}, {option.variable: text}) == Settings()
    (record,) = caplog.records
    assert record.levelno == WARNED
    assert record.getMessage() == (
        f"{option.variable}={text!r} is not allowed (allowed: {option.allowed}); the default is used"
    )


def test_an_unknown_backend_is_told_those_that_there_are() -> None:
    """All of them, by name."""
    with pytest.raises(ConfigError) as told:
        resolve({"backend": "datadog"}, {})
    assert str(told.value) == (
        "backend='datadog' is not allowed; allowed: one or more of langfuse, langwatch, mlflow, openlit, phoenix, "
        "posthog, signoz, a list or separated by commas"
    )


def test_an_alias_that_must_hold_a_text_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    """MLflow refuses a whole batch of spans for a number there; the warning says what to use instead."""
    assert resolve({}, {ALIASES: "operation.cost,mlflow.llm.cost,llm.cost.total"}) == Settings(
        cost_aliases=("operation.cost", "llm.cost.total")
    )
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{ALIASES}='operation.cost,mlflow.llm.cost,llm.cost.total' is not allowed")
    assert record.getMessage().endswith(
        "; mlflow.llm.cost is no number of USD, for it set OR_INSTRUMENT_BACKEND=mlflow); the others are used"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gen_ai.usage.total_tokens", "no number of USD, for it set OR_INSTRUMENT_BACKEND=openlit"),
        ("input.value", "no number of USD, for it set OR_INSTRUMENT_BACKEND=phoenix"),
        ("gen_ai.usage.input_tokens", "ours and tells something else"),
        ("openrouter.provider.name", "ours and tells something else"),
        ("mlflow.spanInputs", "read as something else by MLflow"),
        ("langfuse.observation.cost_details", "read as something else by Langfuse"),
        ("openinference.span.kind", "read as something else by Phoenix"),
    ],
)
def test_an_alias_that_is_something_else_is_dropped(caplog: pytest.LogCaptureFixture, name: str, why: str) -> None:
    """What we or a backend write or read there is no number of USD: the warning says which of these it is."""
    assert resolve({}, {ALIASES: f"operation.cost,{name}"}).cost_aliases == ("operation.cost",)
    (record,) = caplog.records
    assert record.getMessage().endswith(f"; {name} is {why}); the others are used")


def test_every_backend_can_be_chosen() -> None:
    """Each name alone, and all together."""
    assert resolve({"backend": list(BACKENDS)}, {}).backend == tuple(BACKENDS)
    assert [resolve({"backend": name}, {}).backend for name in BACKENDS] == [(name,) for name in BACKENDS]


def test_a_name_of_ours_is_left_out_of_the_metric_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """One warning, and the keys beside it are labels."""
    text = "feature,gen_ai.request.model,server.port,gen_ai.agent.name"
    settings = resolve({}, {"OR_INSTRUMENT_METRIC_ATTRIBUTES": text})
    assert settings.metric_attributes == ("feature", "gen_ai.agent.name")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"OR_INSTRUMENT_METRIC_ATTRIBUTES={text!r} is not allowed (allowed: {OPTIONS['metric_attributes'].allowed}); "
        "the others are used"
    )


def test_two_names_of_ours_may_be_metric_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """Whose values are few, and are asked for by those who need them."""
    keys = ("tenant", "openrouter.client", "openrouter.response.service_tier")
    assert resolve({"metric_attributes": keys}, {}).metric_attributes == keys
    assert resolve({}, {"OR_INSTRUMENT_METRIC_ATTRIBUTES": ",".join(keys)}).metric_attributes == keys
    assert caplog.records == []


def test_one_wrong_variable_leaves_the_others_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """Each is read by itself."""
    environ = {"OR_INSTRUMENT_SPANS": "?", "OR_INSTRUMENT_METRICS": "false", "PATH": "x"}
    assert resolve({}, environ) == Settings(metrics=False)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", " On "])
def test_words_that_switch_on(word: str) -> None:
    """In any case, with blanks around."""
    assert resolve({"metrics": word}, {}).metrics is True
    assert enabled({"OR_INSTRUMENT_ENABLED": word}) is True


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "FALSE", " Off "])
def test_words_that_switch_off(word: str) -> None:
    """In any case, with blanks around."""
    assert resolve({"metrics": word}, {}).metrics is False
    assert enabled({"OR_INSTRUMENT_ENABLED": word}) is False


@pytest.mark.parametrize("environ", [{}, {"OR_INSTRUMENT_ENABLED": ""}, {"OR_INSTRUMENT_ENABLED": "  "}], ids=str)
def test_the_master_switch_may_say_nothing(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Unset is neither on nor off."""
    assert enabled(environ) is None
    assert caplog.records == []


def test_a_master_switch_that_nobody_understands_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It names the variable."""
    assert enabled({"OR_INSTRUMENT_ENABLED": "perhaps"}) is None
    assert [record.getMessage() for record in caplog.records] == [
        "OR_INSTRUMENT_ENABLED='perhaps' is not allowed (allowed: true or false); ignored"
    ]


def test_an_option_that_there_is_not_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=r"^there is no option metric \(given: True\); allowed: hosts, metrics$"):
        refuse_unknown({"metric": True}, ("metrics", "hosts"))
    refuse_unknown({}, ("metrics",))


@pytest.mark.parametrize(("name", "least"), [("content_limit", 256), ("metric_values_limit", 1)])
def test_limits_are_whole_numbers(name: str, least: int) -> None:
    """As a number or as its digits, from the least on."""
    assert getattr(resolve({name: least}, {}), name) == least
    assert getattr(resolve({}, {OPTIONS[name].variable: str(least)}), name) == least
    for wrong in (least - 1, str(least - 1), True, 300.5, "300.5", "many"):
        with pytest.raises(ConfigError, match=name):
            resolve({name: wrong}, {})


def test_variables_can_be_explained() -> None:
    """What each is set to, and where that is not allowed, what is."""
    told = explain({"OR_INSTRUMENT_SPANS": "none", "OR_INSTRUMENT_METRICS": " off ", "OR_INSTRUMENT_ENABLED": "?"})
    assert told["OR_INSTRUMENT_SPANS"] == ("none", OPTIONS["spans"].allowed)
    assert told["OR_INSTRUMENT_METRICS"] == ("off", None)
    assert told["OR_INSTRUMENT_ENABLED"] == ("?", "true or false")
    assert told["OR_INSTRUMENT_HOSTS"] == (None, None)
    _, allowed = explain({ALIASES: "metadata"})[ALIASES]
    assert allowed is not None
    assert "OR_INSTRUMENT_BACKEND=phoenix" in allowed
    assert len(told) == len(OPTIONS) + 1


def test_a_ledger_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is made absolute, as a text; a folder is none, nor is the home of somebody who is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    told = str(tmp_path.resolve() / "costs.db")
    for given_ in ("costs.db", "~/costs.db", Path("costs.db"), tmp_path / "costs.db"):
        assert resolve({"ledger": given_}, {}).ledger == told
    assert resolve({}, {"OR_INSTRUMENT_LEDGER": "costs.db"}).ledger == told
    for wrong in ("", " ", ".", tmp_path, "a\0b", "~nobody-of-that-name/costs.db", ":memory:", "file:c.db", 7, True):
        with pytest.raises(ConfigError, match=r"ledger=.* is not allowed; allowed: the path of a regular file"):
            resolve({"ledger": wrong}, {})


def test_a_ledger_is_no_pipe(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor another file that is none to keep rows in; by the variable that is one warning."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    for wrong in (pipe, tmp_path / "link"):
        with pytest.raises(ConfigError, match=r"ledger=.*; allowed: the path of a regular file"):
            resolve({"ledger": wrong}, {})
    assert resolve({}, {"OR_INSTRUMENT_LEDGER": str(pipe)}).ledger is None
    (record,) = caplog.records
    assert record.getMessage().startswith("OR_INSTRUMENT_LEDGER")


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), VALUES))
@settings(max_examples=60, deadline=None)
def test_any_keyword_is_taken_or_refused_with_a_config_error(keywords: dict[str, Any]) -> None:
    """No other exception comes out, and what is taken is hashable."""
    with suppress(ConfigError):
        hash(resolve(keywords, {}))


@given(st.dictionaries(st.sampled_from([option.variable for option in OPTIONS.values()]), st.text(max_size=12)))
@settings(max_examples=60, deadline=None)
def test_no_variable_raises(environ: dict[str, str]) -> None:
    """Whatever somebody has written into it."""
    hash(resolve({}, environ))
