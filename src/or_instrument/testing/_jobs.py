"""Batches and videos: jobs that are submitted, asked after, and charged when they are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ._usage import usage_of

if TYPE_CHECKING:
    from ._exchange import Exchange

_WINDOW_S: Final = 24 * 3600


@dataclass
class Job:
    """One job, the key that submitted it, and how many more times it is found unfinished."""

    exchange: Exchange
    key: str
    polls_left: int
    polled: bool = False
    charged: bool = False

    def poll(self) -> bool:
        """Count one look at it; return whether it is done."""
        self.polled = True
        done, self.polls_left = self.polls_left <= 0, self.polls_left - 1
        return done

    @property
    def unfinished(self) -> str:
        """The status of a batch that is not done."""
        return "in_progress" if self.polled else "validating"


def job_object(job: Job, *, done: bool) -> dict[str, object]:
    """Return the batch or the video; only a finished one has a usage."""
    exchange = job.exchange
    if done and isinstance(exchange.answer.json_body, dict):
        return exchange.answer.json_body
    batch = exchange.kind == "batches"
    made = _batch(exchange, None if done else job.unfinished) if batch else _video(exchange, done=done)
    return {**made, **usage_of(exchange), **exchange.answer.extra} if done else made


def job_list(jobs: list[Job]) -> dict[str, object]:
    """Return the newest-first page of all batches, without their results; a finished one tells its usage here too."""
    listed = [job_object(job, done=job.polls_left <= 0) for job in reversed(jobs)]
    page = [{**item, "results": None} for item in listed]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": False}


def _failure(exchange: Exchange) -> str | None:
    broken = exchange.answer.broken
    return None if broken is None else str(broken.get("message"))


def _video(exchange: Exchange, *, done: bool) -> dict[str, object]:
    failure = _failure(exchange) if done else None
    named = {"id": exchange.id, "polling_url": f"/api/v1/videos/{exchange.id}", "generation_id": exchange.id}
    if failure is not None:
        return {**named, "status": "failed", "error": failure}
    if not done:
        return {**named, "status": "pending"}
    return {**named, "status": "completed", "unsigned_urls": [f"/api/v1/videos/{exchange.id}/content?index=0"]}


def _batch(exchange: Exchange, unfinished: str | None) -> dict[str, object]:
    asked = exchange.request.get("requests")
    requests = asked if isinstance(asked, list) else []
    failure = None if unfinished else _failure(exchange)
    status = unfinished or ("completed" if failure is None else "failed")
    finished = len(requests) if status == "completed" else 0
    return {
        "id": exchange.id,
        "object": "batch",
        "endpoint": exchange.request.get("endpoint", "/v1/chat/completions"),
        "model": exchange.model,
        "provider": exchange.answer.provider,
        "completion_window": exchange.request.get("completion_window", "24h"),
        "status": status,
        "created_at": exchange.created,
        "expires_at": exchange.created + _WINDOW_S,
        "finalized_at": None if unfinished else exchange.created + 60,
        "request_counts": {"total": len(requests), "completed": finished, "failed": 0},
        "results": [_result(exchange, *numbered) for numbered in enumerate(requests)] if finished else None,
        "usage": None,
        "error": None if failure is None else {"message": failure},
    }


def _result(exchange: Exchange, index: int, request: object) -> dict[str, object]:
    tail = exchange.id[-20:]
    said = {"role": "assistant", "content": exchange.answer.text, "refusal": None}
    ended = {"finish_reason": exchange.answer.reason, "native_finish_reason": exchange.answer.native_reason}
    choice = {"index": 0, "message": said, "logprobs": None, **ended}
    body = {
        "id": f"gen-batch-{exchange.created}-{tail}",
        "object": "chat.completion",
        "created": exchange.created,
        "model": exchange.model,
        "choices": [choice],
        "system_fingerprint": None,
    }
    return {
        "id": f"batch_req_{tail}_{index}",
        "custom_id": str(request.get("custom_id")) if isinstance(request, dict) else str(index),
        "response": {"status_code": 200, "request_id": f"req_{tail}_{index}", "body": body},
        "error": None,
    }
