"""Tells from a path which operation it asks for, and which job it is of."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from or_instrument._openrouter.values import code

JOBS: Final = frozenset(("batches", "videos"))
"""The first word of their paths: jobs are billed when they are done, and told of by the GET that finds them so."""
_OPERATIONS: Final = {
    "chat/completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "systemone": "decisions",
    "decisions": "decisions",
    "alpha/decisions": "decisions",
}
_VERSION: Final = "v1/"


def operation_of(url: str) -> str | None:
    """Return the operation that a POST to this path or absolute URL asks for, `None` for those not recorded.

    A path is taken as it is. Of a URL it counts what follows the version; where there is none, as at some proxies, its
    last words.
    """
    operation = _OPERATIONS.get(url.strip("/"))
    if operation is not None:
        return operation
    parts = urlsplit(url)
    path = parts.path.strip("/")
    if not parts.netloc:
        return _by_path(path)
    _, version, below = path.rpartition(_VERSION)
    return _by_path(below if version else path) or (None if version else _by_end(path))


def _by_path(path: str) -> str | None:
    first, _, rest = path.partition("/")
    if first == "audio" and rest:
        return rest.rpartition("/")[2]
    return "images" if first == "images" else _OPERATIONS.get(path)


def _by_end(path: str) -> str | None:
    words = path.split("/")
    return _OPERATIONS.get("/".join(words[-2:])) or _OPERATIONS.get(words[-1])


def is_messages(url: str) -> bool:
    """Return whether a path or URL is that of Anthropic's messages, whose body knows no usage option."""
    return "messages" in url and urlsplit(url).path.strip("/").rpartition("/")[2] == "messages"


def word_of(url: str) -> str | None:
    """Return the last word of a URL's path, which names an operation that is not known here."""
    return code(urlsplit(url).path.strip("/").rpartition("/")[2])


def job_of(url: str) -> tuple[str, str] | None:
    """Return kind and id of the job that a GET of this path or URL asks after, `None` where it asks for a list."""
    *_, kind, id_ = ("", "", *urlsplit(url).path.strip("/").split("/"))
    return (kind, id_) if kind in JOBS and id_ else None


def is_new_job(url: str) -> bool:
    """Return whether a POST to this path or URL begins a job, which is billed when it is done."""
    return urlsplit(url).path.rstrip("/").rpartition("/")[2] in JOBS


def is_job(url: str) -> bool:
    """Return whether a path or URL is one of jobs, of one or of all."""
    return not JOBS.isdisjoint(urlsplit(url).path.split("/"))
