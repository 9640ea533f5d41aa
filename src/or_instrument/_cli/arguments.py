"""Reads single arguments of commands."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import urlsplit

BASE_URL: Final = "https://openrouter.ai/api/v1"


def percent(text: str) -> Decimal:
    """Return a percentage. Raises `argparse.ArgumentTypeError`."""
    try:
        number = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0")
    return number


def url(text: str) -> str:
    """Return a URL as it is. Raises `argparse.ArgumentTypeError`."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_url = None
    if not is_url:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL such as {BASE_URL}")
    return text
