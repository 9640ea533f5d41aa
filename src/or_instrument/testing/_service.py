"""The service behind the fake: routes, state and money. Knows no sockets; any thread may call any method."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from . import errors
from ._account import generation_data, key_data, models_body
from ._answer import Answer, JsonObject
from ._books import Charge, KeyBook, activity_rows, key_of, utc_day
from ._exchange import ENDPOINTS, JOBS, Exchange, Kind, Received, asked_model, make_exchange
from ._given import checked_answers, checked_clock, checked_prices
from ._jobs import Job, job_list, job_object
from ._money import Prices, number
from ._reply import Reply, breakdown, json_reply, make_reply, refusal
from ._routing import with_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

_ROOT: Final = re.compile(r"^.*?/(?:v1|alpha|beta)/")


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
    key_budgets: Sequence[JsonObject]
    total_credits_usd: float
    job_polls: int

    def __init__(self, prices: Prices | None = None) -> None:
        """Take the price of each model. Raises `TypeError` or `ValueError` where they are no prices."""
        self.prices: Prices = checked_prices(prices)
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
            self.key_budgets, self.job_polls, self.now = (), 1, time.time
            self._charges: list[Charge] = []
            self._jobs: dict[str, Job] = {}
            self._changed.notify_all()

    @property
    def now(self) -> Callable[[], float]:
        """The clock of the account: a function that returns Unix seconds."""
        return self._now

    @now.setter
    def now(self, now: Callable[[], float]) -> None:
        self._now = checked_clock(now)

    @property
    def spend_usd(self) -> Decimal:
        """What the user pays in all: `charged_usd` and, for BYOK answers, the provider's own bills."""
        with self._changed:
            return self.charged_usd + self.byok_usd

    def charged_to(self, key: str) -> Decimal:
        """Return what calls with this API key were charged, in USD."""
        with self._changed:
            return self._book(key).charged()

    def spent_by(self, key: str) -> Decimal:
        """Return `charged_to` and, for BYOK answers, the provider's own bills, in USD."""
        with self._changed:
            return self._book(key).charged() + self._book(key).byok()

    def script(self, *answers: Answer) -> None:
        """Give these answers, in order, to the next POSTs; those after them get `default`.

        Raises:
            TypeError: One is no `Answer`, such as a list of them.

        """
        checked = checked_answers(answers)
        with self._changed:
            self._scripted.extend(checked)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
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
        """Record `request` and return what it gets: where answering fails, an HTTP 500 that says why."""
        with self._changed:
            self.requests.append(request)
            try:
                return self._route(request)
            except Exception as error:  # noqa: BLE001 - whoever tests would only see that the connection broke
                return breakdown(error)
            finally:
                self._changed.notify_all()

    def mark_cancelled(self, generation_id: str) -> None:
        """Note in the generation that its client broke the stream off."""
        with self._changed:
            if generation_id in self.generations:
                self.generations[generation_id]["cancelled"] = True
            self._changed.notify_all()

    def _route(self, request: Received) -> Reply:
        path, found = _ROOT.subn("", request.path)
        if not found or request.method not in ("GET", "POST"):
            return refusal(errors.not_found())
        if request.method == "POST":
            return self._post(ENDPOINTS[path], request) if path in ENDPOINTS else refusal(errors.not_found())
        if path.partition("/")[0] in JOBS:
            return self._job(*path.split("/"))
        if path == "generation":
            return self._generation(request.query.get("id", ""))
        if path in ("credits", "activity") and not self.management_key:
            return refusal(errors.management_only())
        account: dict[str, Callable[[], object]] = {
            "key": lambda: {"data": key_data(self._book(key_of(request)), management=self.management_key)},
            "credits": lambda: {
                "data": {"total_credits": self.total_credits_usd, "total_usage": number(self.charged_usd)}
            },
            "activity": lambda: {"data": activity_rows(self._charges, request.query, self._today())},
            "models": lambda: models_body(self.prices),
        }
        return json_reply(200, account[path]()) if path in account else refusal(errors.not_found())

    def _post(self, kind: Kind, request: Received) -> Reply:
        fields = request.fields
        if fields is None:
            return refusal(errors.invalid_request("The body is neither a JSON object nor a form"))
        answer = self._scripted.popleft() if self._scripted else self.default
        answer = with_metadata(kind, asked_model(fields), request.headers, answer)
        exchange = make_exchange(kind, fields, answer, self.prices, int(self.now()))
        if kind in JOBS and not answer.refused:
            return self._submit(exchange, request)
        self._charge(exchange, key_of(request))
        if answer.status == HTTPStatus.OK:
            self.generations[exchange.id] = generation_data(exchange, request)
        return make_reply(exchange)

    def _charge(self, exchange: Exchange, key: str) -> None:
        self.charged_usd += exchange.bill.cost
        self.byok_usd += exchange.bill.byok_cost
        self._charges.append(Charge(self._today(), key, exchange))

    def _submit(self, exchange: Exchange, request: Received) -> Reply:
        job = self._jobs[exchange.id] = Job(exchange, key_of(request), self.job_polls)
        if exchange.kind == "videos":
            self.generations[exchange.id] = generation_data(exchange, request)
        return json_reply(HTTPStatus.ACCEPTED, job_object(job, done=False))

    def _job(self, kind: str, asked: str = "", *rest: str) -> Reply:
        if not asked and kind == "batches":
            return json_reply(200, job_list([job for job in self._jobs.values() if job.exchange.kind == kind]))
        job = self._jobs.get(asked)
        if job is None or rest or job.exchange.kind != kind:
            return refusal(errors.not_found())
        done = job.poll()
        if done and not job.charged:
            job.charged = True
            self._charge(job.exchange, job.key)
        return json_reply(200, job_object(job, done=done))

    def _generation(self, generation_id: str) -> Reply:
        late, self.lookup_404s = self.lookup_404s > 0, max(self.lookup_404s - 1, 0)
        found = self.generations.get(generation_id)
        if late or found is None:
            return refusal(errors.not_found(f"Generation {generation_id} not found"))
        return json_reply(200, {"data": found})

    def _today(self) -> date:
        return utc_day(self.now())

    def _book(self, key: str) -> KeyBook:
        return KeyBook(self._charges, key, self._today(), self.key_limit_usd, self.key_budgets)
