"""How a look-up is asked through another client than the SDK's, and what is made of a bad answer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import httpx
import pytest

from or_instrument._clients.asking import APIConnectionError, Asker, StatusError
from or_instrument._clients.target import _transport

OPTIONS: Any = {"params": {"id": "gen-1"}, "headers": {}, "timeout": 1.0}


def asker(answer: httpx.Response | Exception) -> Asker:
    """Return one that is answered from memory."""

    def get(_url: str, **_options: object) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Asker(lambda _headers: nullcontext(get))


def ask(answer: httpx.Response | Exception) -> object:
    """Ask once."""
    return asker(answer).get("https://openrouter.ai/api/v1/generation", options=OPTIONS, cast_to=object)


def test_a_good_answer_is_its_json() -> None:
    """Or its text, where it is none."""
    assert ask(httpx.Response(200, json={"data": {}})) == {"data": {}}
    assert ask(httpx.Response(200, text="soon")) == "soon"


@pytest.mark.parametrize(("body", "error"), [({"error": {"code": 404}}, {"code": 404}), (["no"], None)])
def test_a_refusal_tells_status_and_error(body: Any, error: object) -> None:
    """As the SDK's own exceptions do."""
    with pytest.raises(StatusError, match="HTTP 404") as refused:
        ask(httpx.Response(404, json=body))
    assert (refused.value.status_code, refused.value.body) == (404, error)


def test_who_is_not_reached_may_be_asked_again() -> None:
    """The exception is named like the SDK's, which says that."""
    with pytest.raises(APIConnectionError) as failed:
        ask(OSError("no route"))
    assert isinstance(failed.value.__cause__, OSError)
    assert not asker(OSError()).is_closed()


def test_a_client_without_a_transport_has_none_to_take_over() -> None:
    """As a mount that switches a proxy off."""
    assert _transport(httpx, None) is None
