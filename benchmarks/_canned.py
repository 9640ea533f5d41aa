"""OpenRouter's answers from memory: the real SDK over its real HTTP client, above a transport that opens no socket."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import openai
from openai import OpenAI

BASE_URL = "https://openrouter.ai/api/v1"
MODEL = "openai/gpt-4o-mini"
EMBEDDING_MODEL = "openai/text-embedding-3-small"
SHORT, LONG = 200, 1_000
LARGE = 10_000_000
_READ = 65_536
"""So much the HTTP libraries read from a socket at most."""

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


def http_library() -> Any:
    """Return the HTTP library that the installed OpenAI SDK is built on: httpx2 since 3.0, httpx before."""
    client_class = openai.DefaultHttpxClient.__mro__[1]
    return importlib.import_module(client_class.__module__.partition(".")[0])


_http = http_library()
# mypy finds no overload for either class in a `map`.
_view: Callable[[bytes], memoryview] = memoryview
_copy: Callable[[memoryview], bytes] = bytes


class Answer(NamedTuple):
    """A response's body, cut as it comes from the network: JSON by size, events one by one, as a model writes them."""

    content_type: str
    pieces: Sequence[bytes]


@cache
def answer(scenario: str) -> Answer:
    """Return what is answered in one of the scenarios."""
    if scenario == "embeddings":
        return _json(_embeddings([0.1, 0.2, 0.3, 0.4]))
    if scenario == "10 MB of vectors":
        # What the SDK asks for by itself is each vector's floats in base64.
        return _json(_embeddings(*[base64.b64encode(bytes(4 * 1536)).decode()] * (LARGE // 8192)))
    if scenario == "10 MB image":
        return _json(_chat(images=[{"type": "image_url", "image_url": {"url": "A" * LARGE}}]))
    if scenario == "stream of 1,000":
        return stream_of(LONG)
    return stream_of(SHORT) if scenario in {"stream of 200", "broken off"} else _json(_chat())


def own_answer(number: int) -> Answer:
    """Return an answer to a chat call whose id and text no other has."""
    return _json({**_chat(content=f"That makes {number}."), "id": f"gen-1790000000-{number:020}"})


def stream_of(chunks: int, text: str = " hello") -> Answer:
    """Return a chat stream of so many events, the last one with the usage, as OpenRouter sends it."""
    head = {**_HEAD, "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": text}
    word = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last = {**head, "choices": [{**_END, "delta": {"role": "assistant", "content": ""}}]}
    events = [*[_event(word)] * (chunks - 2), _event(last), _event({**last, "usage": _USAGE})]
    return Answer("text/event-stream", [*events, b"data: [DONE]\n\n"])


def _chat(**more: object) -> dict[str, object]:
    message = {"role": "assistant", "content": "Hello there! " * 8, "refusal": None, **more}
    return {**_HEAD, "object": "chat.completion", "choices": [{**_END, "message": message}], "usage": _USAGE}


def _embeddings(*vectors: object) -> dict[str, object]:
    return {
        "object": "list",
        "model": EMBEDDING_MODEL,
        "provider": "OpenAI",
        "data": [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)],
        "usage": {"prompt_tokens": 3, "total_tokens": 3, "cost": 6e-08, "is_byok": False},
    }


def _json(body: object) -> Answer:
    data = json.dumps(body).encode()
    return Answer("application/json", [data[start : start + _READ] for start in range(0, len(data), _READ)])


def _event(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


class _Body(_http.SyncByteStream):  # type: ignore[misc, name-defined]
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        # A new object each, as from a socket: who keeps one keeps its memory.
        return map(_copy, map(_view, self._pieces))


class Transport(_http.BaseTransport):  # type: ignore[misc, name-defined]
    """Stands where the HTTP client would open a connection, and gives one answer to every request."""

    def __init__(self) -> None:
        self.answer = answer("chat")

    def handle_request(self, request: Any) -> Any:  # noqa: ARG002 - all are answered alike
        """Answer."""
        content_type, pieces = self.answer
        return _http.Response(200, headers={"content-type": content_type}, stream=_Body(pieces))


def canned_client() -> tuple[OpenAI, Transport]:
    """Return a client of the installed SDK that believes it speaks to OpenRouter, and what answers it."""
    transport = Transport()
    # A proxy that the environment names would go before the transport.
    http = openai.DefaultHttpxClient(transport=transport, trust_env=False)
    return OpenAI(base_url=BASE_URL, api_key="sk-or-benchmark", http_client=http, max_retries=0), transport
