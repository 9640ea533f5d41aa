"""The three errors of ours that a user can meet."""

from __future__ import annotations

from decimal import Decimal


class ConfigError(ValueError):
    """An option has a value that is not allowed. Raised before anything is patched."""


class LookupFailed(Exception):  # noqa: N818 - the name is public
    """A look-up at OpenRouter gave no answer: says what was asked, how often, and the last answer."""

    def __init__(self, question: str, attempts: int, last_answer: str, hint: str = "") -> None:
        self.question: str = question
        self.attempts: int = attempts
        self.last_answer: str = last_answer
        times = "once" if attempts == 1 else f"{attempts} times"
        super().__init__(f"{question} was asked {times}; the last answer was {last_answer}.{hint and f' {hint}'}")
        self._hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle makes it again from, as pools of processes do."""
        return type(self), (self.question, self.attempts, self.last_answer, self._hint), self.__dict__


class BudgetExceeded(Exception):  # noqa: N818 - the name is public
    """The call was not sent: its `track(..., limit_usd=...)` scope had spent its limit.

    `spent_usd` and `limit_usd` are exact amounts in USD.
    """

    def __init__(self, name: str, spent_usd: Decimal, limit_usd: Decimal) -> None:
        self.name: str = name
        self.spent_usd: Decimal = spent_usd
        self.limit_usd: Decimal = limit_usd
        scope = f"track({name!r})" if name else "this track() scope"
        super().__init__(
            f"{scope} has spent {spent_usd} USD of its limit of {limit_usd} USD; the call was not sent. "
            "Raise limit_usd or leave the scope to go on."
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle makes it again from, as pools of processes do."""
        return type(self), (self.name, self.spent_usd, self.limit_usd), self.__dict__
