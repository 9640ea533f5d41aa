"""The instrumentor that OpenTelemetry's zero-code way loads: `opentelemetry-instrument python app.py`.

It has the methods of `opentelemetry.instrumentation.instrumentor.BaseInstrumentor` without being one, since that
package is not needed otherwise; the loader only calls them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final

from or_instrument._clients.openai_sdk import SUPPORTED
from or_instrument._instrument import instrument, is_instrumented, uninstrument

_log = logging.getLogger("or_instrument")
_NOT_OURS: Final = frozenset(("skip_dep_check", "raise_exception_on_conflict"))


class OpenRouterInstrumentor:
    """Switches recording on and off; every instance stands for the same one instrumentation."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the requirement that the instrumented library must meet."""
        return (SUPPORTED,)

    def instrument(self, **kwargs: Any) -> None:
        """Instrument with the options of `or_instrument.instrument`; the rest comes from the environment.

        Raises nothing: the loader takes an exception as the end of all further instrumentations.
        """
        options: Mapping[str, Any] = {key: value for key, value in kwargs.items() if key not in _NOT_OURS}
        try:
            instrument(**options)
        except Exception as exc:  # noqa: BLE001 - see above
            _log.error("OpenRouterInstrumentor: not instrumented: %s", exc)

    def uninstrument(self, **_kwargs: Any) -> None:
        """Take everything of ours off the SDK."""
        uninstrument()

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Whether recording is on."""
        return is_instrumented()
