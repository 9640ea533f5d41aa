"""The fake itself: the service, served over loopback HTTP or through a mock transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._server import Server
from ._service import Service
from ._transport import Handler, make_handler

if TYPE_CHECKING:
    from ._money import Prices


class FakeOpenRouter(Service):
    """A fake OpenRouter account that answers as scripted and keeps exact books.

    Use it as a context manager, or `start()` and `stop()` it, and point a client at `base_url`; or hand `handler`
    to ``httpx.MockTransport`` (``httpx2`` likewise), for which it need not be started. Any thread may use it.

    Attributes:
        requests: What was received, in order.
        default: The answer of a POST for which none is scripted.
        generations: Generation id to the ``data`` of GET /generation.
        charged_usd: Exact sum of the cost of all answers given, also of streams whose end no client saw.
        spend_usd: `charged_usd` and, for BYOK answers, the upstream cost.
        lookup_404s: How many times GET /generation answers 404 first.
        management_key: Whether GET /credits and GET /activity are allowed.
        key_limit_usd, total_credits_usd: What GET /key and GET /credits report. Every key has the same limit, and is
            told what it was charged itself.
        key_budgets: More of GET /key's ``budgets``, each at least ``{"limit_usd": 5}``; what else it has is made.
        job_polls: How many times a batch or video that is submitted from now on is found unfinished. It is charged
            when it is first found done.
        now: The clock of the account, a function that returns Unix seconds. GET /activity tells of completed UTC
            days, so move it: ``fake.now = lambda: 1_795_000_000``.

    What is wrong with what it is given is told where it is given; what fails only while it answers is an HTTP 500
    whose message says so.

    """

    def __init__(self, *, port: int = 0, prices: Prices | None = None) -> None:
        """Take a port (0: any free one) and USD per prompt and completion token by model.

        Raises:
            TypeError: `prices` is no mapping.
            ValueError: `prices` has something else than pairs of amounts.

        """
        super().__init__(prices)
        self._port = port
        self._server: Server | None = None
        self.handler: Handler = make_handler(self.reply)

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/api/v1``.

        Raises:
            RuntimeError: The server does not run.

        """
        if self._server is None:
            raise RuntimeError("the fake is not served; use `with FakeOpenRouter() as fake:` or call start()")
        return f"http://127.0.0.1:{self._server.port}/api/v1"

    def start(self) -> FakeOpenRouter:
        """Serve in a background thread; return the fake itself.

        Raises:
            OSError: The port cannot be had.
            RuntimeError: It is served already.

        """
        if self._server is not None:
            raise RuntimeError(f"the fake is already served at {self.base_url}; call stop() first")
        self._server = Server(self._port, self.reply, self.mark_cancelled)
        return self

    def stop(self) -> None:
        """Drop all connections and end the thread, if there is one; what was recorded stays."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> FakeOpenRouter:
        """Start."""
        return self.start()

    def __exit__(self, *_raised: object) -> None:
        """Stop."""
        self.stop()
