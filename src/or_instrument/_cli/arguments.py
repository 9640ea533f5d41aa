"""Reads single arguments of commands, and the key that some of them use."""

from __future__ import annotations

import argparse
import os
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import urlsplit

from or_instrument._errors import ConfigError

BASE_URL: Final = "https://openrouter.ai/api/v1"
KEY: Final = "OPENROUTER_API_KEY"


def percent(text: str) -> Decimal:
    """Return a percentage. Raises `argparse.ArgumentTypeError`."""
    try:
        number = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0")
    return number


def api_key() -> str:
    """Return the key of the environment, empty where there is none. Raises `ConfigError` where it cannot be sent."""
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{KEY} has a character that no HTTP header can carry; allowed: visible characters of ASCII, of which "
            "OpenRouter's keys are made. Copy the key once more"
        )
    return key


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


def shown(base_url: str) -> str:
    """Return a base URL as it may be printed, without a password, for a path to follow."""
    parts = urlsplit(base_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
