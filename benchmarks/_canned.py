"""OpenRouter's answers from memory: the SDK's real client over an HTTP client that opens no socket."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import openai
from openai import OpenAI, Stream
from openai._base_client import SyncAPIClient
from openai._models import FinalRequestOptions
from openai.types.chat import ChatCompletionChunk

if TYPE_CHECKING:
    import httpx

BASE_URL = "https://openrouter.ai/api/v1"
MODEL = "openai/gpt-4o-mini"
EMBEDDING_MODEL = "openai/text-embedding-3-small"

# The usage of the sample in OpenRouter's documentation, for a model that has no price of its own for cache writes.
_USAGE = {
    "prompt_tokens": 194,
    "completion_tokens": 25,
    "total_tokens": 219,
    "cost": 0.0012,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "cost_details": {"upstream_inference_cost": 0.0012},
    "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 0},
}
_HEAD = {
    "id": "gen-1790000000-abcdefghijklmnopqrst",
    "model": MODEL,
    "provider": "OpenAI",
    "created": 1790000000,
}
_END = {"finish_reason": "stop", "native_finish_reason": "stop", "index": 0}
_CHAT = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [{**_END, "message": {"role": "assistant", "content": "Hello there! " * 8, "refusal": None}}],
    "usage": _USAGE,
}
_EMBEDDING = {
    "object": "list",
    "model": EMBEDDING_MODEL,
    "provider": "OpenAI",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3, 0.4]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3, "cost": 6e-08, "is_byok": False},
}


def http_library() -> Any:
    """Return the HTTP library that the installed OpenAI SDK is built on: httpx2 since 3.0, httpx before."""
    client_class = openai.DefaultHttpxClient.__mro__[1]
    return importlib.import_module(client_class.__module__.partition(".")[0])


def stream_body(chunks: int) -> bytes:
    """Return a chat stream of `chunks` events, the last one with the usage, as OpenRouter sends it."""
    head = {**_HEAD, "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": " hello"}
    text = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last = {**head, "choices": [{**_END, "delta": {"role": "assistant", "content": ""}}]}
    text_event, last_event, usage_event = map(_event, (text, last, {**last, "usage": _USAGE}))
    return text_event * (chunks - 2) + last_event + usage_event + b"data: [DONE]\n\n"


def _event(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


class Canned:
    """The `send` of an HTTP client that never sends.

    `chunks` is how long the next stream will be; with `trickles`, its events come one at a time, as a model writes
    them, else 16 KiB at a time. With `short_cut`, the SDK's own `request` does nothing at all, so that what lies around
    it can be timed to the nanosecond.
    """

    def __init__(self) -> None:
        self.chunks = 200
        self.trickles = False
        self.short_cut = False
        self._response = http_library().Response
        self._chat = json.dumps(_CHAT).encode()
        self._embedding = json.dumps(_EMBEDDING).encode()
        self._bodies: dict[int, bytes] = {}
        self._decoded: dict[int, list[list[ChatCompletionChunk]]] = {}
        """The chunks of a stream by its length, and by the read that completes them."""

    def send(self, request: httpx.Request, *, stream: bool = False, **_: object) -> httpx.Response:
        """Answer as OpenRouter would; a body that is not streamed has been read, as the real client does."""
        if stream:
            return self._stream(request)
        body = self._embedding if request.url.path.endswith("/embeddings") else self._chat
        headers = {"content-type": "application/json"}
        response: httpx.Response = self._response(200, headers=headers, content=body, request=request)
        return response

    def _stream(self, request: httpx.Request) -> httpx.Response:
        body = self._bodies.get(self.chunks)
        if body is None:
            body = self._bodies[self.chunks] = stream_body(self.chunks)
        headers = {"content-type": "text/event-stream"}
        response: httpx.Response = self._response(
            200, headers=headers, content=_pieces(body, self.trickles), request=request
        )
        response.extensions["decoded"] = self._decoded.get(self.chunks)
        return response

    def decode_beforehand(self, client: OpenAI, *lengths: int) -> None:
        """Let streams of these lengths yield chunks that were decoded once, here, before anything is measured.

        Decoding a chunk costs the SDK some hundred times what is measured; it is the same for every subject. The bytes
        are read all the same, as a plugin may look at them.
        """
        for self.chunks in lengths:
            chunks = client.chat.completions.create(messages=[], model=MODEL, stream=True)
            pieces = _pieces(stream_body(self.chunks))
            self._decoded[self.chunks] = [list(islice(chunks, piece.count(b"}\n\n"))) for piece in pieces]
        setattr(Stream, "__stream__", _decoded)  # noqa: B010

    def allow_short_cut(self) -> None:
        """Put the short cut beneath whatever will be patched on the SDK's client."""
        request = SyncAPIClient.request

        @functools.wraps(request)
        def shortened(client: SyncAPIClient, *args: Any, **kwargs: Any) -> Any:
            return None if self.short_cut else request(client, *args, **kwargs)

        setattr(SyncAPIClient, "request", shortened)  # noqa: B010


def _pieces(body: bytes, trickles: bool = False) -> Iterator[bytes]:
    if trickles:
        yield from (event + b"\n\n" for event in body.split(b"\n\n") if event)
        return
    for start in range(0, len(body), 16_384):
        yield body[start : start + 16_384]


def _decoded(stream: Stream[ChatCompletionChunk]) -> Iterator[ChatCompletionChunk]:
    try:
        for _, chunks in zip(stream.response.iter_bytes(), stream.response.extensions["decoded"], strict=True):
            yield from chunks
    finally:
        stream.response.close()


def canned_client() -> tuple[OpenAI, Canned]:
    """Return a client of the installed SDK that believes it speaks to OpenRouter, and what answers it."""
    canned = Canned()
    http = http_library().Client()
    http.send = canned.send
    return OpenAI(base_url=BASE_URL, api_key="sk-or-benchmark", http_client=http, max_retries=0), canned


def build_beforehand(client: OpenAI) -> None:
    """Let the SDK hand out requests that it built once: building one costs more than recording one, for everybody."""
    build = client._build_request  # noqa: SLF001 - where the SDK's work begins that is the same for all
    built: dict[str, Any] = {}

    def prebuilt(options: FinalRequestOptions, **_: object) -> Any:
        if options.url not in built:
            built[options.url] = build(options)
        return built[options.url]

    vars(client)["_build_request"] = prebuilt
