"""The vocabulary: frozen records of what was asked, answered and paid, and the shape of a sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from or_instrument._amounts import add, exact
from or_instrument._field_docs import with_field_docs
from or_instrument._routing_records import Routing

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str]
"""What OpenTelemetry takes as the value of a span attribute."""

Outcome: TypeAlias = Literal["complete", "closed", "abandoned", "cancelled", "error"]
"""How a call ended. Only `error` is an error; `closed`, `abandoned` and `cancelled` are the user's choice."""

NOTHING: Mapping[str, AttributeValue] = {}
PENDING: Final = "pending"
"""The `missing` of a call whose cost is being looked up: one more `Call` follows, which `recovers` it."""


@with_field_docs
class Request(NamedTuple):
    """What was asked, without its content."""

    operation: str
    """`chat`, `text_completion`, `embeddings`, or the path's own word (`rerank`, `speech`, ...)."""
    provider: str
    """`openrouter`, or for other hosts the well-known provider name, else the host."""
    model: str | None
    """The model as asked for, variant suffix included."""
    host: str
    """The host that the call went to."""
    port: int
    """Its port."""
    stream: bool = False
    """Whether a stream was asked for."""
    parameters: Mapping[str, AttributeValue] = NOTHING
    """Sampling and routing parameters under their span attribute names (`gen_ai.request.temperature`, ...)."""
    attributes: Mapping[str, AttributeValue] = NOTHING
    """What `attributes(...)` had set when the call began."""
    trace_id: str | None = None
    """The `trace.trace_id` that the caller sent for OpenRouter's Broadcast."""
    prompt_cache_key: str | None = None
    """The `prompt_cache_key` that the caller sent; in no telemetry."""


@with_field_docs
class Usage(NamedTuple):
    """Tokens and money of one call. `None` is "not reported", never 0; amounts are USD as the service wrote them."""

    input_tokens: int | None = None
    """Tokens; cached ones included."""
    output_tokens: int | None = None
    """Tokens; those of reasoning included."""
    cache_read_tokens: int | None = None
    """Input tokens that were read from a prompt cache."""
    cache_creation_tokens: int | None = None
    """Input tokens that were written to a prompt cache."""
    reasoning_tokens: int | None = None
    """Output tokens that the model thought with."""
    cost: float | None = None
    """USD that OpenRouter charged to the account."""
    is_byok: bool | None = None
    """Whether the provider billed the inference to the user's own key."""
    upstream_cost: float | None = None
    """USD of the inference at the provider. Filled for other calls than BYOK too, where it is part of `cost`."""
    upstream_input_cost: float | None = None
    """USD, the input's part of `upstream_cost`."""
    upstream_output_cost: float | None = None
    """USD, the output's part of `upstream_cost`."""
    server_tool_cost: float | None = None
    """USD of the tools that OpenRouter ran, such as web search."""
    details: Mapping[str, int | float | str] = {}
    """What else was told, under its span attribute name: counts that are not 0 (tokens by modality, cache writes by
    lifetime, server tool calls, search units, seconds of audio), the tier and the speed that were billed."""
    source: str = "response"
    """`response`, `generation` (looked up afterwards) or `estimate`."""
    estimated_cost: float | None = None
    """USD at list prices, where nothing was reported and estimates are on. Never a part of `cost` or `spend`."""
    lower_bound: bool = False
    """Whether the provider may have billed more than `spend` tells: a stream on the user's own key was broken off, and
    only what was delivered is on file."""

    @property
    def spend(self) -> float | None:
        """What the call cost in USD, whoever billed it; `None` where a part of it is unknown.

        OpenRouter's charge, and for BYOK calls the provider's on top. Summing both for other calls would double the
        bill, because upstream is reported for those too.
        """
        if not self.is_byok or self.cost is None:
            return self.cost
        exact = self.spend_exact
        return None if exact is None else float(exact)

    @property
    def spend_exact(self) -> Decimal | None:
        """`spend`, added in decimal digits: 0.1 + 0.2 is 0.3."""
        if self.cost is None:
            return None
        if not self.is_byok:
            return exact(self.cost)
        return None if self.upstream_cost is None else add(exact(self.cost), exact(self.upstream_cost))


@with_field_docs
class Failure(NamedTuple):
    """Why a call failed: codes and names only, never a text of the service, which may quote the prompt."""

    type: str
    """OpenRouter's `error_type`, else its code or the HTTP status, else the exception's full class name."""
    code: str | None = None
    """The error's code, as the service wrote it."""
    error_type: str | None = None
    """OpenRouter's own word for it."""
    limit_source: str | None = None
    """Tells a transient 402 (`openrouter_in_flight_budget`) from an empty account (`openrouter_credits`)."""
    provider_name: str | None = None
    """The provider that failed."""
    retry_after: float | None = None
    """Seconds to wait, where the service said so."""
    status_code: int | None = None
    """The HTTP status."""


@with_field_docs
class Reply(NamedTuple):
    """What was answered, without its content."""

    id: str | None = None
    """The id in the body."""
    model: str | None = None
    """The model that answered."""
    provider: str | None = None
    """The provider that served it, as OpenRouter names it; Responses name it in their routing alone."""
    finish_reasons: tuple[str, ...] = ()
    """Why it ended, one a choice."""
    native_finish_reasons: tuple[str, ...] = ()
    """The same in the provider's words."""
    service_tier: str | None = None
    """The tier that served it."""
    usage: Usage | None = None
    """Tokens and money, `None` where the service reported none."""
    failure: Failure | None = None
    """Why it failed, `None` where it did not."""
    generation_id: str | None = None
    """The `X-Generation-Id` header."""
    cache_status: str | None = None
    """`HIT` or `MISS` of OpenRouter's response cache: the `X-OpenRouter-Cache-Status` header."""
    status_code: int | None = None
    """The HTTP status, `None` where no response came."""
    cache_age_s: float | None = None
    """Seconds, the age of an answer from OpenRouter's response cache: the `X-OpenRouter-Cache-Age` header."""
    cache_ttl_s: float | None = None
    """Seconds that the cache keeps it: the `X-OpenRouter-Cache-TTL` header."""
    routing: Routing | None = None
    """How OpenRouter routed the call: its `openrouter_metadata`, which has to be asked for."""


@with_field_docs
class Content(NamedTuple):
    """What one call said, in the words of the GenAI conventions; there only where it was asked for.

    Redacted and cut already. Media are named by URL or by type and size, without their bytes.
    """

    input_messages: tuple[Mapping[str, object], ...] = ()
    """The messages that were sent."""
    output_messages: tuple[Mapping[str, object], ...] = ()
    """The answers, one a choice."""
    system_instructions: tuple[Mapping[str, object], ...] = ()
    """The parts of the system prompt, where it was sent apart from the messages."""
    tool_definitions: tuple[Mapping[str, object], ...] = ()
    """The tools that the model could call."""


@with_field_docs
class Call(NamedTuple):
    """One call, finished: what every sink gets, exactly once."""

    id: int
    """Unique within the process."""
    request: Request
    """What was asked."""
    reply: Reply
    """What was answered."""
    outcome: Outcome
    """How it ended. Only `error` is an error."""
    started_ns: int
    """Wall clock, nanoseconds since the epoch."""
    duration_s: float
    """Seconds until the end of the body; of an abandoned stream until its last read."""
    time_to_first_chunk_s: float | None = None
    """Seconds; streams only."""
    missing: str | None = None
    """Why the spend is unknown, in one word; `None` where it is known. `pending`: it is being looked up."""
    context: object = None
    """The OpenTelemetry context that holds the call's span."""
    recovers: int | None = None
    """The id of the call that a look-up was made for; its times are those of the look-up.

    Where it found the cost, `reply.usage.source` is `generation`; where not, `missing` says why.
    """
    content: Content | None = None
    """What was asked and answered, where `instrument(content=...)` asks for it."""
    provider_switched: bool | None = None
    """Whether its session has gone to another provider and lost the prompt cache there; `None`: that is not known."""

    def __copy__(self) -> Call:
        """Return another one that is the same, with the span: `copy` would go by what pickle takes."""
        return self._replace()

    def __reduce__(self) -> tuple[type[Call], tuple[object, ...]]:
        """Return what pickle makes it again from: without the span, which cannot go to another process."""
        return type(self), tuple(self._replace(context=None))

    @property
    def usage(self) -> Usage | None:
        """The reply's usage object."""
        return self.reply.usage

    @property
    def failure(self) -> Failure | None:
        """The reply's failure."""
        return self.reply.failure

    @property
    def routing(self) -> Routing | None:
        """How OpenRouter routed the call, where it was asked to tell."""
        return self.reply.routing

    @property
    def generation_id(self) -> str | None:
        """The id under which OpenRouter has the call on file, `None` where it never became known."""
        if self.reply.generation_id is not None:
            return self.reply.generation_id
        return self.reply.id if self.reply.id is not None and self.reply.id.startswith("gen-") else None

    @property
    def spend(self) -> float | None:
        """USD, see `Usage.spend`."""
        return None if self.reply.usage is None else self.reply.usage.spend


Sink: TypeAlias = Callable[[Call], None]
"""Gets every finished call, in the thread that finished it: be quick, and raise nothing."""
