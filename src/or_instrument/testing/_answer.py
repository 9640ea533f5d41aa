"""What the fake is told to answer: `Answer`, a frozen record of one scripted reply."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import threading

JsonObject = Mapping[str, object]
Amount = float | int | str
"""USD. A string is sent as a JSON string, to try a reader on it."""


class Unset(enum.Enum):
    """The type of `UNSET`, which tells "not said" from a deliberate `None`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
DEFAULT_CONTENT: Final = "Hello from the fake OpenRouter, which never sleeps."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One reply of the fake. Every field has a default: `Answer()` is a small successful reply.

    What is said here is served as said, even where the real service would not. Where an answer fails (an
    error, a finish reason of ``error``) and gives no `cost`, nothing is charged: OpenRouter's zero completion
    insurance. `error`, `choice_error` and `midstream_error` hold ``{"code", "message", "metadata"?}``.
    """

    # What is said.
    content: str = DEFAULT_CONTENT
    reasoning: str | None = None
    tool_calls: Sequence[tuple[str, str | JsonObject]] = ()
    """Pairs of function name and arguments (JSON text or an object). The default content is then left out."""
    n: int | None = None
    """Choices; default: the request's ``n``."""
    finish_reason: str | None = None
    """Default ``stop``, or ``tool_calls``. In Responses ``length`` and ``content_filter`` are incomplete."""
    native_finish_reason: str | None = None
    model: str | None = None
    """Default: the model asked for, without its variant suffix (``:nitro``)."""
    provider: str | None = "Fake Provider"
    """`None` leaves the key out."""
    service_tier: str | None = None
    extra: JsonObject = field(default_factory=dict)
    """More top-level keys of the body (of the last chunk in a stream), e.g. ``openrouter_metadata``."""

    # What it cost: tokens, USD.
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Amount | Unset | None = UNSET
    """Default: tokens times price, of which 5 % where `byok`. `None` is sent as null and charges nothing."""
    byok: bool | None = False
    """`None` leaves ``is_byok`` out."""
    upstream: Amount | Unset | None = UNSET
    """``upstream_inference_cost``; default: the list price where `byok`, else the same as the cost."""
    cost_details: Literal["chat", "responses"] | None = None
    """Which spelling ``cost_details`` has; default: the endpoint's own."""
    usage: object = UNSET
    """Any JSON, to replace the whole usage object; its ``cost`` is what is charged."""
    omit_usage: bool = False

    # How it fails, and what else is on the wire.
    status: int = 200
    error: JsonObject | None = None
    """Put into ``{"error": ...}``. With status 200: a body with an error and no choices."""
    choice_error: JsonObject | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """The raw body, instead of a made one."""
    json_body: object = UNSET
    """Any JSON, instead of the made body."""
    content_type: str | None = None
    delay_s: float = 0.0
    """Seconds before the answer begins."""
    gate: threading.Event | None = None
    """Waited for before the answer begins or, with `hold_after`, inside the stream."""

    # Streams. A chunk here is one that carries a delta: reasoning first, then content, then tool calls.
    chunks: int | Sequence[str] | None = None
    """In how many pieces the content comes, or the pieces; default: by words."""
    pause_s: float = 0.0
    """Seconds between chunks."""
    hold_after: int | None = None
    """After this many chunks the stream waits for `gate`."""
    comments: int = 0
    """``: OPENROUTER PROCESSING`` lines before the first chunk and between chunks."""
    usage_choices: bool = True
    """The usage chunk repeats the finish reason in an empty choice; `False`: ``choices`` is empty."""
    midstream_error: JsonObject | None = None
    """Sent after the chunks; carries the usage where `usage` or `cost` is given."""
    responses_error: Literal["response.failed", "response.error", "error"] = "response.failed"
    """Which event carries a `midstream_error` in a Responses stream."""
    error_finish_only: bool = False
    """The finish reason is ``error`` and there is no error object."""
    abort_after: int | None = None
    """The connection is dropped after this many chunks; a reply that is not streamed is never begun."""
    done: bool = True
    """Whether ``data: [DONE]`` ends the stream."""
    events: Sequence[object] | None = None
    """JSON payloads sent as they are, each a chunk, instead of made ones. A string is sent as it is."""

    @property
    def failed(self) -> bool:
        """Whether the caller gets no complete result, for which nothing is charged."""
        return self.refused or self.reason == "error"

    @property
    def refused(self) -> bool:
        """Whether the reply is an error from its first byte."""
        return self.status != HTTPStatus.OK or self.error is not None

    @property
    def reason(self) -> str:
        """The finish reason."""
        if self.error_finish_only or self.broken is not None:
            return "error"
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    @property
    def broken(self) -> JsonObject | None:
        """The error that ended a reply already begun."""
        return self.midstream_error if self.choice_error is None else self.choice_error

    @property
    def native_reason(self) -> str:
        """The provider's own finish reason."""
        return self.native_finish_reason or self.reason

    @property
    def pieces(self) -> list[str]:
        """The content as it is streamed."""
        if self.chunks is not None and not isinstance(self.chunks, int):
            return list(self.chunks)
        text = self.content
        if self.tool_calls and text == DEFAULT_CONTENT:
            return []
        if self.chunks is None:
            return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]]
        edges = [i * len(text) // max(self.chunks, 1) for i in range(self.chunks + 1)]
        return [text[start:end] for start, end in pairwise(edges)]

    @property
    def text(self) -> str | None:
        """The whole content; `None` where only tools are called."""
        if self.chunks is not None and not isinstance(self.chunks, int):
            return "".join(self.chunks)
        return None if self.tool_calls and self.content == DEFAULT_CONTENT else self.content


def arguments_text(arguments: str | JsonObject) -> str:
    """Return tool call arguments as JSON text."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
