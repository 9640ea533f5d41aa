"""Runs the command line: `python -m or_instrument`."""

from __future__ import annotations

import sys

from or_instrument._cli.main import main

sys.exit(main())
