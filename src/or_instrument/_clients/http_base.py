"""What the seams of the HTTP clients share: each request passes one method, and few go to a host that is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias

from or_instrument._calls.observer import Observer
from or_instrument._calls.response import Answer
from or_instrument._calls.shield import report
from or_instrument._clients.http_send import Sending
from or_instrument._clients.own_context import in_own_context
from or_instrument._clients.patch import Seam
from or_instrument._clients.sent import Sent
from or_instrument._clients.under_way import INNERMOST, current_task, is_of_sdk_call
from or_instrument._errors import BudgetExceeded
from or_instrument._openrouter.hosts import Endpoint

Args: TypeAlias = tuple[Any, ...]
Kwargs: TypeAlias = Mapping[str, Any]
Parts: TypeAlias = tuple[str, str, "int | None"]
"""Scheme, host and port of a URL."""


def request_of(args: Args, kwargs: Kwargs) -> Any:
    """Return the request that a client is given to send."""
    return args[0] if args else kwargs["request"]


class SendSeam(Seam):
    """The wrappers of one `instrument()` on one HTTP client; sub-classes say what its arguments and responses are.

    What they say of arguments may raise: the library itself says what is wrong with them.
    """

    client: ClassVar[str]
    """The word of the option `clients`."""

    def __init__(self, observer: Observer, misses_sdk: Callable[[], bool]) -> None:
        """Know what tells whether the OpenAI SDK makes calls that its own seam does not see."""
        super().__init__(observer)
        self._search = observer.hosts.search
        self._misses_sdk = misses_sdk

    def _send(self, wrapped: Callable[..., Any], http: Any, args: Args, kwargs: Kwargs) -> Any:
        kwargs = self._with_auth(http, kwargs)
        around = INNERMOST.get()
        sdk_call = None if around is None else around.sdk_call(http)
        if sdk_call is None:
            sending = None if self._is_other(http, args, kwargs) else self._begin(http, args, kwargs)
            if sending is None:
                return wrapped(*args, **kwargs)
            with sending:
                response = wrapped(*args, **kwargs)
            self._came(sending, response)
            return response
        sdk_call.read = partial(self._sent, http, args, kwargs)
        try:
            response = wrapped(*args, **kwargs)
        except BaseException as exc:
            sdk_call.sent(exc)
            raise
        sdk_call.sent(response)
        return response

    def _asend(self, wrapped: Callable[..., Any], http: Any, args: Args, kwargs: Kwargs) -> Any:
        kwargs = self._with_auth(http, kwargs)
        around = INNERMOST.get()
        if (around is None or around.sdk_call(http) is None) and self._is_other(http, args, kwargs):
            return wrapped(*args, **kwargs)
        return self._asent(wrapped, http, args, kwargs)

    async def _asent(self, wrapped: Callable[..., Any], http: Any, args: Args, kwargs: Kwargs) -> Any:
        around = INNERMOST.get()
        if around is not None and around.is_strangers():
            return await in_own_context(INNERMOST, self._asent, wrapped, http, args, kwargs)
        sdk_call = None if around is None else around.sdk_call(http)
        if sdk_call is None:
            sending = self._begin(http, args, kwargs)
            if sending is None:
                return await wrapped(*args, **kwargs)
            sending.task = current_task()
            with sending:
                response = await wrapped(*args, **kwargs)
            self._came(sending, response)
            return response
        sdk_call.read = partial(self._sent, http, args, kwargs)
        try:
            response = await wrapped(*args, **kwargs)
        except BaseException as exc:
            sdk_call.sent(exc)
            raise
        sdk_call.sent(response)
        return response

    def _is_other(self, http: Any, args: Args, kwargs: Kwargs) -> bool:
        """Return whether a request goes to no host that is recorded: nearly all do, and this is all that they cost."""
        try:
            return self._search(self._text(http, args, kwargs).lower()) is None
        except Exception:  # noqa: BLE001 - see above
            return True

    def _begin(self, http: Any, args: Args, kwargs: Kwargs) -> Sending | None:
        """Return the send that begins, `None` where nothing is to be seen of it.

        Raises `BudgetExceeded` where the code around the call has asked for it.
        """
        observer = self._observer
        if observer is None or observer.is_idle():
            return None
        try:
            endpoint = observer.hosts.named(*self._parts(http, args, kwargs))
        except Exception:  # noqa: BLE001 - see above
            return None
        if endpoint is None:
            return None
        read, whom = partial(self._sent, http, args, kwargs), partial(self._target, http, args, kwargs)
        try:
            return self._begun(observer, endpoint, read, whom)
        except BudgetExceeded:
            raise
        except Exception as exc:  # noqa: BLE001 - the shield
            report("describing a request", exc)
            return None

    def _begun(
        self, observer: Observer, endpoint: Endpoint, read: Callable[[], Sent], whom: Callable[[], Any]
    ) -> Sending | None:
        around, sent = INNERMOST.get(), read()
        outer = around if around is not None and around.is_sending and not around.is_strangers() else None
        if outer is not None and outer.carries(sent):
            if outer.exchange is not None:
                outer.exchange.carried(whom)
            return None
        if outer is None and sent.is_sdks and (self._misses_sdk() or is_of_sdk_call(sent)):
            return Sending(read)  # recorded by the SDK's own seam or not at all
        exchange = observer.see(endpoint, sent.method, sent.url, sent.asked, client=self.client, whom=whom)
        return None if exchange is None else Sending(read, outer, exchange)

    def _came(self, sending: Sending, response: Any) -> None:
        try:
            sending.answered(response, self._answer)
        except Exception as exc:  # noqa: BLE001 - the shield
            report("looking at a response", exc)
        sending.let_go()

    def _with_auth(self, _http: Any, kwargs: Kwargs) -> Kwargs:
        """Return the arguments with an auth whose own requests are seen, where this client's auths make any."""
        return kwargs

    def _text(self, http: Any, args: Args, kwargs: Kwargs) -> str:
        """Return a text that holds the host."""
        raise NotImplementedError

    def _parts(self, http: Any, args: Args, kwargs: Kwargs) -> Parts:
        """Return where the request goes."""
        raise NotImplementedError

    def _sent(self, http: Any, args: Args, kwargs: Kwargs) -> Sent:
        """Return what is sent."""
        raise NotImplementedError

    def _target(self, http: Any, args: Args, kwargs: Kwargs) -> Any:
        """Return whom to ask about the call afterwards."""
        raise NotImplementedError

    def _answer(self, response: Any) -> Answer:
        """Take a response apart."""
        raise NotImplementedError
