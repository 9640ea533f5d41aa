"""Has what a process holds written out when SIGTERM ends it, which runs no exit functions."""

from __future__ import annotations

import _thread
import os
import signal
from types import FrameType
from typing import Final

from or_instrument._calls.worker import new_lock
from or_instrument._telemetry.exit import EXIT


class Sigterm:
    """Closes on SIGTERM too, and then lets it do what it would have done."""

    def __init__(self) -> None:
        self._is_on = False

    def listen(self) -> None:
        """Hear the signal where nobody else does: an application's own handler is left alone.

        Only the main thread can: https://docs.python.org/3/library/signal.html#signals-and-threads
        """
        self._is_on = True
        try:
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._terminate)
        except ValueError:
            return

    def unlisten(self) -> None:
        """Let the signal be."""
        self._is_on = False
        try:
            if signal.getsignal(signal.SIGTERM) == self._terminate:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError:
            return

    def again(self) -> None:
        """Hear it in a child process too."""
        if self._is_on:
            self.listen()

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        if type(new_lock()).__module__ == "_thread":
            self._end(number)
        else:
            # Among greenlets the handler may run in their hub, which must not wait. There this starts one more.
            _thread.start_new_thread(self._end, (number,))

    def _end(self, number: int) -> None:
        if self._is_on:
            EXIT.close()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


SIGTERM: Final = Sigterm()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SIGTERM.again)
