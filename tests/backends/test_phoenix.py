"""Phoenix's own server shows the reported cost beside its estimate: by its API, its filter and its page."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from otlp_sender import KNOWN, UNKNOWN, send_calls
from served import answer, free_port, page, served, wait_until

if importlib.util.find_spec("phoenix") is None:
    pytest.skip("arize-phoenix is not installed", allow_module_level=True)

FILTERED: Final = """
{ projects { edges { node { id spans(first: 9, filterCondition: "%s") { edges { node { name metadata
  costSummary { total { cost } } } } } } } } }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server of its own that has two calls."""
    folder, port = tmp_path_factory.mktemp("phoenix"), free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with served([Path(sys.executable).with_name("phoenix"), "serve"], url, folder, **environ):
        send_calls(url, "phoenix")
        wait_until(lambda: len(spans(url)) == 2)
        yield url


def spans(url: str) -> dict[str, dict[str, Any]]:
    """Return the spans that the server has, by their model."""
    listed = answer(f"{url}/v1/projects/default/spans?limit=50")["data"]
    return {span["attributes"]["gen_ai.request.model"]: span for span in listed}


def test_the_reported_cost_is_read_back(server: str) -> None:
    """Under the conventions' name and in the metadata, with who served the call; what was said fills the list."""
    dear, cheap = spans(server)[KNOWN]["attributes"], spans(server)[UNKNOWN]["attributes"]
    assert (dear["gen_ai.usage.cost"], dear["metadata.cost_usd"]) == (0.123456, 0.123456)
    assert (cheap["gen_ai.usage.cost"], cheap["metadata.cost_usd"]) == (0.010544, 0.010544)
    assert (dear["metadata.served_by"], dear["metadata.is_byok"]) == ("Azure", False)
    assert (dear["input.value"], dear["output.value"]) == ("Name a moon of Saturn.", "Titan.")
    assert dear["output.mime_type"] == "text/plain"


def test_calls_are_found_by_their_cost(server: str) -> None:
    """By the filter that the documentation tells; Phoenix's own cost column is its estimate all the same."""
    condition = "attributes['gen_ai']['usage']['cost'] > 0.05"
    (project,) = answer(f"{server}/graphql", {"query": FILTERED % condition})["data"]["projects"]["edges"]
    (found,) = project["node"]["spans"]["edges"]
    assert found["node"]["name"] == f"chat {KNOWN}"
    assert found["node"]["costSummary"]["total"]["cost"] < 0.001


def test_its_page_shows_the_cost(server: str, tmp_path: Path) -> None:
    """In a browser, where a person looks at a call."""
    (project,) = answer(f"{server}/graphql", {"query": "{ projects { edges { node { id } } } }"})["data"]["projects"][
        "edges"
    ]
    trace = spans(server)[KNOWN]["context"]["trace_id"]
    assert "0.123456" in page(f"{server}/projects/{project['node']['id']}/traces/{trace}", tmp_path)
