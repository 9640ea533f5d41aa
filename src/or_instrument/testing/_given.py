"""Refuses what the fake cannot be given, where it is given: the client that is answered would only see an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from ._answer import Answer
from ._money import Prices, exact

_PAIR: Final = 2


def checked_answers(answers: Sequence[object]) -> Sequence[Answer]:
    """Return the answers. Raises `TypeError` where one is none."""
    for answer in answers:
        if not isinstance(answer, Answer):
            raise TypeError(
                f"script() got a {type(answer).__name__}; allowed: Answers, each an argument of its own, such as "
                "script(Answer(), Answer()) or, of a list, script(*answers)"
            )
    return cast("Sequence[Answer]", answers)


def checked_clock(now: object) -> Callable[[], float]:
    """Return the clock. Raises `TypeError` where it is no function."""
    if not callable(now):
        raise TypeError(
            f"now is {now!r}; allowed: a function that returns Unix seconds, such as time.time or lambda: 1795000000"
        )
    return now


def checked_prices(prices: object) -> Prices:
    """Return the prices, none for `None`. Raises `TypeError` or `ValueError` where they are none."""
    if prices is None:
        return {}
    if not isinstance(prices, Mapping):
        raise TypeError(f"prices is {prices!r}; allowed: a mapping from model to {_PRICE}, or None")
    for model, price in prices.items():
        if not isinstance(model, str) or not _is_price(price):
            raise ValueError(f"prices has {model!r}: {price!r}; allowed: a mapping from model to {_PRICE}")
    return cast("Prices", prices)


def _is_price(price: object) -> bool:
    return isinstance(price, tuple | list) and len(price) == _PAIR and all(exact(usd) is not None for usd in price)


_PRICE: Final = "USD per prompt and per completion token, such as ('0.0000025', '0.00001')"
