"""A fake OpenRouter for tests: bodies, streams, errors and bills, over loopback HTTP or a mock transport."""

from . import errors
from ._answer import UNSET, Answer
from ._exchange import Received
from ._fake import FakeOpenRouter

__all__ = ["UNSET", "Answer", "FakeOpenRouter", "Received", "errors"]
