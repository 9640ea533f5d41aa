"""One received request and one exchange: the frozen records that bodies and streams are made from."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import parse_qs, urlsplit

from ._money import make_bill, price_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._answer import Answer, JsonObject
    from ._money import Bill, Prices

Kind = Literal[
    "chat",
    "responses",
    "messages",
    "completions",
    "embeddings",
    "rerank",
    "transcriptions",
    "speech",
    "images",
    "decisions",
    "batches",
    "videos",
]

ENDPOINTS: Final[Mapping[str, Kind]] = {
    "chat/completions": "chat",
    "responses": "responses",
    "messages": "messages",
    "completions": "completions",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "audio/transcriptions": "transcriptions",
    "audio/speech": "speech",
    "images": "images",
    "images/generations": "images",
    "systemone": "decisions",
    "decisions": "decisions",
    "batches": "batches",
    "videos": "videos",
}
JOBS: Final = frozenset({"batches", "videos"})
_ID_PREFIXES: Final = {
    "embeddings": "gen-emb-{}-",
    "rerank": "gen-rerank-{}-",
    "decisions": "gen-dec-{}-",
    "videos": "gen-vid-{}-",
    "batches": "batch_",
}


@dataclass(frozen=True)
class Received:
    """A request as it came in; header names are in lower case, `json` is `None` where the body is no JSON."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    json: object

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Received:
        """Make one from the parts of an HTTP request; `target` is a path or URL with its query."""
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        lower = {name.lower(): value for name, value in headers.items()}
        return cls(method, url.path, query, lower, body, _parsed(body))

    @property
    def fields(self) -> JsonObject | None:
        """The JSON object or the text fields of a form; `None` where the body is neither."""
        if isinstance(self.json, dict):
            return cast("JsonObject", self.json)
        if self.headers.get("content-type", "").startswith("multipart/form-data"):
            return dict(_FORM_FIELD.findall(self.body.decode("utf-8", "replace")))
        return None


_STREAMED = frozenset({"chat", "responses", "messages", "completions"})
_FORM_FIELD = re.compile(r'form-data; name="([^"]+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', re.DOTALL)


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


@dataclass(frozen=True)
class Exchange:
    """A request with the answer picked for it, its id, its time (Unix seconds) and what it is charged."""

    kind: Kind
    request: JsonObject
    answer: Answer
    id: str
    created: int
    bill: Bill

    @property
    def model(self) -> str:
        """The model that the body names."""
        return self.answer.model or asked_model(self.request).partition(":")[0]

    @property
    def streamed(self) -> bool:
        """Whether the reply is a stream of server-sent events."""
        wanted = self.kind in _STREAMED and self.request.get("stream") is True
        return wanted and not self.answer.refused

    @property
    def choices(self) -> int:
        """How many choices the reply has."""
        asked = self.request.get("n")
        return self.answer.n or (asked if isinstance(asked, int) and asked > 0 else 1)


def asked_model(request: JsonObject) -> str:
    """Return the model asked for: ``model``, else the first of ``models``."""
    models = request.get("models")
    first = models[0] if isinstance(models, list) and models else "openrouter/auto"
    return str(request.get("model") or first)


def make_exchange(kind: Kind, request: JsonObject, answer: Answer, prices: Prices, created: int) -> Exchange:
    """Return a new exchange; the id of a video is a generation id too, that of a batch is none."""
    asked = asked_model(request)
    made_id = _ID_PREFIXES.get(kind, "gen-{}-").format(created) + secrets.token_hex(10)
    price = price_of(prices, asked, answer.model or asked.partition(":")[0])
    return Exchange(kind, request, answer, made_id, created, make_bill(kind, request, answer, price))
