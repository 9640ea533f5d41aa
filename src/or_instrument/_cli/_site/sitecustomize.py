"""Run at interpreter start under `or-instrument run`: starts the waiting, then runs the sitecustomize hidden by it."""

import os
import sys


def _start() -> None:
    try:
        from _or_instrument_startup import register  # noqa: PLC0415 - a failure is told in one line

        register()
    except Exception as exc:  # noqa: BLE001 - the interpreter must start
        told = " ".join(repr(exc).split())
        sys.stderr.write(f"or_instrument: start-up failed, no call is recorded: {told}\n")


def _run_hidden() -> None:
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes long to import
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401, PLC0415 - the other one
    except ModuleNotFoundError as exc:
        if exc.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)


if os.environ.get("OR_INSTRUMENT_ENABLED", "").strip() and "_or_instrument_startup" not in sys.modules:
    _start()
_run_hidden()
