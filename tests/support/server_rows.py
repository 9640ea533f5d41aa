"""The servers of the table in docs/production.md: how each is started, asked and ended. A row is data."""

from __future__ import annotations

import signal
from typing import NamedTuple


class Row(NamedTuple):
    """One way to run a service, and how it is ended.

    `{address}` and `{port}` in the command stand for where it listens. A command that begins with `-` is one of the
    interpreter's.
    """

    name: str
    module: str
    """What has to be importable."""
    command: str
    ended_by: int = signal.SIGTERM
    is_quick: bool = False
    by_opentelemetry: bool = False
    """Whether `opentelemetry-instrument` sets the providers and finds us, instead of our own variables."""


_GUNICORN = "-m gunicorn --workers 2 --bind {address}"
# Ended otherwise, its workers run no exit functions where they are inside a request, or have just answered one.
_UWSGI = (
    "uwsgi --http-socket {address} --master --processes 2 --hook-master-start 'unix_signal:15 gracefully_kill_them_all'"
)
_KINDS = {
    "sync": ("gunicorn", "--worker-class sync", "app:wsgi"),
    "gthread": ("gunicorn", "--worker-class gthread --threads 4", "app:wsgi"),
    "gevent": ("gevent", "--worker-class gevent", "app:wsgi"),
    "asgi": ("gunicorn.asgi", "--worker-class asgi", "app:asgi"),
    "eventlet": ("gunicorn.workers.geventlet", "--worker-class eventlet", "app:wsgi"),
    "tornado": ("tornado", "--worker-class tornado", "app:wsgi"),
    "uvicorn worker": ("uvicorn_worker", "--worker-class uvicorn_worker.UvicornWorker", "app:asgi"),
}
_OPTIONS = {"": "", " --preload": "--preload", " --max-requests": "--max-requests 5"}

GUNICORN = tuple(
    Row(
        f"gunicorn {kind}{name}",
        module,
        f"{_GUNICORN} {options} {more} {app}",
        is_quick=(kind, name) in {("gevent", " --preload"), ("uvicorn worker", " --preload")},
    )
    for kind, (module, options, app) in _KINDS.items()
    for name, more in _OPTIONS.items()
)
SERVERS = (
    Row("uvicorn", "uvicorn", "-m uvicorn --port {port} app:asgi"),
    Row("uvicorn, openai imported in an endpoint", "uvicorn", "-m uvicorn --port {port} app:lazy", is_quick=True),
    Row("uvicorn, 3 workers", "uvicorn", "-m uvicorn --port {port} --workers 3 app:asgi"),
    Row("uvicorn --reload", "uvicorn", "-m uvicorn --port {port} --reload app:asgi"),
    Row("hypercorn", "hypercorn", "-m hypercorn --bind {address} app:asgi"),
    Row("hypercorn, 2 workers", "hypercorn", "-m hypercorn --workers 2 --bind {address} app:asgi"),
    Row("granian, ASGI", "granian", "-m granian --interface asgi --port {port} app:asgi"),
    Row("granian, WSGI, 2 workers", "granian", "-m granian --interface wsgi --workers 2 --port {port} app:wsgi"),
    Row("waitress", "waitress", "-m waitress --listen {address} app:wsgi"),
    Row("daphne", "daphne", "-m daphne --port {port} app:asgi"),
    Row("uWSGI", "uwsgi", f"{_UWSGI} --module app:wsgi"),
    Row("uWSGI --enable-threads", "uwsgi", f"{_UWSGI} --enable-threads --module app:wsgi"),
)
ZERO_CODE = tuple(
    row._replace(name=f"opentelemetry-instrument {row.name}", by_opentelemetry=True, is_quick=row.name == "uvicorn")
    for row in (*GUNICORN, *SERVERS)
    if row.name in {"uvicorn", "gunicorn sync", "gunicorn gthread", "gunicorn uvicorn worker"}
)
_NOT_BY_SIGINT = {"uwsgi", "uvicorn_worker"}
"""uWSGI is said above; uvicorn's worker under gunicorn goes on, and is killed by gunicorn later."""
INTERRUPTED = tuple(
    row._replace(name=f"{row.name}, ended by SIGINT", ended_by=signal.SIGINT)
    for row in (*GUNICORN, *SERVERS)
    if row.module not in _NOT_BY_SIGINT and not row.name.endswith((*filter(None, _OPTIONS), "in an endpoint"))
)
ROWS = (*GUNICORN, *SERVERS, *INTERRUPTED, *ZERO_CODE)
