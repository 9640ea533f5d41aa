"""The ledger's tables, and how a file of them is opened: made, brought up to date, or refused."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

MIGRATIONS: Final = (
    """
    CREATE TABLE calls (
      -- All amounts are USD: exact decimal text, and in _e12 and _e24 whole numbers of 1e-12 and 1e-24 USD to add up.
      -- Both are NULL where the text has a digit beyond 1e-24 or the amount is a million or more.
      id INTEGER PRIMARY KEY,
      process INTEGER NOT NULL,    -- random, anew in every process
      call INTEGER NOT NULL,       -- Call.id, unique in the process
      started_at TEXT NOT NULL,    -- UTC, 2026-11-26T16:00:00.000000Z
      ended_at TEXT NOT NULL,
      host TEXT NOT NULL,
      client TEXT,
      api_key_hash TEXT,           -- SHA-256 of the key, hexadecimal
      generation_id TEXT,
      operation TEXT NOT NULL,
      requested_model TEXT,
      model TEXT,                  -- that answered; where that is not known, that was asked for
      provider TEXT,
      outcome TEXT NOT NULL,
      error TEXT,
      missing TEXT,                -- why the spend is unknown
      source TEXT,                 -- response, generation or estimate
      is_byok INTEGER,
      lower_bound INTEGER,         -- 1: the provider may have billed more; a stream on the user's own key, broken off
      cost TEXT,                   -- what OpenRouter charged
      cost_e12 INTEGER,
      cost_e24 INTEGER,
      upstream TEXT,               -- what the provider billed to the user's own key
      upstream_e12 INTEGER,
      upstream_e24 INTEGER,
      spend TEXT,                  -- both together
      spend_e12 INTEGER,
      spend_e24 INTEGER,
      input_tokens INTEGER,
      output_tokens INTEGER,
      cache_read_tokens INTEGER,
      cache_creation_tokens INTEGER,
      reasoning_tokens INTEGER,
      details TEXT,                -- further counts, a JSON object
      attributes TEXT NOT NULL,    -- of attributes(...), a JSON object of texts
      UNIQUE (process, call)
    );
    CREATE INDEX calls_started_at ON calls (started_at);
    CREATE TABLE lost (
      -- Calls that could not be written.
      process INTEGER NOT NULL,
      day TEXT NOT NULL,           -- UTC
      calls INTEGER NOT NULL,
      PRIMARY KEY (process, day)
    );
    CREATE TABLE readings (
      -- What GET /key has told, to compare the growth since with the calls since.
      api_key_hash TEXT NOT NULL,
      at TEXT NOT NULL,            -- UTC, as in calls
      usage TEXT NOT NULL,         -- USD, ever charged through the key
      PRIMARY KEY (api_key_hash, at)
    );
    """,
    """
    CREATE TABLE coverage (
      -- One row: from when on every call that was to be written is here.
      begun_at TEXT NOT NULL,      -- UTC, as in calls
      pruned_before TEXT           -- a UTC day: rows of earlier ones were removed
    );
    INSERT INTO coverage (begun_at)
      SELECT min(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), coalesce(min(started_at), '9')) FROM calls;
    -- Of the host that was asked, and USD that calls cost which ended since and whose rows were removed.
    ALTER TABLE readings ADD COLUMN host TEXT NOT NULL DEFAULT '';
    ALTER TABLE readings ADD COLUMN pruned TEXT NOT NULL DEFAULT '0';
    """,
)
"""What brings a ledger from each version to the next; `PRAGMA user_version` is how many it has had."""

_APPLICATION: Final = 0x4F524C47
"""`ORLG`: tells our files from other databases (https://www.sqlite.org/pragma.html#pragma_application_id)."""
_BUSY_TIMEOUT_S: Final = 5.0
_ALONE_S: Final = 0.05
"""A hundred times as long as it takes to make a file."""
_SETTLING_S: Final = 0.25
_VERSIONS_AT, _WITH_LOG = 18, b"\2\2"
"""How a database says that it has a log: https://www.sqlite.org/fileformat2.html, "File format version numbers"."""
_SHARED_LOCKS: Final = (510, 0x40000002)
"""What SQLite locks of a database while it is open: `SHARED_SIZE` and `SHARED_FIRST` of its os.h."""


class NotALedgerError(Exception):
    """The file is not a ledger that this version can use; the message says why."""


def open_ledger(path: str | Path, *, make: bool = False, timeout_s: float = _BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open a ledger, brought up to date; with `make`, make it where there is none, for its owner alone to read.

    The connection is for any thread, one at a time; each statement is its own transaction.

    Raises:
        NotALedgerError: it is no regular file, empty and not to be made, another database, or that of a later version.
        OSError: the file is not there or cannot be made.
        sqlite3.Error: the file cannot be read, or was locked for `timeout_s` seconds.
        ImportError: this Python was built without SQLite.

    """
    import sqlite3  # noqa: PLC0415 - who keeps no ledger need not have it

    _check_there(Path(path), make)
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        _bring_up_to_date(connection, path, make)
        # What is committed outlives the process; that each commit outlives a power cut too is not worth an fsync.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_there(path: Path, make: bool) -> None:
    # A file that is there is not opened: closing it would let go of the locks that SQLite holds in this process.
    if path.exists():
        if not path.is_file():
            # Of a pipe nothing may ever come, and the mode of a device is everybody's.
            raise NotALedgerError(f"{path} is no regular file")
        if not make:
            _check_settled(path)
        return
    if not make:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with _alone_in(path.parent):
        if path.exists():
            return
        # What is beside it is of one that was moved or removed, which processes may still have open. It goes before
        # the new file comes: whoever finds that may begin a log of his own at once.
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from making a file here meanwhile."""
    try:
        import fcntl  # noqa: PLC0415 - Windows has none, and moves no file that is open

        directory = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # a folder may be one to write into that is not to be listed
        yield
        return
    deadline = time.monotonic() + _ALONE_S
    try:
        # Not to wait in C, and not for ever: somebody else may hold a lock on the folder for a reason of his own.
        while time.monotonic() < deadline:
            with suppress(OSError):
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        yield
    finally:
        os.close(directory)


def _check_settled(path: Path) -> None:
    """Raise `NotALedgerError` where a process still writes a file under a former name, which its log and locks bear."""
    shm = Path(f"{os.path.realpath(path)}-shm")
    deadline = time.monotonic() + _SETTLING_S
    # Whoever opens or closes it has a lock for a moment, and no such file.
    while not shm.exists() and _is_open_elsewhere(path):
        if time.monotonic() > deadline:
            raise NotALedgerError(
                f"{path} was renamed while processes write it, and its newest rows bear the former name; "
                "ask once more when each of them has made a call or ended"
            )
        time.sleep(_ALONE_S / 10)


def _is_open_elsewhere(path: Path) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - see above

        file = os.open(path, os.O_RDWR)
    except (ImportError, OSError):  # who may not write it does no harm
        return False
    try:
        if os.pread(file, 2, _VERSIONS_AT) != _WITH_LOG:
            return False
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SHARED_LOCKS)
    except OSError as exc:
        return isinstance(exc, (BlockingIOError, PermissionError))
    finally:
        os.close(file)
    return False


def _bring_up_to_date(connection: sqlite3.Connection, path: str | Path, make: bool) -> None:
    version = version_of(connection, path)
    if version == len(MIGRATIONS):
        return
    if version == 0:
        if not make:
            raise NotALedgerError(f"{path} is empty")
        with suppress(OSError):
            # Somebody may have made an empty file for us, which others can read.
            Path(path).chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        # Another process may have done it in the meantime.
        version = version_of(connection, path)
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            for statement in migration.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def version_of(connection: sqlite3.Connection, path: str | Path) -> int:
    """Return of which version a ledger is, 0 for an empty file. Raises `NotALedgerError`."""
    application, version, tables = (
        int(connection.execute(question).fetchone()[0])
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if application != _APPLICATION and (application or version or tables):
        raise NotALedgerError(f"{path} is another application's database")
    if version > len(MIGRATIONS):
        raise NotALedgerError(f"{path} was written by a later version of or_instrument")
    return version
