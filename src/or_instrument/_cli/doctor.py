"""`or-instrument doctor`: says what is installed, switched on and reachable, and how to mend what is not."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Final

from or_instrument._cli import doctor_checks, doctor_clients
from or_instrument._cli.doctor_finding import OK, PROBLEM, Finding

_LONGEST_S: Final = 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module of the application first, to see the providers that it sets",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long the OTLP endpoint may take (default 5)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: seconds, more than 0, {_LONGEST_S} at most")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 0, or 1 where one of them is a problem."""
    # What our own warnings say is among the findings.
    logging.getLogger("or_instrument").setLevel(logging.ERROR)
    findings = [*_imported(args.modules), *examine(args.timeout)]
    is_healthy = all(finding.level != PROBLEM for finding in findings)
    if args.json:
        print(json.dumps({"ok": is_healthy, "findings": [finding._asdict() for finding in findings]}, indent=2))
    else:
        print("\n".join(lines(findings)))
    return 0 if is_healthy else 1


def examine(timeout_s: float = 5.0) -> Iterator[Finding]:
    """Yield all findings."""
    return chain(
        doctor_checks.versions(),
        doctor_checks.switches(),
        doctor_checks.start_up(),
        doctor_clients.clients(),
        doctor_clients.hosts(),
        doctor_checks.greenlets(),
        doctor_checks.providers(),
        doctor_checks.distribution(),
        doctor_checks.endpoint(timeout_s),
    )


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the findings as text, each with what to do below it, and the sum of them."""
    for finding in findings:
        yield f"{finding.level:<8} {finding.subject}: {finding.found}"
        if finding.remedy:
            yield f"{'':8} -> {finding.remedy}"
    problems = sum(finding.level == PROBLEM for finding in findings)
    yield "no problem found" if not problems else f"{problems} problem{'s' if problems > 1 else ''} found"


def _imported(modules: Sequence[str]) -> Iterator[Finding]:
    if modules:
        sys.path.insert(0, str(Path.cwd()))  # where the application's server finds its modules too
    for module in modules:
        try:
            import_module(module)
        except Exception as exc:  # noqa: BLE001 - the application's module may raise anything
            yield Finding(PROBLEM, module, f"cannot be imported: {type(exc).__name__}: {exc}", "run it where it can")
        else:
            yield Finding(OK, module, "imported")
