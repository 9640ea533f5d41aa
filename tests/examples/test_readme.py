"""The README's snippets and commands, run as they stand against the fake service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from or_instrument import _settings
from or_instrument.testing import FakeOpenRouter

README = Path(__file__).parent.parent.parent / "README.md"
SERVICE = "https://openrouter.ai/api/v1"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


APPLICATION = """
from openai import OpenAI

OpenAI().chat.completions.create(model="openai/gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
"""


class Block(NamedTuple):
    """A fenced block of the README."""

    language: str
    text: str
    line: int


def _blocks() -> list[Block]:
    text = README.read_text(encoding="utf-8")
    return [Block(found[1], found[2], text[: found.start()].count("\n") + 2) for found in FENCE.finditer(text)]


BLOCKS = _blocks()
# The two commands for a newcomer make a virtual environment and run these very tests in it: `.ci/run` executes them.
COMMANDS = [block for block in BLOCKS if block.language == "sh"][2:]


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


def _line(block: Block) -> str:
    return f"line {block.line}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=_line)
def test_a_python_snippet_runs(block: Block, fake: FakeOpenRouter, tmp_path: Path) -> None:
    """A Python snippet of the README runs as it stands, without a word on stderr, and makes the calls it shows."""
    script = tmp_path / "snippet.py"
    script.write_text(block.text.replace(SERVICE, fake.base_url), encoding="utf-8")

    ran = _run([sys.executable, str(script)], fake, tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    calls_the_service = ".create(" in block.text and "FakeOpenRouter" not in block.text
    assert bool(fake.requests) == calls_the_service


@pytest.mark.parametrize("block", COMMANDS, ids=_line)
def test_a_command_runs(block: Block, fake: FakeOpenRouter, tmp_path: Path) -> None:
    """A shell command of the README succeeds; where it runs an application, that is recorded."""
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")

    ran = _run(["bash", "-euc", block.text], fake, tmp_path)

    assert ran.returncode == 0, ran.stderr
    (request,) = fake.requests
    assert isinstance(request.json, dict)
    assert request.json["usage"] == {"include": True}


@pytest.mark.parametrize("option", sorted(_settings._OPTIONS))
def test_an_option_is_documented(option: str) -> None:
    """Every option is in the README by its variable, and by its keyword where it has one."""
    text = README.read_text(encoding="utf-8")

    assert f"`{_settings._OPTIONS[option].variable}`" in text
    assert option == "cost_aliases" or f"| `{option}` |" in text


def test_every_block_says_what_it_is() -> None:
    """No block escapes these tests for want of a language."""
    fences = README.read_text(encoding="utf-8").count("\n```")

    assert fences == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= {"python", "sh", "text", "yaml", "promql"}
