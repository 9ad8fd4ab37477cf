"""The log on PostgreSQL: the same as on SQLite, and what only a server can do to us."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from service.decision_log.group_commit import StoreWriter

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log import queries
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.policy_stats import policy_stats
from service.decision_log.postgres_store import PostgresStore
from service.decision_log.queries import TimeSpan
from service.decision_log.recall import recall
from service.decision_log.retention import prune
from service.decision_log.rows import LogEntry, entry_of, together
from service.decision_log.tables import metadata
from service.errors import ConfigurationError, StoreUnavailable
from tests.e2e.decision_log.instances import covercard
from tests.e2e.decision_log.postgres import Postgres
from tests.unit.decision_log.builders import AT, answer_showing, call, shown
from tests.unit.decision_log.test_stats_and_prune import said

HOUR, MONTH = timedelta(hours=1), timedelta(days=31)


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    """A new database with its tables."""
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS log WITH (FORCE)")
        connection.execute("CREATE DATABASE log")
    url = server.url_of("log")
    table_revisions.upgrade(url, DECISION_LOG)
    yield url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    store.ping(time.monotonic() + 5)
    yield store
    store.close()


def soon() -> float:
    return time.monotonic() + 5


def test_the_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    def is_told(name: str | None, kind: str, _: object) -> bool:
        return kind != "table" or not re.fullmatch(r"[a-z]+_(default|\d{4}_\d\d)", name or "")

    with open_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_told})
        assert compare_metadata(context, metadata) == []


def test_until_its_tables_are_there_a_start_says_what_to_run(
    server: Postgres, open_folder: Path
) -> None:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS empty WITH (FORCE)")
        connection.execute("CREATE DATABASE empty")
    url = server.url_of("empty")
    with pytest.raises(ConfigurationError, match="covercard db upgrade"):
        table_revisions.prepare(url, DECISION_LOG)
    started = covercard(open_folder, "serve", database_url=url, port=1)
    assert started.returncode == 2
    assert "covercard db upgrade" in started.stderr
    assert covercard(open_folder, "db", "upgrade", database_url=url).returncode == 0
    table_revisions.prepare(url, DECISION_LOG)


def test_entries_are_kept_once_however_often_and_however_they_come(
    store: PostgresStore, url: str
) -> None:
    calls = [
        entry_of(call(at=AT + n * HOUR, cards=[shown(f"card-{n}", form=True)])) for n in range(5)
    ]
    feedback = LogEntry(feedback=[said("card-0", "accepted")])
    store.write(calls[0], soon())
    store.write(together([*calls, feedback]), soon())
    store.write(together([*calls, feedback]), soon())
    with open_engine(url).connect() as connection:
        assert queries.count_calls(connection, TimeSpan()) == 5
        (nothing, policy) = sorted(policy_stats(connection, TimeSpan()), key=lambda s: s.cards)
    assert (nothing.calls, policy.cards, policy.forms_started) == (5, 5, 1)


def test_what_is_kept_comes_back_as_it_was(store: PostgresStore, url: str) -> None:
    record = call(
        request=b'{"n":1.00,"odd":"\\u0000 \xc3\xa9"}',
        answer=answer_showing("a"),
        patient="Patient/\0odd '\"\\ \N{SNOWMAN}",
        hook_instance="{}%s$1",
    )
    store.write(entry_of(record), soon())
    with open_engine(url).connect() as connection:
        found = queries.one_call(connection, record.id)
    assert found is not None
    assert (found.kept.request, found.kept.answer) == (record.request, record.answer)
    assert found.row == entry_of(record).calls[0]
    assert list(found.determinations) == entry_of(record).determinations


def test_reading_and_pruning_work_as_on_sqlite(store: PostgresStore, url: str) -> None:
    store.write(
        together(
            [
                entry_of(call(assertion_id="cc-old", cards=[shown("old")])),
                entry_of(call(assertion_id="cc-new", at=AT + MONTH, cards=[shown("new")])),
            ]
        ),
        soon(),
    )
    engine = open_engine(url)
    with engine.connect() as connection:
        (new,) = queries.by_assertion(connection, "cc-new", 5)
        assert queries.replaced_by_log(connection, new) == "cc-old"
        assert len(queries.find(connection, patient="Patient/ann", most=5)) == 2
    found = recall(url, "cc-old", "clinic")
    assert found is not None
    assert found.order == "ServiceRequest/mrs"
    assert prune(engine, AT + timedelta(days=7)) == 0  # whole months are removed
    assert prune(engine, AT + MONTH) == 1
    with engine.connect() as connection:
        assert [c.row.call_id for c in queries.all_calls(connection, TimeSpan())] == [new.call_id]


def test_a_server_set_to_answer_before_it_is_durable_is_overruled(
    server: Postgres, url: str
) -> None:
    with server.connect("log") as connection:
        connection.execute("ALTER DATABASE log SET synchronous_commit TO off")
    store = PostgresStore(url)
    store.ping(soon())
    assert store._connection is not None
    assert store._connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    store.close()


@contextmanager
def watched(writer: StoreWriter) -> Iterator[None]:
    """Somebody hangs up on what is late, as the recorder does."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            writer.hang_up_if_late()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    over.set()
    thread.join()


def test_a_write_to_a_server_that_hangs_ends_and_the_next_connection_writes(
    server: Postgres, store: PostgresStore, url: str
) -> None:
    writer = StoreWriter(store)
    with watched(writer):
        writer.write(entry_of(call()), 5)
        server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                writer.write(entry_of(call(at=AT + HOUR)), 0.1)
            with pytest.raises(StoreUnavailable):
                writer.ping(0.1)
        finally:
            server.signal(signal.SIGCONT)
        writer.ping(10)
        writer.write(entry_of(call(at=AT + 2 * HOUR)), 5)
    with open_engine(url).connect() as connection:
        assert queries.count_calls(connection, TimeSpan(since=AT + 2 * HOUR)) == 1


def test_a_connection_that_the_server_ended_is_made_anew(
    server: Postgres, store: PostgresStore, url: str
) -> None:
    with server.connect("postgres") as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'log'"
        )
    with pytest.raises(StoreUnavailable):
        store.write(entry_of(call()), soon())
    store.ping(soon())
    store.write(entry_of(call()), soon())
    with open_engine(url).connect() as connection:
        assert queries.count_calls(connection, TimeSpan()) == 1


def test_a_command_on_a_server_that_is_not_there_says_so_with_exit_code_3(
    open_folder: Path,
) -> None:
    nowhere = "postgresql+psycopg://covercard@127.0.0.1:1/covercard"
    found: subprocess.CompletedProcess[str] = covercard(
        open_folder, "decisions", "find", database_url=nowhere
    )
    assert found.returncode == 3
    assert "cannot be reached" in found.stderr
    assert "Traceback" not in found.stderr
