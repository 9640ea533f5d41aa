"""Every call becomes a row: exact, once, in the file when `flush()` says so, and never waited for by the caller."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from filled_ledger import write
from hypothesis import given, settings
from hypothesis import strategies as st
from in_memory import Telemetry

import or_instrument
from or_instrument import Call, Content, Failure, Reply, Request, Usage
from or_instrument._money import books, open_ledgers, own_side, schema
from or_instrument._money import ledger as _ledger
from or_instrument._money.entry import COLUMNS, Entry, amount, encoded, entry_of, utc
from or_instrument._money.journal import Journal
from or_instrument._money.ledger import Ledger
from or_instrument._money.schema import NotALedgerError, open_ledger
from or_instrument._openrouter.headers import api_key
from or_instrument.testing import Answer, FakeOpenRouter

NOON_NS = 1_795_694_400_123_456_789  # 2026-11-26T12:00:00.123456789Z
E12, E24 = Decimal("1e-12"), Decimal("1e-24")


def call(number: int = 1, cost: float | None = 0.25, **changes: Any) -> Call:
    """Return a finished call."""
    usage = None if cost is None else Usage(cost=cost, is_byok=False, input_tokens=3, output_tokens=2)
    request = Request("chat", "openrouter", "a/model:nitro", "openrouter.ai", 443, attributes={"feature": "search"})
    reply = Reply(id="gen-1", model="a/model", provider="P", usage=usage)
    missing = "abandoned" if cost is None else None
    return Call(number, request, reply, "complete", NOON_NS, 1.5, missing=missing)._replace(**changes)


def rows(path: Path) -> list[dict[str, Any]]:
    """Return what is in a ledger, oldest first."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM calls ORDER BY id")]


def lost(path: Path) -> int:
    """Return how many calls a ledger says it has lost."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT coalesce(sum(calls), 0) FROM lost").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger of a test is."""
    return tmp_path / "costs.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Return a ledger of its own."""
    made = Ledger(str(path))
    yield made
    made.flush()
    made._worker.stop()
    made._books()._journal.close()


def test_a_call_is_a_row(path: Path, ledger: Ledger) -> None:
    """With all that the ledger tells, column by column."""
    usage = Usage(
        input_tokens=10,
        output_tokens=5,
        cache_read_tokens=4,
        cache_creation_tokens=0,
        reasoning_tokens=1,
        cost=1e-07,
        is_byok=True,
        upstream_cost=0.3,
        details={"openrouter.usage.audio_input_tokens": 7},
    )
    made = call(reply=Reply(id="gen-1", model="a/model", provider="P", usage=usage))
    ledger(made)
    assert ledger.flush()
    (row,) = rows(path)
    assert row.pop("process") > 0
    assert row == {
        "id": 1,
        "call": 1,
        "started_at": "2026-11-26T12:00:00.123456Z",
        "ended_at": "2026-11-26T12:00:01.623456Z",
        "host": "openrouter.ai",
        "client": None,
        "api_key_hash": None,
        "generation_id": "gen-1",
        "operation": "chat",
        "requested_model": "a/model:nitro",
        "model": "a/model",
        "provider": "P",
        "outcome": "complete",
        "error": None,
        "missing": None,
        "source": "response",
        "is_byok": 1,
        "lower_bound": 0,
        "cost": "0.0000001",
        "cost_e12": 100_000,
        "cost_e24": 0,
        "upstream": "0.3",
        "upstream_e12": 300_000_000_000,
        "upstream_e24": 0,
        "spend": "0.3000001",
        "spend_e12": 300_000_100_000,
        "spend_e24": 0,
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_tokens": 4,
        "cache_creation_tokens": 0,
        "reasoning_tokens": 1,
        "details": '{"openrouter.usage.audio_input_tokens":7}',
        "attributes": '{"feature":"search"}',
    }


def test_what_is_not_known_is_null(path: Path, ledger: Ledger) -> None:
    """Neither 0 nor an empty text; why it is not known is told."""
    failed = Reply(failure=Failure("rate_limit_exceeded", status_code=429))
    ledger(call(1, None, outcome="error", reply=failed, missing="rejected"))
    assert ledger.flush()
    (row,) = rows(path)
    assert (row["error"], row["missing"], row["model"]) == ("rate_limit_exceeded", "rejected", "a/model:nitro")
    assert {row[name] for name in ("cost", "cost_e12", "spend", "source", "is_byok", "input_tokens")} == {None}


def test_the_upstream_of_other_calls_than_byok_is_part_of_their_cost(path: Path, ledger: Ledger) -> None:
    """The column holds what the provider billed to the user, so that cost and upstream add up to the spend."""
    ledger(call(reply=Reply(usage=Usage(cost=0.25, is_byok=False, upstream_cost=0.25))))
    assert ledger.flush()
    (row,) = rows(path)
    assert (row["cost"], row["upstream"], row["spend"]) == ("0.25", None, "0.25")


def test_a_look_up_fills_the_row_of_its_call(path: Path, ledger: Ledger) -> None:
    """The cost comes into the row of the call, whose times stay, also where the row was written long before."""
    found = call(8, 0.5, recovers=7, started_ns=NOON_NS + 10**12)
    found = found._replace(reply=found.reply._replace(usage=Usage(cost=0.5, source="generation")))
    ledger(call(7, None, missing="pending"))
    assert ledger.flush()
    ledger(found)
    ledger(call(9, None, missing="pending"))
    ledger(found._replace(id=10, recovers=9))
    assert ledger.flush()
    told = [(row["call"], row["spend"], row["missing"], row["source"], row["started_at"][:16]) for row in rows(path)]
    assert told == [(number, "0.5", None, "generation", "2026-11-26T12:00") for number in (7, 9)]


def test_what_a_look_up_does_not_know_erases_nothing(path: Path, ledger: Ledger) -> None:
    """Tokens, details and the error that the call told itself stay; what both know is as it was looked up."""
    told = Usage(input_tokens=3, output_tokens=2, cache_creation_tokens=1, details={"openrouter.usage.seconds": 1.5})
    failed = Reply(id="gen-1", provider="P", usage=told, failure=Failure("502", status_code=502))
    ledger(call(7, outcome="error", reply=failed, missing="pending"))
    found = Usage(output_tokens=5, cost=0.1 + 1e-30, source="generation")
    ledger(call(8, outcome="error", recovers=7, reply=Reply(id="gen-1", model="b/other", usage=found)))
    assert ledger.flush()
    (row,) = rows(path)
    assert (row["error"], row["provider"], row["model"], row["missing"]) == ("502", "P", "b/other", None)
    assert (row["input_tokens"], row["output_tokens"], row["cache_creation_tokens"]) == (3, 5, 1)
    assert (row["details"], row["source"], row["spend"]) == ('{"openrouter.usage.seconds":1.5}', "generation", "0.1")
    ledger(call(9, None, outcome="error", recovers=7, missing="lookup_failed"))
    assert ledger.flush()
    assert [(row["spend"], row["spend_e12"], row["missing"]) for row in rows(path)] == [("0.1", 10**11, None)]


def test_an_amount_with_a_digit_left_over_takes_the_place_of_all_three(path: Path, ledger: Ledger) -> None:
    """The whole numbers of another amount would be added up instead of its text."""
    ledger(call(7))
    ledger(call(8, 1e-30, recovers=7))
    assert ledger.flush()
    (row,) = rows(path)
    assert (Decimal(row["cost"]), row["cost_e12"], row["cost_e24"]) == (Decimal("1e-30"), None, None)


def test_a_nul_cuts_no_text_off(path: Path, ledger: Ledger) -> None:
    """SQLite takes it for a text's end: two models would be one. It is shown as what cannot be shown."""
    request = Request("chat", "openrouter", "a\0b", "openrouter.ai", 443, attributes={"k\0x": "v\0w"})
    ledger(call(request=request, reply=Reply(provider="P\0Q", usage=Usage(cost=0.5))))
    assert ledger.flush()
    (row,) = rows(path)
    told = tuple(row[name] for name in ("requested_model", "model", "provider", "attributes"))
    assert told == ("a\ufffdb", "a\ufffdb", "P\ufffdQ", '{"k\ufffdx":"v\ufffdw"}')


AMOUNTS = st.floats(0, allow_nan=False, allow_infinity=False) | st.floats(0, 10) | st.integers(0, 10**7).map(float)
TEXTS = st.text(max_size=6)
ATTRIBUTES = st.dictionaries(TEXTS, TEXTS | st.booleans() | st.integers() | st.floats(), max_size=3)
MOMENTS = st.integers(0, 4 * 10**18)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(AMOUNTS, MOMENTS, ATTRIBUTES), max_size=6))
def test_rows_hold_what_calls_told(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[float, int, dict[str, Any]]]
) -> None:
    """Whatever the amounts, times and attributes: the texts are exact, and so are the sums of the integers."""
    path = tmp_path_factory.mktemp("ledger") / "costs.db"
    request = call().request
    calls = [
        call(number, cost, started_ns=started, request=request._replace(attributes=attributes))
        for number, (cost, started, attributes) in enumerate(told)
    ]
    write(path, [entry_of(made, 1) for made in calls])
    for row, made in zip(rows(path), calls, strict=True):
        assert Decimal(row["spend"]) == Decimal(str(made.spend))
        assert row["spend_e12"] is None or row["spend_e12"] * E12 + row["spend_e24"] * E24 == Decimal(row["spend"])
        assert row["started_at"] == utc(made.started_ns)
        expected = json.dumps({str(k): _shown(v) for k, v in made.request.attributes.items()})
        assert json.loads(row["attributes"]) == json.loads(_without_halves(expected))


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_halves(text: str) -> str:
    decoded = json.loads(text)
    return json.dumps({_whole(key): _whole(value) for key, value in decoded.items()})


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@given(AMOUNTS)
def test_an_amount_is_two_integers_where_no_digit_is_left_over(cost: float) -> None:
    """Both together are the amount exactly; else there is its text alone."""
    usd = Decimal(str(cost))
    text, e12, e24 = amount(usd)
    assert Decimal(text or "x") == usd
    if e12 is not None and e24 is not None:
        assert e12 * E12 + e24 * E24 == usd
        assert 0 <= e24 < 10**12
    else:
        assert usd >= 10**6 or usd % E24 != 0


def test_columns_are_those_of_the_schema(path: Path) -> None:
    """The record and the table name the same columns in the same order."""
    with closing(open_ledger(path, make=True)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(calls)")]
    assert columns == ["id", *COLUMNS]


def test_the_client_s_calls_are_written(
    path: Path, instrumented: Callable[..., Telemetry], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """`instrument(ledger=...)`: streams, errors and look-ups, and the sum is that of the service."""
    instrumented(ledger=path, lookup="missing")
    fake.script(Answer(byok=True), Answer(chunks=4), Answer(status=500, error={"code": 500, "message": "no"}))
    asked: Any = {"model": "a/model", "messages": [{"role": "user", "content": "a secret"}]}
    with or_instrument.attributes(tenant="acme"):
        client.chat.completions.create(**asked)
        with client.chat.completions.create(**asked, stream=True) as stream:
            next(iter(stream))
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**asked)
    assert or_instrument.flush()
    told = rows(path)
    assert sum(Decimal(row["spend"] or 0) for row in told) == fake.spend_usd
    assert [row["outcome"] for row in told] == ["complete", "closed", "error"]
    assert {row["attributes"] for row in told} == {'{"tenant":"acme"}'}


def test_the_key_of_a_call_is_there_as_its_hash(
    path: Path, instrumented: Callable[..., Telemetry], client: openai.OpenAI
) -> None:
    """Of the key that was sent, as OpenRouter hashes it: streams, look-ups, and keys that only one call has."""
    instrumented(ledger=path, lookup="missing")
    asked: Any = {"model": "a/model", "messages": []}
    client.chat.completions.create(**asked)
    client.chat.completions.create(**asked, extra_headers={"Authorization": "Bearer sk-or-another"})
    with client.chat.completions.create(**asked, stream=True) as stream:
        next(iter(stream))
    with client.with_options(api_key="sk-or-third").chat.completions.with_streaming_response.create(**asked) as raw:
        raw.read()
    assert or_instrument.flush()
    told = [row["api_key_hash"] for row in rows(path)]
    keys = ("sk-or-test", "sk-or-another", "sk-or-test", "sk-or-third")
    assert told == [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    assert rows(path)[2]["source"] == "generation"
    assert b"sk-or-" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.anyio
async def test_every_client_s_calls_have_their_key_and_name(
    path: Path, instrumented: Callable[..., Telemetry], client: openai.OpenAI, fake: FakeOpenRouter
) -> None:
    """Through whichever of them a call was made; its sum is that of the key in the service's books."""
    requests, aiohttp = pytest.importorskip("requests"), pytest.importorskip("aiohttp")
    instrumented(ledger=path)
    asked: Any = {"model": "a/model", "messages": []}
    at = f"{fake.base_url}/chat/completions"
    headers = {name: {"Authorization": f"Bearer sk-{name}"} for name in ("httpx", "requests", "aiohttp")}
    client.chat.completions.create(**asked)
    httpx.post(at, json=asked, headers=headers["httpx"])
    requests.post(at, json=asked, headers=headers["requests"], timeout=30)
    async with aiohttp.ClientSession() as session, session.post(at, json=asked, headers=headers["aiohttp"]) as reply:
        await reply.json()
    assert or_instrument.flush()
    keys = {"openai": "sk-or-test", "httpx": "sk-httpx", "requests": "sk-requests", "aiohttp": "sk-aiohttp"}
    hashes = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}
    assert {row["client"]: row["api_key_hash"] for row in rows(path)} == hashes
    spent = {row["client"]: Decimal(row["spend"]) for row in rows(path)}
    assert spent == {name: fake.charged_to(key) for name, key in keys.items()}


def test_a_job_that_two_processes_ask_after_is_one_row(
    path: Path, instrumented: Callable[..., Telemetry], fake: FakeOpenRouter
) -> None:
    """With the cost that it had when it was done, and the key of who saw that first."""
    instrumented(ledger=path)
    headers = {"Authorization": "Bearer sk-jobs"}
    job = httpx.post(f"{fake.base_url}/videos", json={"model": "a/video", "prompt": "x"}, headers=headers).json()
    for _ in range(4):
        httpx.get(f"{fake.base_url}/videos/{job['id']}", headers=headers)
    or_instrument.uninstrument()
    or_instrument.instrument(hosts=["127.0.0.1"], ledger=path)
    httpx.get(f"{fake.base_url}/videos/{job['id']}", headers=headers)
    assert or_instrument.flush()
    (row,) = rows(path)
    assert (row["process"], row["operation"], Decimal(row["spend"])) == (0, "videos", fake.charged_usd)
    assert row["api_key_hash"] == hashlib.sha256(b"sk-jobs").hexdigest()


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer k"}, "k"),
        ({"authorization": "bearer  k "}, "k"),
        ({"x-api-key": "k"}, "k"),
        ({"authorization": "Basic k", "x-api-key": "x"}, "x"),
        ({"authorization": "Bearer "}, None),
        ({"authorization": "k"}, None),
        ({}, None),
    ],
)
def test_a_key_is_found_where_clients_send_it(headers: dict[str, str], key: str | None) -> None:
    """As a bearer, or in the header of Anthropic's clients; nothing else is taken for one."""
    assert api_key(headers) == key


def test_a_job_is_one_row_whoever_asks_after_it(path: Path) -> None:
    """Two processes that see the cost of the same job write the same row; another job is another."""
    job = call(request=call().request._replace(operation="batches"), reply=call().reply._replace(id="batch-1"))
    other = job._replace(reply=job.reply._replace(id="batch-2"))
    write(path, [entry_of(job, 1), entry_of(job._replace(id=9), 2), entry_of(other, 2)])
    assert len(rows(path)) == 2
    assert {row["process"] for row in rows(path)} == {0}


def test_the_client_is_named(path: Path) -> None:
    """Through which a call was seen."""
    seen = call(request=call().request._replace(parameters={"openrouter.client": "httpx"}))
    write(path, [entry_of(seen, 1)])
    assert rows(path)[0]["client"] == "httpx"


def test_nothing_of_what_was_said_is_in_the_file(path: Path, ledger: Ledger) -> None:
    """Not even where content is captured."""
    ledger(call(content=Content(({"role": "user", "parts": [{"content": "a secret"}]},))))
    assert ledger.flush()
    assert b"secret" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_the_file_is_its_owner_s_alone(path: Path, ledger: Ledger) -> None:
    """It and what SQLite keeps beside it, whatever the umask."""
    before = os.umask(0)
    try:
        ledger(call())
        assert ledger.flush()
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_the_path_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: openai.OpenAI) -> None:
    """A service that changes its directory goes on writing into the same file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OR_INSTRUMENT_LEDGER", "costs.db")
    or_instrument.instrument(hosts=["127.0.0.1"])
    monkeypatch.chdir(tmp_path / "elsewhere")
    client.chat.completions.create(model="a/model", messages=[])
    assert or_instrument.flush()
    assert len(rows(tmp_path / "costs.db")) == 1


def test_a_removed_file_is_made_anew(path: Path, ledger: Ledger) -> None:
    """What is written after that is not written into a file that nobody can open."""
    ledger(call(1))
    assert ledger.flush()
    for file in path.parent.iterdir():
        file.unlink()
    ledger(call(2))
    assert ledger.flush()
    assert [row["call"] for row in rows(path)] == [2]


def test_what_is_beside_a_new_file_goes_before_it_comes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other process makes one meanwhile: the log that it had begun would be thrown away."""
    fcntl = pytest.importorskip("fcntl")
    log, unlink, seen = path.with_name(f"{path.name}-wal"), Path.unlink, list[bool]()

    def unlinked(gone: Path, *, missing_ok: bool = False) -> None:
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(path.exists())
        unlink(gone, missing_ok=missing_ok)

    log.write_bytes(b"of another")
    monkeypatch.setattr(Path, "unlink", unlinked)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        open_ledger(path, make=True).close()
    finally:
        os.close(folder)
    assert seen == [False, False]
    assert not log.exists()


def test_a_lock_of_somebody_elses_on_the_folder_is_not_waited_for(path: Path) -> None:
    """`flock DIR COMMAND` is how many a job makes sure that it runs once."""
    fcntl = pytest.importorskip("fcntl")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        open_ledger(path, make=True).close()
    finally:
        os.close(folder)
    assert rows(path) == []


def test_a_file_that_is_moved_while_it_is_written_is_left_to_who_writes_it(path: Path) -> None:
    """Its newest rows are in a log that bears the former name, and another one would spoil the file."""
    pytest.importorskip("fcntl")
    moved = path.with_name("moved.db")
    code = """
import sys
from pathlib import Path
from or_instrument._money.journal import Journal

journal = Journal(sys.argv[1])
journal.note_lost(1, {"2026-11-26": 7})
Path(sys.argv[1]).rename(sys.argv[2])
print("moved", flush=True)
sys.stdin.read()
journal.close()
"""
    command = [sys.executable, "-c", code, str(path), str(moved)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "moved\n"
        with pytest.raises(NotALedgerError, match="was renamed while processes write it"):
            open_ledger(moved)
        process.communicate("")
    open_ledger(moved).close()
    assert lost(moved) == 7


def test_a_ledger_that_others_have_open_is_read_by_any_of_its_names(path: Path) -> None:
    """By a link too, beside which there is no log; a copy that SQLite has made has none at all."""
    link, copy = path.with_name("link.db"), path.with_name("copy.db")
    link.symlink_to(path)
    code = """
import sqlite3, sys
from or_instrument._money.schema import open_ledger

ledger = open_ledger(sys.argv[1], make=True)
ledger.execute("VACUUM INTO ?", (sys.argv[2],))
copy = sqlite3.connect(sys.argv[2], isolation_level=None)
copy.execute("BEGIN")
copy.execute("SELECT count(*) FROM calls").fetchone()
print("open", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(path), str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        open_ledger(link).close()
        open_ledger(copy).close()
        process.communicate("")


def test_a_log_that_another_settles_is_not_taken_for_settled(path: Path) -> None:
    """SQLite says that it is busy, and how much there is to do, it does not say then."""
    journal = Journal(str(path))
    journal._inode = 1
    busy: Any = SimpleNamespace(execute=lambda _: SimpleNamespace(fetchone=lambda: (1, -1, -1)))
    with pytest.raises(sqlite3.OperationalError, match="locked by another process"):
        journal._settle_elsewhere(busy)


def test_a_file_that_is_moved_takes_all_its_rows_along(path: Path) -> None:
    """Also those of another process that has it open; what comes then is in the new file, whoever writes first."""
    elsewhere = path.with_name("moved.db")
    with closing(Journal(str(path))) as one, closing(Journal(str(path))) as another:
        one.write([entry_of(call(1), 1)])
        another.write([entry_of(call(1), 2)])
        path.rename(elsewhere)
        one.write([entry_of(call(2), 1)])
        another.write([entry_of(call(2), 2)])
        assert [(row["process"], row["call"]) for row in rows(elsewhere)] == [(1, 1), (2, 1)]
        assert [(row["process"], row["call"]) for row in rows(path)] == [(1, 2), (2, 2)]


def test_a_file_that_is_moved_before_the_end_takes_its_rows_along(path: Path, ledger: Ledger) -> None:
    """Though nothing is written after that."""
    ledger(call(1))
    assert ledger.flush()
    path.rename(path.with_name("moved.db"))
    ledger.close(is_written=True)
    assert len(rows(path.with_name("moved.db"))) == 1


def test_calls_beyond_the_queue_are_counted(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the file is locked the queue fills; what does not fit is lost, and the ledger says how much that was."""
    monkeypatch.setattr(_ledger, "_CAPACITY", 3)
    ledger(call(0))
    assert ledger.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for number in range(1, 9):
            ledger(call(number))
        assert not ledger.flush(0.1)
        other.execute("ROLLBACK")
    assert ledger.flush()
    assert len(rows(path)) + lost(path) == 9
    assert lost(path) > 0
    assert caplog.records == []


def test_lost_calls_are_of_the_day_on_which_they_began(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the file is locked: reconciliation of a day tells of those alone."""
    monkeypatch.setattr(_ledger, "_CAPACITY", 0)
    day_ns = 86_400 * 10**9
    for number, started_ns in enumerate((NOON_NS, NOON_NS + day_ns, NOON_NS)):
        ledger(call(number, started_ns=started_ns))
    assert ledger.flush()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT day, calls FROM lost ORDER BY day").fetchall() == [
            ("2026-11-26", 2),
            ("2026-11-27", 1),
        ]


def test_what_cannot_be_a_row_is_counted(path: Path, ledger: Ledger) -> None:
    """The calls beside it are written."""
    ledger(call(1))
    ledger(call(2, started_ns=10**30))
    ledger(call(3))
    assert ledger.flush()
    assert [row["call"] for row in rows(path)] == [1, 3]
    assert lost(path) == 1


class _Short(sqlite3.Connection):
    """A connection whose texts have to be short, as those of each have to be shorter than 1 GB."""

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Refuse what is too long, as SQLite does."""
        if any(isinstance(value, str) and len(value) > 100_000 for value in parameters):
            raise sqlite3.DataError("string or blob too big")
        return super().execute(sql, parameters)


def test_a_call_too_large_for_sqlite_keeps_no_other_back(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is lost and counted, with one warning; those before and after it are written, also of a batch too large."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Short))
    texts = ["", "x" * 200_000, "x" * 60_000, "x" * 60_000, "x" * 200_000, ""]
    for number, text in enumerate(texts):
        ledger(call(number, request=Request("chat", "openrouter", None, "openrouter.ai", 443, attributes={"a": text})))
    assert ledger.flush()
    assert [row["call"] for row in rows(path)] == [0, 2, 3, 5]
    assert lost(path) == 2
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the ledger {path} cannot take a call (string or blob too big). It is lost")


def _corrupt(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def _another(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE calls (mine)")


def _later(path: Path) -> None:
    with closing(open_ledger(path, make=True)) as connection:
        connection.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_corrupt, "file is not a database"),
        (_another, "another application's database"),
        (_later, "written by a later version"),
        (lambda path: (path.parent / "costs.db").symlink_to("no/such/folder/costs.db"), "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_warning(
    spoil: Callable[[Path], None], why: str, path: Path, caplog: pytest.LogCaptureFixture, client: openai.OpenAI
) -> None:
    """The calls go on, and what is in the file is left as it is."""
    spoil(path)
    before = path.read_bytes() if path.exists() else None
    or_instrument.instrument(hosts=["127.0.0.1"], ledger=path)
    for _ in range(3):
        assert client.chat.completions.create(model="a/model", messages=[]).choices
        assert not or_instrument.flush(0.1)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the ledger {path.resolve()} cannot be written (")
    assert why in record.getMessage()
    assert before is None or path.read_bytes() == before
    open_ledgers._ledgers.clear()


def test_a_broken_ledger_that_was_left_holds_no_other_up(
    path: Path, caplog: pytest.LogCaptureFixture, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets one more try, its calls are told as lost, and `flush()` is about the ledger in use again."""
    monkeypatch.setattr(open_ledgers, "_ledgers", {})
    broken = path.parent / "no" / "costs.db"
    or_instrument.instrument(hosts=["127.0.0.1"], ledger=broken)
    for _ in range(3):
        assert client.chat.completions.create(model="a/model", messages=[]).choices
    assert not or_instrument.flush(0.1)
    or_instrument.uninstrument()
    or_instrument.instrument(hosts=["127.0.0.1"], ledger=path)
    assert client.chat.completions.create(model="a/model", messages=[]).choices
    left, waits = open_ledgers._ledgers[str(broken)], list[float]()
    flush = left.flush

    def spied(timeout_s: float) -> bool:
        waits.append(timeout_s)
        return flush(timeout_s)

    monkeypatch.setattr(left, "flush", spied)
    assert not open_ledgers.flush_ledgers()
    assert len(rows(path)) == 1
    assert open_ledgers.flush_ledgers()
    assert waits == [0, 0]
    assert "could not take 3 calls" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2


@pytest.mark.parametrize("is_locked", [False, True], ids=["broken", "locked"])
def test_what_cannot_be_written_at_the_end_is_told(
    is_locked: bool, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many calls, and of which ledger; a call that comes later may still be written."""
    monkeypatch.setattr(open_ledgers, "_ledgers", {})
    monkeypatch.setattr(_ledger, "_GATHER_S", 60.0)
    at = path if is_locked else path.parent / "no" / "costs.db"
    write(path, [entry_of(call(9), 1)])
    ledger = open_ledgers.ledger_at(str(at))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(3):
            ledger(call(number))
        open_ledgers.close_ledgers(0.1)
    last = caplog.records[-1].getMessage()
    assert last == f"the ledger {at} could not take 3 calls, lost if this process ends."
    caplog.clear()
    at.parent.mkdir(exist_ok=True)
    open_ledgers.close_ledgers()
    assert not caplog.records
    assert len(rows(at)) == 3 + is_locked


def test_a_locked_ledger_that_was_left_is_written_once_it_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost for a moment in which another process writes."""
    monkeypatch.setattr(open_ledgers, "_ledgers", {})
    write(path, [entry_of(call(9), 1)])
    left = open_ledgers.ledger_at(str(path))
    open_ledgers.leave_ledger()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        left(call(1))
        assert not open_ledgers.flush_ledgers(0)
        other.execute("ROLLBACK")
    assert open_ledgers.flush_ledgers()
    assert len(rows(path)) == 2


def test_a_full_disk_is_one_warning_and_what_waits_is_written_later(
    path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Once there is room again."""
    ledger(call(0))
    assert ledger.flush()
    connection = ledger._books()._journal._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(1, 200):
        ledger(call(number))
    assert not ledger.flush(0.1)
    assert [("disk is full" in record.getMessage()) for record in caplog.records] == [True]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert ledger.flush()
    assert len(rows(path)) == 200


def test_a_ledger_of_this_version_is_opened_by_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which brings it up to date and keeps its rows, whoever of several processes comes first."""
    write(path, [entry_of(call(), 1)])
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE calls ADD COLUMN more TEXT;\n"))
    with closing(open_ledger(path)), closing(open_ledger(path)) as connection:
        told = connection.execute("SELECT call, spend, more FROM calls").fetchall()
        assert told == [(1, "0.25", None)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    monkeypatch.undo()
    with pytest.raises(NotALedgerError, match="later version"):
        open_ledger(path)


def test_a_ledger_of_the_first_version_begins_with_its_first_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since when it had been written was not kept then."""
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        write(path, [entry_of(call(), 1)])
    with closing(open_ledger(path)) as connection:
        assert own_side.coverage_of(connection) == (utc(NOON_NS), "")


def test_a_ledger_that_is_not_there_is_not_made_by_its_readers(path: Path) -> None:
    """A wrong path is an error, not an empty ledger."""
    with pytest.raises(FileNotFoundError):
        open_ledger(path)
    assert not path.exists()


def test_half_a_surrogate_pair_makes_no_row_unreadable() -> None:
    """It becomes a question mark, as it cannot be written in UTF-8."""
    request = call().request._replace(attributes={"tag": "\ud800x"})
    text = encoded([entry_of(call(request=request), 1)])
    assert json.loads(json.loads(text)[0][-1]) == {"tag": "?x"}


PROGRAM = """
import os, sys, threading, time
from or_instrument import Call, Reply, Request, Usage
from or_instrument._money.open_ledgers import flush_ledgers, ledger_at

ledger = ledger_at(sys.argv[1])

def call(number):
    request = Request("chat", "openrouter", "a/model", "openrouter.ai", 443)
    reply = Reply(model="a/model", usage=Usage(cost=0.1, is_byok=False))
    return Call(number, request, reply, "complete", time.time_ns(), 0.0)
"""
TO_BE_KILLED = f"""{PROGRAM}
number = 0
while True:
    for _ in range(20):
        number += 1
        ledger(call(number))
    if flush_ledgers():
        print(number, flush=True)
"""
MANY_THREADS = f"""{PROGRAM}
def work(first):
    for number in range(first, first + 50):
        ledger(call(number))

threads = [threading.Thread(target=work, args=(1000 * each,)) for each in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(0 if flush_ledgers(60) else 1)
"""
FORKS = f"""{PROGRAM}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
stop = threading.Event()

def write():
    number = 0
    while not stop.is_set():
        number += 1
        ledger(call(number))
        time.sleep(0.0005)
    print(number, flush=True)

writer = threading.Thread(target=write)
writer.start()
for _ in range(12):
    pid = os.fork()
    if pid == 0:
        ledger(call(1))
        os._exit(0 if flush_ledgers(60) else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
writer.join()
sys.exit(0 if flush_ledgers(60) else 1)
"""


DAEMON = f"""{PROGRAM}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
from or_instrument._money.open_ledgers import close_ledgers

ledger(call(1))
assert flush_ledgers()
has_ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    ledger(call(1))
    assert flush_ledgers()
    os.read(has_ended, 1)
    ledger(call(2))
    assert flush_ledgers()
    os.kill(os.getpid(), 9)
close_ledgers()
"""

PATIENCE_S = 90


def run(program: str, path: Path) -> subprocess.Popen[str]:
    """Start a program that writes into a ledger."""
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Return what a program has printed, which must end with the exit code; kill one that hangs, and its children."""
    try:
        out, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == code
    return out


def test_what_was_confirmed_outlives_kill_9(path: Path) -> None:
    """Killed in the middle of writing, again and again, into one file: no row that `flush()` confirmed is missing."""
    confirmed = 0
    for round_ in range(int(os.environ.get("OR_INSTRUMENT_TEST_KILLS", "3"))):
        with run(TO_BE_KILLED, path) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(1 + round_ % 5)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().splitlines(keepends=True)
        confirmed += int([line for line in lines if line.endswith("\n")][-1])
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (count, distinct) = connection.execute(
                "SELECT count(*), count(DISTINCT process || ' ' || call) FROM calls"
            ).fetchone()
        assert count == distinct
        assert count >= confirmed


def test_processes_and_threads_share_a_ledger(path: Path) -> None:
    """Four processes of eight threads, at once and from the first statement on: every row is there, once."""
    processes = [run(MANY_THREADS, path) for _ in range(4)]
    for process in processes:
        ended(process)
    told = rows(path)
    assert len(told) == 4 * 8 * 50
    assert len({row["process"] for row in told}) == 4
    assert sum(row["spend_e12"] for row in told) * E12 == Decimal("0.1") * len(told)


def test_who_forks_lets_go_of_what_he_holds_himself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waited in vain for a ledger freed it for another thread, which had it by then and was to fork."""
    ledger = Ledger(str(path))
    writing, comparing = ledger._books().writing, open_ledgers.COMPARING()
    monkeypatch.setattr(open_ledgers, "_ledgers", {str(path): ledger})
    monkeypatch.setattr(open_ledgers, "_FORK_WAIT_S", 0)
    monkeypatch.setattr(_ledger, "_STATEMENT_S", 0)
    with writing:
        open_ledgers._hold_all()
    steps = [threading.Event(), threading.Event()]

    def fork() -> None:
        open_ledgers._hold_all()
        steps[0].set()
        steps[1].wait(60)
        open_ledgers._let_go_all()

    other = threading.Thread(target=fork)
    other.start()
    assert steps[0].wait(60)
    open_ledgers._let_go_all()
    held = writing.locked(), comparing.locked()
    steps[1].set()
    other.join()
    assert (held, writing.locked()) == ((True, False), False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_write_rows_of_their_own(path: Path) -> None:
    """While the parent writes; their calls have the same numbers, and no child hangs or takes a row of the parent's."""
    with run(FORKS, path) as process:
        out = ended(process)
    told = rows(path)
    assert len(told) == int(out) + 12
    assert len({row["process"] for row in told}) == 13


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_a_child_has_confirmed_outlives_its_parent(path: Path) -> None:
    """The parent's end, and a reader's, throw away no log that a child which was forked off still writes."""
    with run(DAEMON, path) as process:
        ended(process)
    assert len(rows(path)) == 3


def test_a_caller_does_not_wait_for_a_locked_file(path: Path, ledger: Ledger) -> None:
    """Nor does a thread beside it: the writer is never inside SQLite for longer than a try."""
    ledger(call(0))
    assert ledger.flush()
    done = threading.Event()

    def go() -> None:
        for number in range(1, 50):
            ledger(call(number))
        done.set()

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Thread(target=go).start()
        assert done.wait(60)
        other.execute("ROLLBACK")
    assert ledger.flush()
    assert len(rows(path)) == 50


ENDS = {
    "exit": "",
    "sigterm": "os.kill(os.getpid(), signal.SIGTERM)",
    "child": """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=ask)
child.start()
child.join()
""",
}
ENDING = """
import os, signal, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import multiprocessing.util
import openai, or_instrument

or_instrument.instrument(hosts=["127.0.0.1"], ledger=sys.argv[1])

def ask():
    client = openai.OpenAI(api_key="k", base_url=os.environ["FAKE_URL"])
    client.chat.completions.create(model="a/model", messages=[])

ask()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork and no SIGTERM")
@pytest.mark.parametrize(("end", "count"), [("exit", 1), ("sigterm", 1), ("child", 2)])
def test_the_end_of_a_process_loses_nothing(
    end: str, count: int, path: Path, fake: FakeOpenRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own end, SIGTERM, and that of a forked child, which runs no exit functions. All is in the one file then."""
    monkeypatch.setenv("FAKE_URL", fake.base_url)
    with run(ENDING + ENDS[end], path) as process:
        ended(process, -signal.SIGTERM if end == "sigterm" else 0)
    assert list(path.parent.iterdir()) == [path]
    assert len(rows(path)) == count


def test_flush_confirms_nothing_that_is_still_being_made_a_row(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that has left the queue, and is not in the file yet, counts as not written."""
    began, go_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> Entry:
        began.set()
        assert go_on.wait(60)
        return entry_of(*args)

    monkeypatch.setattr(books, "entry_of", slow)
    kept = Ledger(str(path))
    kept(call())
    assert began.wait(60)
    assert not kept.flush(0.05)
    go_on.set()
    assert kept.flush(60)
    assert len(rows(path)) == 1
    kept._worker.stop()
    kept._books()._journal.close()


NO_SQLITE = "import logging, sys; sys.modules['_sqlite3'] = None; logging.basicConfig(); import or_instrument as o\n"


def without_sqlite(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run code on a Python that was built without SQLite."""
    command = [sys.executable, "-c", NO_SQLITE + code]
    return subprocess.run(
        command, check=True, timeout=60, text=True, capture_output=True, env={**os.environ, **environ}
    )


def test_a_python_without_sqlite_records_without_a_ledger(fake: FakeOpenRouter) -> None:
    """Who keeps none need not have it: calls are recorded, the account is observed, and commands run."""
    without_sqlite(
        f"""
import openai
from or_instrument._cli.main import main
client = openai.OpenAI(api_key="k", base_url={fake.base_url!r})
calls = []
o.instrument(hosts=["127.0.0.1"], sinks=[calls.append])
with o.observe_account(client) as gauges:
    gauges.refresh()
    assert gauges._last is not None
client.chat.completions.create(model="a/model", messages=[])
assert o.flush() and len(calls) == 1
assert main(["cost", "--ledger", "x.db"]) == 2
"""
    )


def test_a_ledger_without_sqlite_is_told(fake: FakeOpenRouter) -> None:
    """Asked for in code it is a ConfigError; by its variable it is one warning, and the calls go on."""
    done = without_sqlite(
        f"""
import openai
try:
    o.instrument(ledger="x.db")
except o.ConfigError as exc:
    assert "without SQLite" in str(exc) and "x.db" in str(exc), exc
else:
    raise SystemExit("not refused")
assert not o.is_instrumented()
calls = []
o.instrument(hosts=["127.0.0.1"], sinks=[calls.append])
openai.OpenAI(api_key="k", base_url={fake.base_url!r}).chat.completions.create(model="a/model", messages=[])
assert o.flush() and len(calls) == 1
""",
        OR_INSTRUMENT_LEDGER="y.db",
    )
    (warning,) = done.stderr.splitlines()
    assert "OR_INSTRUMENT_LEDGER: this Python was built without SQLite" in warning


def test_what_is_no_regular_file_is_refused_before_it_is_opened(path: Path) -> None:
    """A pipe would be waited for, and the mode of a device is everybody's."""
    os.mkfifo(path, 0o644)
    path.chmod(0o644)
    for make in (False, True):
        with pytest.raises(NotALedgerError, match="is no regular file"):
            open_ledger(path, make=make)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_that_becomes_a_pipe_is_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture, client: openai.OpenAI
) -> None:
    """The calls go on, also those after it."""
    or_instrument.instrument(hosts=["127.0.0.1"], ledger=path)
    os.mkfifo(path)
    for _ in range(3):
        assert client.chat.completions.create(model="a/model", messages=[]).choices
        assert not or_instrument.flush(0.1)
    (record,) = caplog.records
    assert f"{path} is no regular file" in record.getMessage()
    open_ledgers._ledgers.clear()


def test_an_empty_file_becomes_its_owner_s_alone(path: Path) -> None:
    """As where somebody has made it beforehand; the modes of a ledger are not changed."""
    path.touch(0o644)
    path.chmod(0o644)
    write(path, [entry_of(call(), 1)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    write(path, [entry_of(call(2), 1)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
