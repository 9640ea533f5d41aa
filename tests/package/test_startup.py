"""The start-up hook of the installed wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import fresh_install
import pytest
from fresh_install import CALL, ROOT, environ, python, run
from otlp_receiver import Received

from or_instrument.testing import FakeOpenRouter

OURS = "[name for name in sys.modules if name.startswith(('or_instrument', '_or_inst', 'opentelemetry', 'wrapt'))]"
IS_ON = "import sys, openai; print('or_instrument' in sys.modules and sys.modules['or_instrument'].is_instrumented())"


@pytest.mark.parametrize("variables", [{}, {"OR_INSTRUMENT_ENABLED": ""}, {"OR_INSTRUMENT_ENABLED": " "}], ids=str)
def test_unset_nothing_is_imported(variables: dict[str, str]) -> None:
    """Without the variable, or with an empty one, the interpreter starts as if we were not there."""
    done = run("-c", f"import sys; print({OURS}, sys.meta_path[0])", env=environ(**variables))
    assert done.stdout.startswith("[] ")


def test_set_only_the_hook_is_imported() -> None:
    """With the variable a process that never imports openai imports one small module."""
    done = run("-c", f"import sys; print({OURS})", env=environ(OR_INSTRUMENT_ENABLED="true"))
    assert done.stdout == "['_or_instrument_startup']\n"


@pytest.mark.parametrize(("value", "is_on"), [("true", True), ("1", True), ("ON", True), ("false", False), ("", False)])
def test_the_variable_decides(value: str, is_on: bool) -> None:
    """`import openai` switches recording on where the variable is true."""
    assert run("-c", IS_ON, env=environ(OR_INSTRUMENT_ENABLED=value)).stdout == f"{is_on}\n"


def test_a_wrong_value_is_one_warning() -> None:
    """A value that means nothing is told once, and changes nothing."""
    done = run("-c", IS_ON, env=environ(OR_INSTRUMENT_ENABLED="ture"))
    assert done.stdout == "False\n"
    assert done.stderr.count("\n") == 1
    assert "OR_INSTRUMENT_ENABLED='ture' is not allowed (allowed: true or false)" in done.stderr


def test_false_stops_instrument_in_code() -> None:
    """`false` is the kill switch of `instrument()` in the code."""
    code = "import or_instrument; or_instrument.instrument(); print(or_instrument.is_instrumented())"
    assert run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="false")).stdout == "False\n"


@pytest.mark.parametrize("way", ["file", "-m", "-c"])
def test_a_program_is_recorded_without_a_change(
    way: str, tmp_path: Path, fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]
) -> None:
    """A program that knows nothing of us sends its cost to the receiver, however it is run."""
    (tmp_path / "app.py").write_text(CALL + "ask()\nlist(ask(stream=True))\n")
    arguments = {"file": ("app.py",), "-m": ("-m", "app"), "-c": ("-c", "import app")}[way]
    run(*arguments, env=switched_on, cwd=tmp_path)
    assert len(receiver.spans()) == 2
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


@pytest.mark.slow
def test_pytest_is_recorded(
    tmp_path: Path, fake: FakeOpenRouter, receiver: Received, switched_on: dict[str, str]
) -> None:
    """A test run of the user's is recorded like any other process."""
    (tmp_path / "test_app.py").write_text(CALL + "def test_it():\n    ask()\n")
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_app.py", env=switched_on, cwd=tmp_path)
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))


def test_the_code_has_the_last_word() -> None:
    """`instrument()` in the code takes the place of what the variable has set up."""
    code = """
import openai, or_instrument
calls = []
or_instrument.instrument(hosts="127.0.0.1", sinks=[calls.append])
from or_instrument.testing import FakeOpenRouter
with FakeOpenRouter() as fake:
    client = openai.OpenAI(api_key="k", base_url=fake.base_url)
    client.chat.completions.create(model="a/b", messages=[{"role": "user", "content": "hi"}])
print(len(calls))
"""
    done = run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="true"))
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_the_variable_does_not_undo_the_code() -> None:
    """`instrument()` before `import openai` keeps its options."""
    code = """
import or_instrument
or_instrument.instrument(spans="off")
import openai
or_instrument.instrument(spans="off")
"""
    assert run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="true")).stderr == ""


@pytest.mark.parametrize("broken", ["", "raise OSError('no\\nluck')", "def register(:"])
def test_a_broken_hook_is_one_line(tmp_path: Path, broken: str) -> None:
    """Where the hook is damaged the interpreter starts all the same, and says so in one line."""
    interpreter = fresh_install.install(tmp_path)
    (fresh_install.site_of(interpreter) / "_or_instrument_startup.py").write_text(broken)
    command = [interpreter, "-c", "print('started')"]
    done = subprocess.run(
        command, env=environ(OR_INSTRUMENT_ENABLED="true"), capture_output=True, text=True, check=True
    )
    assert done.stdout == "started\n"
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("or_instrument: start-up failed, no call is recorded: ")


def test_a_broken_package_is_one_line(tmp_path: Path) -> None:
    """Where the package cannot be imported the application still has openai, and one line on stderr."""
    interpreter = fresh_install.install(tmp_path)
    (fresh_install.site_of(interpreter) / "or_instrument" / "_calls" / "shield.py").write_text("1 / 0")
    command = [interpreter, "-c", "import openai; print(openai.OpenAI.__name__)"]
    done = subprocess.run(
        command, env=environ(OR_INSTRUMENT_ENABLED="true"), capture_output=True, text=True, check=True
    )
    assert done.stdout == "OpenAI\n"
    assert done.stderr == "or_instrument: not switched on, no call is recorded: ZeroDivisionError: division by zero\n"


def test_an_editable_install_has_the_hook(tmp_path: Path) -> None:
    """An editable install brings the hook too."""
    pytest.importorskip("hatchling")
    pytest.importorskip("editables", reason="hatchling needs it for editable installs")
    command = f"from hatchling.build import build_editable; print(build_editable({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        assert {"or_instrument_startup.pth", "_or_instrument_startup.py"} <= set(archive.namelist())


def test_the_hook_waits_once() -> None:
    """However often it is asked to wait, the hook is one finder, and it is gone when it has done its work."""
    code = """
import sys, _or_instrument_startup as hook
hook.register()
print(sum(isinstance(finder, hook._Waiting) for finder in sys.meta_path))
import openai
print(sum(isinstance(finder, hook._Waiting) for finder in sys.meta_path))
"""
    assert run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="true")).stdout == "1\n0\n"


def test_looking_for_openai_switches_nothing_on() -> None:
    """Whoever asks whether openai is installed, and imports it not, does not start us."""
    code = f"import sys, importlib.util; importlib.util.find_spec('openai'); print({OURS})"
    assert run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="true")).stdout == "['_or_instrument_startup']\n"


@pytest.mark.parametrize("library", ["httpx2", "requests"])
def test_other_clients_switch_it_on(library: str, fake: FakeOpenRouter, receiver: Received) -> None:
    """A program that calls by another library is recorded without a change, also where our exporter needs that one."""
    code = f"""
import os, {library}
url = os.environ["FAKE_URL"] + "/chat/completions"
{library}.post(url, json={{"model": "a/model", "messages": []}}, timeout=60).raise_for_status()
"""
    env = environ(
        OR_INSTRUMENT_ENABLED="true",
        OR_INSTRUMENT_HOSTS="127.0.0.1",
        OR_INSTRUMENT_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        FAKE_URL=fake.base_url,
    )
    assert run("-c", code, env=env).stderr == ""
    assert receiver.total("gen_ai.usage.cost") == pytest.approx(float(fake.charged_usd))
    assert fake.charged_usd > 0


def test_looking_for_a_library_switches_nothing_on() -> None:
    """Whoever asks whether requests is installed, and imports it not, does not start us; a later import does."""
    code = f"""
import sys, importlib.util
importlib.util.find_spec("requests")
print({OURS})
import requests
print("or_instrument" in sys.modules and sys.modules["or_instrument"].is_instrumented())
"""
    done = run("-c", code, env=environ(OR_INSTRUMENT_ENABLED="true"))
    assert done.stdout == "['_or_instrument_startup']\nTrue\n"


def test_the_wheel_is_run_by_the_fresh_interpreter() -> None:
    """The tests above hold the wheel, not the source tree."""
    found = run("-c", "import or_instrument; print(or_instrument.__file__)", env=environ()).stdout
    assert str(python().parent.parent) in found
