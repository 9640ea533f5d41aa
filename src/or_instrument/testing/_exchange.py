"""One received request and one exchange: the frozen records that bodies and streams are made from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._answer import Answer, JsonObject
    from ._money import Bill

Kind = Literal["chat", "responses", "completions", "embeddings", "rerank", "transcriptions", "speech", "images"]


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


_STREAMED = frozenset({"chat", "responses", "completions"})
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
