"""What a change must pass, and the matrix: SDK versions with their HTTP libraries, Pythons, and what sits on the SDK.

nox                                     the quick tests on this Python, lint and types
nox --list                              all sessions
nox -s tests-3.10                       the tests on one Python
nox -s "sdk-3.12(openai='2.54.0')"      the calls of one SDK version on one Python
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import nox

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# httpx 0.28 dropped an argument that these versions of the SDK still pass.
SDKS = {
    "1.40.0": ("httpx<0.28",),
    "1.66.0": (),
    "1.99.9": (),
    "2.0.0": (),
    "2.8.1": (),
    "2.54.0": (),
    "3.0.0": (),
    "newest": (),
}
OLDEST = ("opentelemetry-api==1.30.0", "opentelemetry-sdk==1.30.0", "wrapt==1.17.0")

CALL_TESTS = ("tests/clients",)
"""What depends on the version of the SDK: the shapes, endings and errors of calls."""
CORE = ("_openrouter/*", "_calls/*", "_clients/*", "_*records.py", "_amounts.py", "_settings.py", "_telemetry/names.py")
"""What a bill depends on."""
CORE_TESTS = (
    *("tests/openrouter", "tests/calls", "tests/clients", "tests/content"),
    *(f"tests/money/test_{name}.py" for name in ("account", "budget", "lookup", "tracker")),
    *(f"tests/package/test_{name}.py" for name in ("checks", "instrument", "records", "settings")),
    *(f"tests/telemetry/test_{name}.py" for name in ("enrich", "labels", "metrics", "span")),
)
"""Other wings start processes, of which nothing is measured here."""

FRAMEWORKS = {
    "openai 3": {
        "agents": "openai-agents",
        "agno": "agno",
        "aisuite": "aisuite",
        "anthropic": "anthropic",
        "autogen_agentchat": "autogen-agentchat autogen-ext[openai]",
        "dspy": "dspy>=3.4 litellm",
        "haystack_integrations.components.generators.openrouter": "openrouter-haystack",
        "langchain_openai": "langchain-openai",
        "litellm": "litellm aiohttp",
        "openrouter": "openrouter>=1",
        "pydantic_ai": "pydantic-ai-slim[openai,openrouter]>=2.68",
        "smolagents": "smolagents[openai]",
    },
    "openai 2": {
        "instructor": "instructor",
        "llama_index.llms.openrouter": "llama-index-llms-openrouter>=0.6",
        "strands": "strands-agents[openai]>=1.62",
    },
    "pydantic 2.12": {"crewai": "crewai>=1.15", "langchain_openrouter": "langchain-openrouter"},
    "pinned": {"browser_use": "browser-use>=0.13"},
}
"""What is driven for real: the module and the packages of each framework, by what keeps them apart from the others.

The bounds are there because a resolver would go back to a version that bears every other package.
"""
SUITES = {
    "httpx": (
        "httpx[brotli,cli,http2,socks,zstd]==0.28.1",
        "chardet==5.2.0 pytest==8.4.1 trio==0.31.0 trustme uvicorn==0.35.0",
    ),
    "requests": ("requests[socks]==2.34.2", "httpbin~=0.10.0 pytest-httpbin==2.1.0 pytest-mock trustme"),
}
"""The HTTP clients whose own tests are run, from their published sources, and what those need."""
NO_TELEMETRY = {
    "ANONYMIZED_TELEMETRY": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
}
"""The frameworks' own calls home, for which each would wait where there is no network."""

PROGRAMS = {
    "github.com/jaegertracing/jaeger/cmd/jaeger": "v1.76.0",
    "github.com/prometheus/prometheus/cmd/prometheus": "v0.316.0",
}
COLLECTOR_BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"

CLICKHOUSE_EXPORTER = "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/clickhouseexporter@v0.161.0"
"""Its own table definitions are read from its source."""

_BASE = ("pytest>=9", "anyio", "hypothesis", "trio")
_PROJECT = nox.project.load_toml("pyproject.toml")

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = (f"tests-{sys.version_info.major}.{sys.version_info.minor}", "lint", "types")


def _group(name: str) -> list[str]:
    return nox.project.dependency_groups(_PROJECT, name)


def _sdk(version: str) -> tuple[str, ...]:
    return ("openai<4",) if version == "newest" else (f"openai=={version}", *SDKS[version])


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The quick tests, on each Python."""
    session.install(".[test]")
    session.run("pytest", "-q", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that take seconds: servers (their quick rows), workers, programs, loads."""
    session.install(".[test]")
    session.run("pytest", "-q", "-m", "slow", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The core: what the tests of one process reach of it, branches too."""
    session.install("-e", ".[test]")
    # Without the tests that fork: coverage's own lock may be held by another thread at that moment. And without that of
    # an open stream's memory: of each frame that waits coverage keeps something too.
    measured = "not fork and not Fork and not holds_little"
    session.run("pytest", "-q", "--cov", "--cov-report=", "-k", measured, *CORE_TESTS, *session.posargs)
    # What runs only in a forked child, or only with an older SDK, is run by other tests.
    include = ",".join(f"*/or_instrument/{path}" for path in CORE)
    session.run("coverage", "report", "--fail-under=99.8", "--precision=1", f"--include={include}")


@nox.session
def lint(session: nox.Session) -> None:
    """The rules of ruff, and the contract of who may import whom."""
    session.install("-e", ".", *_group("lint"))
    session.run("ruff", "check", "-q", ".")
    session.run("ruff", "format", "-q", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """The types of the package and of the benchmarks, and what the checkers of its users see."""
    session.install("-e", ".[test]", *_group("lint"))
    session.run("mypy")
    session.run("pytest", "-q", "tests/typing")


@nox.session
def docs(session: nox.Session) -> None:
    """Every snippet, command and link of the README and of docs/."""
    session.install(".[test]")
    session.run("pytest", "-q", "tests/examples/test_readme.py", *session.posargs)


@nox.session(python="3.12")
def clickhouse(session: nox.Session) -> None:
    """The questions of examples/clickhouse, asked of ClickHouse itself, in the tables that the Collector makes."""
    if shutil.which("go") is None:
        session.skip("needs go")
    session.install("-e", ".[test]", *_group("clickhouse"))
    told = session.run("go", "mod", "download", "-json", CLICKHOUSE_EXPORTER, external=True, silent=True)
    statements = {"OR_INSTRUMENT_TESTS_CLICKHOUSE_SQL": f"{json.loads(str(told))['Dir']}/internal/sqltemplates"}
    session.run("pytest", "-q", "tests/examples/test_clickhouse.py", *session.posargs, env=statements)


@nox.session
def kills(session: nox.Session) -> None:
    """What the ledger has confirmed, after its writer was killed fifty times in the middle of writing."""
    session.install("-e", ".[test]")
    killed = ("tests/money/test_ledger.py", "-k", "outlives_kill_9")
    session.run("pytest", "-q", *killed, *session.posargs, env={"OR_INSTRUMENT_TEST_KILLS": "50"})


@nox.session
def uploads(session: nox.Session) -> None:
    """An upload of 1 GiB through each client, from a generator, a file and a form: what is held of it."""
    session.install(".[test]")
    large = {"OR_INSTRUMENT_TESTS_UPLOAD_MIB": "1024"}
    session.run("pytest", "-q", "-n", "0", "tests/clients/test_uploads.py", *session.posargs, env=large)


@nox.session
def splits(session: nox.Session) -> None:
    """Streams cut at random, 2,000 of them; `OR_INSTRUMENT_RECORDED` may name a folder of recorded exchanges."""
    session.install(".[test]")
    random = {"OR_INSTRUMENT_SPLITS": "2000", "OR_INSTRUMENT_TESTS_RANDOM": "true"}
    session.run("pytest", "-q", "tests/calls/test_reader.py", *session.posargs, env=random)


@nox.session
def servers(session: nox.Session) -> None:
    """Every row of the table of servers in docs/production.md: the real server, ended as it really is."""
    session.install("-e", ".[test]", *_group("servers"))
    if shutil.which("redis-server") is None:
        session.run("apt-get", "install", "-y", "redis-server", external=True)
    served = ("-n", "0", "-m", "slow", "tests/servers")
    session.run("pytest", "-q", *served, *session.posargs, env={"ALL_SERVERS": "1"})
    session.install("gunicorn<26")  # the last that has a worker for eventlet
    session.run("pytest", "-q", *served, *session.posargs, "-k", "eventlet", env={"ALL_SERVERS": "1"})


@nox.session
def soak(session: nox.Session) -> None:
    """10,000 calls under two workers that are replaced every 500: the sums to the last digit, and flat memory."""
    session.install("-e", ".[test]")
    session.run("pytest", "-q", "-n", "0", "tests/servers/test_soak.py", *session.posargs, env={"SOAK_CALLS": "10000"})


@nox.session
def work(session: nox.Session) -> None:
    """The work that recording adds to a call, counted and not timed."""
    session.install("-e", ".")
    session.run("python", "benchmarks/work.py")


@nox.session(python=PYTHONS)
@nox.parametrize("openai", list(SDKS))
def sdk(session: nox.Session, openai: str) -> None:
    """Every supported SDK on every supported Python: the shapes, endings and errors of calls."""
    session.install(".", *_sdk(openai), *_BASE)
    session.run("pytest", "-q", *CALL_TESTS, *session.posargs)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """The oldest of everything that is supported, together."""
    session.install(".", *_sdk("1.40.0"), *OLDEST, *_BASE)
    session.run("pytest", "-q", *CALL_TESTS, *session.posargs)


@nox.session(python="3.12")
@nox.parametrize("needs", [nox.param(word, id=word) for word in FRAMEWORKS])
def frameworks(session: nox.Session, needs: str) -> None:
    """The frameworks and the other clients, in their newest versions, driven for real: their sums are the books'."""
    packages = FRAMEWORKS[needs]
    session.install(".", *_BASE, *" ".join(packages.values()).split())
    expected = {"OR_INSTRUMENT_TESTS_FRAMEWORKS": " ".join(packages)}
    session.run("pytest", "-q", "tests/clients/test_frameworks.py", *session.posargs, env={**NO_TELEMETRY, **expected})


@nox.session(python="3.12")
@nox.parametrize("library", [nox.param(name, id=name) for name in SUITES])
def suites(session: nox.Session, library: str) -> None:
    """The own tests of httpx and of requests, without us and with every request of theirs watched: as many pass."""
    package, needs = SUITES[library]
    session.install("-e", ".", "pip", package, *needs.split())
    folder = Path(session.create_tmp()).resolve()
    source = package.partition("[")[0] + package.partition("]")[2]
    session.run("pip", "download", "-q", "--no-deps", "--no-binary", library, "-d", f"{folder}", source)
    (archive,) = folder.glob(f"{library}-*.tar.gz")
    shutil.unpack_archive(archive, folder)
    support = Path("tests/support").resolve()
    passed: dict[str, set[str]] = {}

    def run(how: str, *tests: str, codes: tuple[int, ...]) -> None:
        file = folder / f"passed-{how}"
        told = {"OR_INSTRUMENT_TESTS_SUITE": how, "OR_INSTRUMENT_TESTS_PASSED": f"{file}", "PYTHONPATH": f"{support}"}
        options = ("-q", "--tb", "no", "-p", "suite_with_us", "-p", "no:cacheprovider")
        session.run("pytest", *options, *tests, env=told, success_codes=codes)
        passed.setdefault(how, set()).update(file.read_text().splitlines())

    with session.chdir(folder / archive.name.removesuffix(".tar.gz")):
        run("without", "tests", codes=(0, 1))  # some need the network
        run("with", "tests", codes=(0, 1))
        lost = passed["without"] - passed["with"]
        if lost:
            run("with", *sorted(lost), codes=(0,))  # once more, as some of theirs fail now and then
        session.log(f"{library}: {len(passed['without'])} pass without us, {len(passed['with'])} with us")


@nox.session
def chain(session: nox.Session) -> None:
    """A real Collector, Jaeger and Prometheus with the examples' own files: their sums are the books'.

    Go builds them: a quarter of an hour the first time, seconds from its cache.
    """
    if shutil.which("go") is None:
        session.skip("needs go")
    session.install(".[test]")
    folder = Path(session.create_tmp()).resolve()
    parts = Path("tests/backends/collector-builder.yaml").resolve()
    go = partial(session.run, "go", external=True, env={"CGO_ENABLED": "0"})
    for package, version in PROGRAMS.items():
        program = package.rpartition("/")[2]
        module = folder / f"{program}-module"
        module.mkdir(exist_ok=True)
        with session.chdir(module):
            if not Path("go.mod").exists():
                go("mod", "init", "chain")
            go("get", "-tool", f"{package}@{version}", silent=True)
            # Without what finds services in every cloud there is.
            go("build", "-tags", "remove_all_sd", "-o", f"{folder / program}", package)
    with session.chdir(folder):
        go("run", COLLECTOR_BUILDER, f"--config={parts}")
    programs = {"OR_INSTRUMENT_TESTS_PROGRAMS": f"{folder}"}
    tests = [f"tests/backends/test_{name}.py" for name in ("chain", "workers")]
    session.run("pytest", "-q", "-n", "0", *tests, *session.posargs, env=programs)


@nox.session(python="3.12")
@nox.parametrize("server", ["mlflow", "arize-phoenix"])
def backends(session: nox.Session, server: str) -> None:
    """The reported cost in the real server of a backend: sent by OTLP, read back, and on its page."""
    session.install(".[otlp]", *_BASE, server)
    # Phoenix brings a plugin for pytest that warns at its import.
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    session.run("pytest", "-q", "-p", "anyio", "tests/backends", *session.posargs, env=plugins)


@nox.session(python="3.13")
def coexist(session: nox.Session) -> None:
    """Other instrumentations of the same SDK, installed for real, in both orders."""
    session.install(".", *_BASE, "pytest-xdist", *_group("coexist"))
    two = ("-n", "2", "--dist", "loadgroup")
    session.run("pytest", "-q", *two, "tests/telemetry/test_coexist.py", *session.posargs)
