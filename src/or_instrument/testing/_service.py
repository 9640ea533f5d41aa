"""The service behind the fake: routes, state and money. Knows no sockets; any thread may call any method."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from . import errors
from ._account import generation_data, key_data, models_body
from ._answer import Answer, JsonObject
from ._bodies import bare_error
from ._exchange import Exchange, Kind, Received, asked_model
from ._money import Prices, make_bill, number, price_of
from ._reply import Reply, json_reply, make_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENDPOINTS: Final[Mapping[str, Kind]] = {
    "chat/completions": "chat",
    "responses": "responses",
    "completions": "completions",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "audio/transcriptions": "transcriptions",
    "audio/speech": "speech",
    "images": "images",
    "images/generations": "images",
}
_ID_PREFIXES: Final = {"embeddings": "gen-emb", "rerank": "gen-rerank"}


class Service:
    """One fake account: what was asked of it, what it answered, what it charged."""

    requests: list[Received]
    default: Answer
    generations: dict[str, dict[str, object]]
    charged_usd: Decimal
    byok_usd: Decimal
    lookup_404s: int
    management_key: bool
    key_limit_usd: float | None
    total_credits_usd: float

    def __init__(self, prices: Prices | None = None) -> None:
        """Take the price of each model."""
        self.prices: Prices = prices or {}
        self._changed = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Forget requests, scripts, charges, generations and settings."""
        with self._changed:
            self._scripted: deque[Answer] = deque()
            self.requests, self.default, self.generations = [], Answer(), {}
            self.charged_usd = self.byok_usd = Decimal(0)
            self.lookup_404s = 0
            self.management_key, self.key_limit_usd, self.total_credits_usd = False, None, 100.0
            self._changed.notify_all()

    @property
    def spend_usd(self) -> Decimal:
        """What the user pays in all: `charged_usd` and, for BYOK answers, the provider's own bills."""
        with self._changed:
            return self.charged_usd + self.byok_usd

    def script(self, *answers: Answer) -> None:
        """Give these answers, in order, to the next POSTs; those after them get `default`."""
        with self._changed:
            self._scripted.extend(answers)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Block until `condition()` holds; it is asked again at each request and each end of a stream.

        Raises:
            TimeoutError: It did not hold within `timeout_s` seconds.

        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(
                    f"the condition did not hold within {timeout_s} s; {len(self.requests)} requests came"
                )

    def reply(self, request: Received) -> Reply:
        """Record `request` and return what it gets."""
        with self._changed:
            self.requests.append(request)
            try:
                return self._route(request)
            finally:
                self._changed.notify_all()

    def mark_cancelled(self, generation_id: str) -> None:
        """Note in the generation that its client broke the stream off."""
        with self._changed:
            if generation_id in self.generations:
                self.generations[generation_id]["cancelled"] = True
            self._changed.notify_all()

    def _route(self, request: Received) -> Reply:
        path = request.path.partition("/v1/")[2]
        if request.method == "POST" and path in _ENDPOINTS:
            return self._post(_ENDPOINTS[path], request)
        if request.method != "GET":
            return _refusal(errors.not_found())
        if path == "generation":
            return self._generation(request.query.get("id", ""))
        if path == "credits" and not self.management_key:
            return _refusal(errors.management_only())
        account = {"key": self._key, "credits": self._credits, "models": self._models}
        return json_reply(200, account[path]()) if path in account else _refusal(errors.not_found())

    def _post(self, kind: Kind, request: Received) -> Reply:
        fields = request.fields
        if fields is None:
            return _refusal(errors.invalid_request("The body is neither a JSON object nor a form"))
        answer = self._scripted.popleft() if self._scripted else self.default
        exchange = self._exchange(kind, fields, answer)
        self.charged_usd += exchange.bill.cost
        self.byok_usd += exchange.bill.byok_cost
        if answer.status == HTTPStatus.OK:
            self.generations[exchange.id] = generation_data(exchange, request)
        return make_reply(exchange)

    def _exchange(self, kind: Kind, fields: JsonObject, answer: Answer) -> Exchange:
        created, asked = int(time.time()), asked_model(fields)
        generation_id = f"{_ID_PREFIXES.get(kind, 'gen')}-{created}-{secrets.token_hex(10)}"
        price = price_of(self.prices, asked, answer.model or asked.partition(":")[0])
        return Exchange(kind, fields, answer, generation_id, created, make_bill(kind, fields, answer, price))

    def _generation(self, generation_id: str) -> Reply:
        late, self.lookup_404s = self.lookup_404s > 0, max(self.lookup_404s - 1, 0)
        found = self.generations.get(generation_id)
        if late or found is None:
            return _refusal(errors.not_found(f"Generation {generation_id} not found"))
        return json_reply(200, {"data": found})

    def _key(self) -> dict[str, object]:
        limit, management = self.key_limit_usd, self.management_key
        data = key_data(self.charged_usd, self.byok_usd, limit_usd=limit, management=management)
        return {"data": data}

    def _credits(self) -> dict[str, object]:
        return {"data": {"total_credits": self.total_credits_usd, "total_usage": number(self.charged_usd)}}

    def _models(self) -> dict[str, object]:
        return models_body(self.prices)


def _refusal(answer: Answer) -> Reply:
    return json_reply(answer.status, bare_error(answer))
