"""Recovers in the background, by `GET /generation`, the cost of calls that ended without usage.

Such calls are `pending`: each is followed by exactly one more `Call` that `recovers` it, with the bill or with the
reason why there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic, time_ns
from typing import Final

from or_instrument._calls.delivery import deliver
from or_instrument._calls.live import new_id
from or_instrument._calls.missing import missing
from or_instrument._calls.shield import report
from or_instrument._clients.target import NoTargetError, Target, sync_client
from or_instrument._errors import LookupFailed
from or_instrument._money.account import generation_question
from or_instrument._money.account_requests import Attempts, Question, get
from or_instrument._money.lookup_queue import FAILED, LOOKUPS
from or_instrument._openrouter.account import recovered_reply
from or_instrument._openrouter.account_records import Generation
from or_instrument._openrouter.headers import Named
from or_instrument._openrouter.hosts import OPENROUTER
from or_instrument._records import PENDING, Call, Sink

_ONE_ANSWER_S: Final = 10.0
_NOBODY: Final = Target(None, "", {})
"""Asking it fails at once."""


def mark_pending(call: Call) -> Call:
    """Return the call as pending where a look-up can tell its cost, else as it is.

    A call that was refused (an HTTP error) is not charged, and not looked up.
    """
    # Of a stream that was broken off, the tokens may be known and the cost not.
    is_unknown = call.usage is None or (call.usage.cost is None and call.outcome != "complete")
    is_candidate = is_unknown and call.missing != "rejected" and call.request.provider == OPENROUTER
    return call._replace(missing=PENDING) if is_candidate and call.generation_id else call


class Lookup:
    """One call that is being looked up."""

    def __init__(self, call: Call, sinks: Sequence[Sink], target: Target, carrier: Target | None = None) -> None:
        """Know whom to ask, and through which client instead where the call's own works in its event loop only."""
        self.call = call
        self.due = 0.0
        self._sinks = sinks
        self._target = target
        self._carrier = carrier
        self._question: Question[Generation] = generation_question(call.generation_id or "")
        self._attempts: Attempts | None = None
        self._asked_ns = time_ns()
        self._began = monotonic()
        # Popping the only element is atomic, so that one end is seen.
        self._open = [True]

    def ask(self, timeout_s: float) -> bool:
        """Ask once; return whether this is the end of it."""
        if self._attempts is None:
            self._attempts = Attempts(self._question, timeout_s)
            self._asked_ns, self._began = time_ns(), monotonic()
        try:
            self._found(self._answer(min(self._attempts.left_s(), _ONE_ANSWER_S)))
        except Exception as exc:  # noqa: BLE001 - whatever it was, it was no answer
            try:
                self.due = monotonic() + self._attempts.wait_after(exc)
            except LookupFailed as failed:
                report("looking up the cost of a call", failed)
                self.give_up(FAILED)
                return True
            return False
        return True

    def give_up(self, reason: str) -> None:
        """End it without an answer."""
        self._end(self.call._replace(missing=reason))

    def _answer(self, timeout_s: float) -> Generation:
        try:
            return self._answer_of(self._target, timeout_s)
        except NoTargetError:
            if self._carrier is None:
                raise
            self._target, self._carrier = self._carrier, None
        return self._answer_of(self._target, timeout_s)

    def _answer_of(self, target: Target, timeout_s: float) -> Generation:
        asked, url, headers = target
        with sync_client(asked) as client:
            return self._question.read(get(client, self._question, timeout_s, url=url, headers=headers))

    def _found(self, generation: Generation) -> None:
        call = self.call
        broken_off = call.request.stream and call.outcome != "complete"
        reply = recovered_reply(call.reply, generation, broken_off=broken_off)
        self._end(call._replace(reply=reply, missing=missing(reply, call.outcome)))

    def _end(self, call: Call) -> None:
        try:
            self._open.pop()
        except IndexError:
            return
        told = call._replace(
            id=new_id(),
            started_ns=self._asked_ns,
            duration_s=monotonic() - self._began,
            time_to_first_chunk_s=None,
            content=None,
            recovers=self.call.id,
        )
        deliver(told, self._sinks)


class Recovery:
    """The last sink of a call: it has the call looked up, and other sinks told, where it is pending."""

    def __init__(self, target: Target, sinks: Sequence[Sink]) -> None:
        self._target = target
        self._carrier: Target | None = None
        self._sinks = sinks

    def sent(self, headers: Named, url: object) -> None:
        """Take the credentials with which the call was sent: an `auth=` adds them on the way."""
        self._target = self._target.sent_with(headers, str(url))
        if self._carrier is not None:
            self._carrier = self._carrier.sent_with(headers, str(url))

    def carried(self, whom: Callable[[], Target]) -> None:
        """Take how to ask through the client that sends the request on."""
        try:
            self._carrier = whom()
        except NoTargetError:
            self._carrier = None

    def __call__(self, call: Call) -> None:
        """Have the call looked up."""
        if call.missing == PENDING:
            LOOKUPS.add(Lookup(call, self._sinks, self._target, self._carrier))


def recovery(whom: Callable[[], Target], sinks: Sequence[Sink]) -> Recovery:
    """Return the last sink of a call. `whom` says whom to ask; it is asked for while the call begins."""
    LOOKUPS.start()
    try:
        target = whom()
    except Exception as exc:  # noqa: BLE001 - the shield
        report("noting whom to ask about a call", exc)
        target = _NOBODY
    return Recovery(target, sinks)
