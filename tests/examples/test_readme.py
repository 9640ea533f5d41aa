"""The snippets and commands of the README and of docs/, run as they stand against the fake service."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from filled_ledger import begin, call, fill
from openai import OpenAI
from otlp_receiver import http_receiver
from prometheus_server import check_expressions

from or_instrument import _options
from or_instrument.testing import Answer, FakeOpenRouter

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]
PACKAGE = ROOT / "src" / "or_instrument"
SERVICE = "https://openrouter.ai/api/v1"
COLLECTOR = "http://localhost:4318"
RECONCILE = "or-instrument reconcile"
KEY = "sk-or-..."
"""As the pages write it."""
LANGUAGES = {"python", "sh", "promql", "text"}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^(?![-*\d ]).*\n\n(?: {4}|\t)", re.MULTILINE)
QUOTED = re.compile(r"`[^`\n]*`|\\\|")
"""What may hold a bar that divides no cells."""
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


APPLICATION = """
from openai import OpenAI

OpenAI().chat.completions.create(model="openai/gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        """Return where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(page, found[1], found[2], text[: found.start()].count("\n") + 2)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


BLOCKS = [block for page in PAGES for block in _blocks(page)]
SNIPPETS = [block for block in BLOCKS if block.language == "python"]
# The README's two commands for a newcomer make a virtual environment and run these very tests in it: `.ci/run` executes
# them.
COMMANDS = [block for block in BLOCKS if block.language == "sh"][2:]
QUESTIONS = [block for block in BLOCKS if block.language == "promql"]
NOT_RUN = [block for block in BLOCKS if block.language == "text" and not block.text.startswith(" ")]
"""What would install or start something; the drawing is indented."""


def _run(command: list[str], fake: FakeOpenRouter, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OPENAI_API_KEY": "sk-or-test",
        "OPENROUTER_API_KEY": "sk-or-test",
        "OPENAI_BASE_URL": fake.base_url,
        "OR_INSTRUMENT_HOSTS": "127.0.0.1",
        "PYTHONWARNINGS": "error",
    }
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_a_python_snippet_runs(block: Block, fake: FakeOpenRouter, tmp_path: Path) -> None:
    """A Python snippet runs as it stands, without a word on stderr, and makes the calls it shows."""
    script = tmp_path / "snippet.py"
    script.write_text(block.text.replace(SERVICE, fake.base_url), encoding="utf-8")

    ran = _run([sys.executable, str(script)], fake, tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    calls_the_service = ".create(" in block.text and "FakeOpenRouter" not in block.text
    assert bool(fake.requests) == calls_the_service


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_a_command_runs(block: Block, fake: FakeOpenRouter, tmp_path: Path) -> None:
    """A shell command succeeds; where it runs an application, that is recorded, and exported where it says so."""
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    if "costs.db" in block.text:
        _keep_books(fake, tmp_path / "costs.db")

    with http_receiver() as received:
        script = block.text.replace(COLLECTOR, received.url).replace(
            RECONCILE, f"{RECONCILE} --base-url {fake.base_url}"
        )
        ran = _run(["bash", "-euc", script], fake, tmp_path)

    assert ran.returncode == 0, ran.stderr
    if "app.py" in block.text:
        (request,) = fake.requests
        assert isinstance(request.json, dict)
        assert request.json["usage"] == {"include": True}
    assert [span.name for span in received.spans()] == ["chat openai/gpt-5-mini"] * (COLLECTOR in block.text)


def _keep_books(fake: FakeOpenRouter, ledger: Path) -> None:
    """Have the service and a ledger know of one call of yesterday, made with the management key of the pages."""
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    fake.management_key, fake.now = True, yesterday.timestamp
    fake.script(Answer(cost="0.25"))
    with OpenAI(api_key=KEY, base_url=fake.base_url) as client:
        client.chat.completions.create(model="a/model", messages=[{"role": "user", "content": "Hello"}])
    made = call(1, 0.25, f"{yesterday:%Y-%m-%dT%H:%M}", host="127.0.0.1")
    fill(ledger, [made], api_key_hash=hashlib.sha256(KEY.encode()).hexdigest())
    begin(ledger, f"{yesterday:%Y-%m-%dT00:00}")
    fake.now = time.time


@pytest.mark.parametrize("block", QUESTIONS, ids=str)
def test_a_question_is_answered(block: Block, tmp_path: Path) -> None:
    """Prometheus takes it as it stands, and tells what a new series and an old one have grown by."""
    series = {'gen_ai_usage_cost_USD_sum{job="a"}': "_x80 0.25x40", 'gen_ai_usage_cost_USD_sum{job="b"}': "5x80 6x40"}

    check_expressions(tmp_path, series, {block.text: [("{}", 1.25)]}, at="120m")


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_what_cannot_run_here_is_whole(block: Block) -> None:
    """Of what installs or starts something, the files, extras, groups and packages that it names are there."""
    words = {word for line in block.text.splitlines() for word in shlex.split(line)}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[dependency-groups]\n")[2]
    named = {word for word in words if "/" in word and not word.startswith(".venv/")}
    extras = {extra for found in re.findall(r"\.\[(.*?)\]", block.text) for extra in found.split(",")}

    assert all((ROOT / name).is_file() for name in named)
    assert extras <= set(metadata.metadata("or-instrument").get_all("Provides-Extra") or [])
    assert all(f"\n{group} = [" in project for group in re.findall(r"--group (\S+)", block.text))
    assert named or extras


def test_the_two_commands_come_first() -> None:
    """The README begins with the demo and the tests, in this order."""
    demo, tests, *_ = (block.text for block in BLOCKS if block.page == README and block.language == "sh")

    assert demo.endswith("or-instrument demo\n")
    assert tests.endswith("-m pytest -q\n")


def test_the_readme_is_read_in_three_minutes() -> None:
    """What a newcomer need not know stands in docs/."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files and headings that a page links to are there."""
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), anchor


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_is_told_of() -> None:
    """The README leads to each page of docs/."""
    told = {(README.parent / target).resolve() for target, _ in LINK.findall(README.read_text(encoding="utf-8"))}

    assert {page for page in PAGES if page != README} <= told


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_it_is_installed_from_the_checkout(page: Path) -> None:
    """The package is on no index: pip is given the folder, and extras that there are."""
    text = page.read_text(encoding="utf-8")
    named = {extra for extras in re.findall(r"'\.\[(.*?)\]'", text) for extra in extras.split(",")}

    assert named <= set(metadata.metadata("or-instrument").get_all("Provides-Extra") or [])
    assert "or-instrument[" not in text


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_tables_are_whole(page: Path) -> None:
    """A row that does not end as one, or has other cells than its heads, is shown as broken text."""
    tables = re.findall(r"^\|.*(?:\n\|.*)*", QUOTED.sub("", page.read_text(encoding="utf-8")), re.M)

    for heads, *rows in (table.splitlines() for table in tables):
        assert [row for row in (heads, *rows) if not row.endswith("|") or row.count("|") != heads.count("|")] == []


def test_every_benchmark_is_told_of() -> None:
    """The page on performance leads to each program that measures, and shows what is in docs/pictures of it."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    programs = {path.name for path in (ROOT / "benchmarks").glob("[!_]*.py")}

    assert programs == {name for name in programs if name in page}
    assert "pictures/performance.png" in page


@pytest.mark.parametrize("page", [CONTRIBUTING, ROOT / "docs" / "architecture.md"], ids=_name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """A reader who looks for a file of the code finds it."""
    named = re.findall(r"[\w./]+(?:\.(?:py|pth|yaml|toml|md)\b|/(?=`))", page.read_text(encoding="utf-8"))

    assert [name for name in named if not _is_there(name, page)] == []


def _is_there(name: str, page: Path) -> bool:
    # Where the folder has just been told, a name stands alone.
    return any((root / name).exists() for root in (ROOT, PACKAGE, page.parent)) or any(PACKAGE.parent.rglob(name))


def test_every_session_that_is_named_is_there() -> None:
    """What contributors are told to run with nox can be run."""
    nox = pytest.importorskip("nox")
    listed = subprocess.run(
        [sys.executable, "-m", nox.__name__, "-f", ROOT / "noxfile.py", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    # One with parameters may be named without them.
    sessions = {
        name for one in re.findall(r"^[*-] (\S+)", listed.stdout, re.M) for name in (one, one.partition("(")[0])
    }
    named = re.findall(r"`nox -s ([^`]*)`", CONTRIBUTING.read_text(encoding="utf-8"))

    assert {session.strip('"') for line in named for session in line.partition(" -- ")[0].split(" ")} <= sessions


def test_every_extra_is_told_of() -> None:
    """The README's table has each extra that users may want."""
    told = set(re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE))
    extras = set(metadata.metadata("or-instrument").get_all("Provides-Extra") or [])

    assert told >= extras - {"instruments"}  # OpenTelemetry's own way to ask, not for users


@pytest.mark.parametrize("option", sorted(_options.OPTIONS))
def test_an_option_is_documented(option: str) -> None:
    """Every option is in the reference by its variable, and by its keyword where it has one."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")

    assert f"`{_options.OPTIONS[option].variable}`" in text
    assert option == "cost_aliases" or f"| `{option}` |" in text


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_says_what_it_is(page: Path) -> None:
    """No block escapes these tests for want of a fence or a language."""
    blocks, text = list(_blocks(page)), page.read_text(encoding="utf-8")

    assert text.count("\n```") == 2 * len(blocks)
    assert INDENTED.findall(text) == []
    assert {block.language for block in blocks} <= LANGUAGES
