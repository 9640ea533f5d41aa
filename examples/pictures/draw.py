"""Draws the README's pictures from what the commands really print.

python examples/pictures/draw.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from openai import OpenAI
from rich.console import Console
from rich.text import Text

import or_instrument
from or_instrument.testing import Answer, FakeOpenRouter

HERE = Path(__file__).parent
WORK = {
    "monday": [("search", "openai/gpt-5-mini", "0.0021"), ("search", "openai/gpt-5-mini", "0.0018")],
    "tuesday": [("summary", "anthropic/claude-sonnet-4.5", "0.0315"), ("search", "google/gemini-2.5-flash", "0.0007")],
}


def draw(name: str, *arguments: str) -> None:
    """Run a command and draw what it prints."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "or_instrument", *arguments]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=120, file=nowhere)
        console.print(Text.from_ansi(printed.strip("\n")))
    shown = " ".join(Path(argument).name for argument in arguments)
    console.save_svg(str(HERE / f"{name}.svg"), title=f"or-instrument {shown}")


def export(folder: Path) -> list[str]:
    """Track some work of two days, and return the files it was exported to."""
    files = []
    with FakeOpenRouter() as fake, OpenAI(base_url=fake.base_url, api_key="sk-or-picture") as client:
        for day, calls in WORK.items():
            with or_instrument.track(day) as cost:
                for feature, model, usd in calls:
                    fake.script(Answer(cost=usd))
                    with or_instrument.attributes(feature=feature):
                        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
            files.append(str(folder / f"{day}.json"))
            cost.export_json(files[-1])
    return files


def main() -> None:
    """Draw both pictures."""
    or_instrument.instrument(hosts=["127.0.0.1"])
    draw("demo", "demo")
    with tempfile.TemporaryDirectory() as folder:
        draw("cost", "cost", "--by", "model", "--by", "feature", *export(Path(folder)))


if __name__ == "__main__":
    main()
