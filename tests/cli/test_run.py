"""`or-instrument run`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_install import CALL, environ, install, python, run, site_of
from otlp_receiver import http_receiver

from or_instrument import ConfigError
from or_instrument._cli import run as _run
from or_instrument.testing import FakeOpenRouter

RUN = ("-m", "or_instrument", "run")
REPORT = "import openai, sys; print('or_instrument' in sys.modules and sys.modules['or_instrument'].is_instrumented())"


def _parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    _run.add_arguments(parser)
    return parser.parse_args(arguments)


def test_a_command_is_recorded(tmp_path: Path, fake: FakeOpenRouter) -> None:
    """The command's calls arrive, with its own arguments and exit code."""
    (tmp_path / "app.py").write_text(CALL + "import sys\nask()\nsys.exit(int(sys.argv[1]))\n")
    with http_receiver() as receiver:
        env = environ(FAKE_URL=fake.base_url, OR_INSTRUMENT_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        run(*RUN, python(), "app.py", "7", env=env, cwd=tmp_path, code=7)
        assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_it_works_without_the_start_up_file(tmp_path: Path) -> None:
    """Whoever has removed the `.pth` file can still run a command this way, and its children are recorded too."""
    interpreter = install(tmp_path)
    (site_of(interpreter) / "or_instrument_startup.pth").unlink()
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {REPORT!r}], check=True)"
    command = [interpreter, *RUN, "--", interpreter, "-c", code]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_kill_switch_stays() -> None:
    """`OR_INSTRUMENT_ENABLED=false` in the environment wins."""
    assert run(*RUN, python(), "-c", REPORT, env=environ(OR_INSTRUMENT_ENABLED="false")).stdout == "False\n"


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_switch_is_unset(value: str) -> None:
    """So that the command is recorded."""
    assert _run.environment({"OR_INSTRUMENT_ENABLED": value})["OR_INSTRUMENT_ENABLED"] == "true"
    assert run(*RUN, python(), "-c", REPORT, env=environ(OR_INSTRUMENT_ENABLED=value)).stdout == "True\n"


def test_another_sitecustomize_still_runs(tmp_path: Path) -> None:
    """The sitecustomize that ours hides is run, and is the one that `import` gives."""
    (tmp_path / "sitecustomize.py").write_text("WHO = 'theirs'\n")
    code = "import sitecustomize; print(sitecustomize.WHO)"
    done = run(*RUN, python(), "-c", code, env=environ(PYTHONPATH=str(tmp_path)))
    assert (done.stdout, done.stderr) == ("theirs\n", "")


def test_no_other_sitecustomize_is_fine() -> None:
    """Where there is no other one, `import sitecustomize` gives ours and nothing is said."""
    done = run(*RUN, python(), "-c", "import sitecustomize; print(sitecustomize.__file__)", env=environ())
    assert "_site" in done.stdout
    assert done.stderr == ""


def test_an_interpreter_without_us_starts() -> None:
    """A Python that cannot import us starts all the same, with one line on stderr."""
    bare = getattr(sys, "_base_executable", sys.executable)
    done = run(*RUN, bare, "-c", "print('started')", env=environ())
    assert done.stdout == "started\n"
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("--",)])
def test_no_command_is_an_error(arguments: tuple[str, ...]) -> None:
    """The error shows how it is used."""
    with pytest.raises(ConfigError, match="no command was given; for example: or-instrument run python"):
        _run.run(_parsed(*arguments))


def test_an_unknown_command_is_an_error() -> None:
    """The error names it."""
    with pytest.raises(ConfigError, match="there is no command 'no-such-program'"):
        _run.run(_parsed("no-such-program"))


def test_the_environment_is_added_to() -> None:
    """What was on the path stays behind ours, and other variables are kept."""
    made = _run.environment({"PYTHONPATH": "/theirs", "HOME": "/home"})
    assert made["PYTHONPATH"].endswith(":/theirs")
    assert (made["HOME"], made["OR_INSTRUMENT_ENABLED"]) == ("/home", "true")
