"""The part of the vocabulary that tells how OpenRouter routed a call: frozen records."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from or_instrument._amounts import add, exact
from or_instrument._field_docs import with_field_docs


@with_field_docs
class Attempt(NamedTuple):
    """One provider that OpenRouter has tried for a call."""

    provider: str | None = None
    """Its name."""
    model: str | None = None
    """The model that it was asked for."""
    status: int | None = None
    """The HTTP status that it answered with."""


@with_field_docs
class Stage(NamedTuple):
    """What OpenRouter did besides inference: a plugin, a guardrail, server tools."""

    type: str | None = None
    """`plugin`, `guardrail`, `server_tools`, ..."""
    name: str | None = None
    """Its name, such as `web`."""
    cost_usd: float | None = None
    """USD, where it was charged for."""


@with_field_docs
class Routing(NamedTuple):
    """How OpenRouter routed a call, where it was asked to tell. `None` is "not told"."""

    requested: str | None = None
    """The model as OpenRouter understood it."""
    strategy: str | None = None
    """`direct`, `auto`, `fallback`, ..."""
    region: str | None = None
    """Where it was routed."""
    attempt: int | None = None
    """Which attempt answered, from 1; 0 where no provider was reached."""
    attempts: tuple[Attempt, ...] = ()
    """All of them, the first one first."""
    pipeline: tuple[Stage, ...] = ()
    """What was done besides inference."""
    provider: str | None = None
    """The provider that was selected."""
    is_byok: bool | None = None
    """Whether a key of the user's own was used."""
    generation_time_s: float | None = None
    """Seconds, from OpenRouter's own request to the end of the provider's answer."""

    @property
    def pipeline_cost(self) -> float | None:
        """USD charged for the stages of the pipeline; `None` where none told a cost."""
        costs = [exact(stage.cost_usd) for stage in self.pipeline if stage.cost_usd is not None]
        return float(reduce(add, costs)) if costs else None
