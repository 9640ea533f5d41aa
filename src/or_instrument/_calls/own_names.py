"""Which attribute names are ours: nothing that the code around a call says may look like what was recorded of it."""

from __future__ import annotations

from typing import Final

_BEGINNINGS: Final = (
    "gen_ai.embeddings.",
    "gen_ai.operation.",
    "gen_ai.provider.",
    "gen_ai.request.",
    "gen_ai.response.",
    "gen_ai.token.",
    "gen_ai.usage.",
    "openrouter.",
)
_NAMES: Final = frozenset(
    (
        "error.type",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.output.type",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "http.response.status_code",
        "server.address",
        "server.port",
    )
)


def is_ours(name: str) -> bool:
    """Return whether attributes of this name are written by us, not by `attributes(...)`.

    Others of the conventions are the user's, such as `gen_ai.agent.name`. So is `gen_ai.conversation.id`, for who sends
    no session to OpenRouter.
    """
    return name.startswith(_BEGINNINGS) or name in _NAMES
