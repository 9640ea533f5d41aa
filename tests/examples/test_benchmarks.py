"""The benchmarks: they measure all that they are asked for or say what is missing, and judge what was measured."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import venv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PATIENCE_S = 300.0
"""Only what hangs takes so long, however busy the machine is."""
OFFLINE = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}


SMALLEST = {
    "overhead.py": ("--only", "or_instrument", "--rounds", "1", "--starts", "1"),
    "unrecorded.py": ("--client", "openai.OpenAI", "--rounds", "1"),
    "streams.py": ("--streams", "5", "--chunks", "3", "--pause", "0", "--rounds", "1"),
    "memory.py": ("--what", "streams"),
}
MEASURED = {
    "overhead.py": {
        ("plain", "a chunk"),
        ("or_instrument", "chat"),
        ("or_instrument", "10 MB image, of the SDK's own"),
    },
    "unrecorded.py": {("openai.OpenAI", case) for case in ("another host", "suppressed", "disabled")},
    "streams.py": {(who, "chunks per second") for who in ("plain", "recorder", "recorder again", "or_instrument")},
    "memory.py": {("or_instrument", f"{count} open, short events, after 5") for count in (10, 200)},
}
"""Some rows of each."""


def run(program: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark to its end."""
    command, environment = [sys.executable, BENCHMARKS / program, *arguments], {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def measure(peer: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Have a plugin measured that cannot be installed now."""
    arguments = ("--only", peer, "--peers", directory, "--rounds", "1", "--starts", "1")
    return run("overhead.py", *arguments, **OFFLINE)


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "without the SDK"])
def test_a_plugin_that_cannot_be_installed_is_named(tmp_path: Path, *, is_there: bool) -> None:
    """Where a plugin's environment is missing or holds other versions and cannot be made, no table is shown."""
    if is_there:
        venv.create(tmp_path / "logfire", symlinks=os.name != "nt")

    done = measure("logfire", tmp_path)

    assert done.returncode == 1
    assert "could not be installed: logfire" in done.stderr
    assert done.stdout == ""


def test_what_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    """A folder of the user's that has the name of a plugin is not emptied to make an environment there."""
    kept = tmp_path / "logfire" / "notes.txt"
    kept.parent.mkdir()
    kept.touch()

    done = measure("logfire", tmp_path)

    assert done.returncode == 1
    assert f"{kept.parent}:\nit is there, and is no virtual environment" in done.stderr
    assert kept.exists()


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes overhead.py's rows of shares of the plain call, by subject, that are said to be added to each call."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    samples, subjects, table = map(importlib.import_module, ("_samples", "_subjects", "_overhead_rows"))

    def rows_of(**added: float) -> list[Any]:
        taken = samples.Samples(1)
        named = {name.replace("_", " ").replace("or ", "or_"): share for name, share in added.items()}
        for scenario in subjects.SCENARIOS:
            plain = 5.0 if scenario == "stream of 1,000" else 1.0
            for name, share in {"plain": 0.0, **named}.items():
                taken.add(name, scenario, 0, plain * (1 + share))
        judged: list[Any] = [row for row in table.rows_of_all(taken, ["plain", *named]) if row.target]
        return judged

    return rows_of


def test_what_is_larger_than_the_noise_has_a_verdict(rows: Any) -> None:
    """Each target is met, or not, where all that is compared with is more than a second plain process seems to add."""
    small = {"or_instrument_not_sampled": 0.0006, "or_instrument_content": 0.0015}

    good = rows(plain_again=-0.0001, recorder=0.0008, or_instrument=0.001, **small, logfire=0.5)
    bad = rows(plain_again=0.001, recorder=0.002, or_instrument=0.04, or_instrument_not_sampled=0.03,
               or_instrument_content=0.13, logfire=0.03)  # fmt: skip

    assert {(row.measure, row.met) for row in good} == {(row.measure, True) for row in good}
    assert {(row.measure, row.met) for row in bad} == {(row.measure, False) for row in good}


@pytest.mark.parametrize(("noise", "added"), [(-0.5, 0.4), (0.5, 0.4), (0.001, -0.4)], ids=["-", "+", "saved"])
def test_what_is_within_the_noise_has_no_verdict(rows: Any, noise: float, added: float) -> None:
    """Where a second plain process seems to add or save more, or a subject seems to save time, nothing is judged."""
    names = ("recorder", "or_instrument", "or_instrument_not_sampled", "or_instrument_content", "logfire")

    judged = rows(plain_again=noise, **dict.fromkeys(names, added))

    assert len(judged) == 19
    assert {(row.measure, row.met) for row in judged} == {(row.measure, None) for row in judged}
    assert all(row.target.endswith(" (within the noise)") for row in judged)


@pytest.mark.skipif(os.name == "nt", reason="the interpreter is a script of the shell")
def test_a_plugin_whose_environment_is_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a plugin's process ends before it is set up, the error says which environment to remove."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    peers = importlib.import_module("_peers")
    python = tmp_path / "logfire" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)

    with ExitStack() as stack, pytest.raises(SystemExit) as ended:
        peers.start_all(stack, tmp_path, {"logfire": ("_worker.py", "logfire")})

    assert "logfire could not be set up" in str(ended.value.code)
    assert f"remove {tmp_path / 'logfire'} and run the same again" in str(ended.value.code)


@pytest.mark.slow
@pytest.mark.parametrize("program", SMALLEST)
def test_a_benchmark_measures_what_it_says(tmp_path: Path, program: str) -> None:
    """Run with the smallest counts, a benchmark ends well, with its rows."""
    done = run(program, *SMALLEST[program], "--json", tmp_path / "told.json")

    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert MEASURED[program] <= {(row["subject"], row["measure"]) for row in rows}
    assert all(row["subject"].split()[0] in done.stdout for row in rows)


@pytest.mark.parametrize(
    ("program", "arguments", "told"),
    [
        ("overhead.py", ("--rounds", "0"), "argument --rounds: 0 is not 1 or more"),
        ("overhead.py", ("--only", ","), "no such subject: ,"),
        ("streams.py", ("--pause", "-1"), "argument --pause: -1 is not 0.0 or more"),
        ("startup.py", ("--json", "missing/told.json"), "argument --json: cannot be written"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(program: str, arguments: tuple[str, ...], told: str) -> None:
    """A count, a name or a file that is no good is refused while the arguments are read, as one that is unknown is."""
    done = run(program, *arguments)

    assert done.returncode == 2
    assert f"{program}: error: {told}" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a pipe that nobody reads has no error of its own there")
@pytest.mark.parametrize("busy", ["idle", "busy"])
def test_who_is_to_be_killed_ends_when_nobody_listens(tmp_path: Path, busy: str) -> None:
    """The process that the ledger's benchmark kills ends by itself when the benchmark is gone."""
    command = [sys.executable, BENCHMARKS / "ledger.py", "--victim", tmp_path / "ledger.db", busy]

    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout
        assert victim.stdout.readline() == b"1\n"
        victim.stdout.close()
        try:
            assert victim.wait(PATIENCE_S) == 0
        finally:
            victim.kill()


@pytest.mark.slow
def test_a_subject_of_the_memory_ends_with_who_started_it() -> None:
    """A process of the memory's benchmark ends in the middle of its work when the benchmark is gone."""
    command = [sys.executable, BENCHMARKS / "memory.py", "--subject", "plain", "--what", "process"]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as subject:
        assert subject.stdin
        subject.stdin.close()
        try:
            assert subject.wait(PATIENCE_S) == 1
        finally:
            subject.kill()


def test_throughput_is_compared_with_the_fastest_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is divided by that of the fastest plugin in the same round; one that records nothing is none."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    streams = importlib.import_module("streams")
    speeds = {"or_instrument": (90, 110, 60), "logfire": (100, 100, 20), "traceloop": (50,) * 3}
    taken = {name: [[speed, 0, 0, 5] for speed in each] for name, each in speeds.items()}
    taken["genai-openai"] = [[900, 0, 0, 0]] * 3

    (row,) = streams.peer_rows(taken)
    slow = streams.peer_rows({**taken, "traceloop": [[120, 0, 0, 5]] * 3})

    assert (row.measure, row.ratio, row.target) == ("chunks per second, of logfire's, the most", 1.1, "> every peer")
    assert (row.met, row.spread) == (True, "0.90-3.00")
    assert [row.met for row in slow] == [False]
    assert streams.peer_rows({"or_instrument": taken["or_instrument"]}) == []
