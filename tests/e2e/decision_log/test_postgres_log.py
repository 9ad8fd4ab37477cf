"""The log on PostgreSQL: the same as on SQLite, and what only a server can do to us."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
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

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log import drain as drain_module
from service.decision_log import queries
from service.decision_log.chain_key import ChainKey
from service.decision_log.chain_writer import ChainWriter
from service.decision_log.drain import Drainer
from service.decision_log.frames import LogRecordKind
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.policy_stats import policy_stats
from service.decision_log.postgres_store import PostgresStore
from service.decision_log.queries import TimeSpan
from service.decision_log.recall import recall
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.retention import prune
from service.decision_log.rows import LogEntry, encode_entry, entry_of, together
from service.decision_log.tables import metadata
from service.decision_log.verification import verify
from service.errors import ConfigurationError, StoreUnavailable
from tests.e2e.decision_log.instances import covercard
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.servers import free_port
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
    store.ping(soon())
    yield store
    store.close()


def soon() -> float:
    return time.monotonic() + 60


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
        connection.execute("CREATE TABLE seen (setting text)")
        connection.execute(
            "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER see AFTER INSERT ON call FOR EACH ROW EXECUTE FUNCTION see()"
        )
    store = PostgresStore(url)
    store.ping(soon())
    store.write(entry_of(call()), soon())
    store.close()
    with server.connect("log") as connection:
        assert connection.execute("SELECT setting FROM seen").fetchall() == [("on",)]


def drainer_of(path: Path, url: str) -> tuple[ChainWriter, Drainer]:
    """A writer and a drainer of a folder."""
    folder = RecordsFolder(path)
    key = ChainKey(b"a key of thirty-two bytes, or so")

    def prepare() -> None:
        table_revisions.prepare(url, DECISION_LOG)

    drainer = Drainer(folder, PostgresStore(url), lambda: key, 1000.0, prepare)
    return ChainWriter(folder, lambda: key), drainer


def keep(writer: ChainWriter, *patients: str) -> None:
    for patient in patients:
        entry = entry_of(call(patient=patient, cards=[shown(f"card of {patient}")]))
        writer.append(LogRecordKind.CALL, encode_entry(entry))


def patients(server: Postgres, database: str = "log") -> list[str]:
    with server.connect(database) as connection:
        found = connection.execute("SELECT patient FROM call ORDER BY patient").fetchall()
    return [row[0] for row in found]


def drained(drainer: Drainer, seconds: float = 60) -> None:
    """Sweep until it succeeds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            drainer.sweep()
            return
        except (StoreUnavailable, ConfigurationError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_server_that_hangs_is_given_up_and_what_waited_comes_once(
    server: Postgres, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, drainer = drainer_of(tmp_path, url)
    keep(writer, "a", "b")
    drainer.sweep()
    server.signal(signal.SIGSTOP)
    # Only of the one that hangs: a busy machine's server may take longer.
    monkeypatch.setattr(drain_module, "_PING_SECONDS", 0.3)
    monkeypatch.setattr(drain_module, "BATCH_SECONDS", 0.3)
    try:
        keep(writer, "c")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            drainer.sweep()
        assert time.monotonic() - began < 5
    finally:
        server.signal(signal.SIGCONT)
        monkeypatch.undo()
    drained(drainer)
    assert patients(server) == ["a", "b", "c"]
    drainer.close()


def test_a_database_that_is_renamed_and_one_that_comes_back_empty_are_filled(
    server: Postgres, url: str, tmp_path: Path
) -> None:
    writer, drainer = drainer_of(tmp_path, url)
    keep(writer, "a", "b")
    drainer.sweep()
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'log'"
        )
        connection.execute("ALTER DATABASE log RENAME TO elsewhere")
    keep(writer, "c")
    with pytest.raises(StoreUnavailable):
        drainer.sweep()
    with server.connect("postgres") as connection:
        connection.execute("CREATE DATABASE log")
    with pytest.raises((StoreUnavailable, ConfigurationError)):
        drainer.sweep()
    table_revisions.upgrade(url, DECISION_LOG)
    drainer.look_at_all()
    drained(drainer)
    assert patients(server) == ["a", "b", "c"]
    assert patients(server, "elsewhere") == ["a", "b"]
    drainer.close()


def test_tables_of_a_newer_version_get_nothing_and_records_wait(
    server: Postgres, url: str, tmp_path: Path
) -> None:
    writer, drainer = drainer_of(tmp_path, url)
    keep(writer, "a")
    with server.connect("log") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999', usable_from = '9999'")
    with pytest.raises(ConfigurationError):
        drainer.sweep()
    assert patients(server) == []
    with server.connect("log") as connection:
        connection.execute(f"UPDATE alembic_version SET version_num = '{DECISION_LOG.revision}'")
    drained(drainer)
    assert patients(server) == ["a"]
    drainer.close()


def test_two_services_at_once_keep_each_record_once_and_the_chain_is_whole(
    server: Postgres, url: str, tmp_path: Path
) -> None:
    pairs = [drainer_of(tmp_path, url) for _ in range(2)]
    threads = [
        threading.Thread(target=keep, args=(writer, *(f"{n}-{i:03}" for i in range(100))))
        for n, (writer, _) in enumerate(pairs)
    ]
    sweeps = [threading.Thread(target=drained, args=(drainer,)) for _, drainer in pairs]
    for thread in (*threads, *sweeps):
        thread.start()
    for thread in (*threads, *sweeps):
        thread.join(60)
    for _, drainer in pairs:
        drained(drainer)
        drainer.close()
    assert patients(server) == [f"{n}-{i:03}" for n in range(2) for i in range(100)]
    with open_engine(url).connect() as connection:
        key = ChainKey(b"a key of thirty-two bytes, or so")
        result = verify(connection, RecordsFolder(tmp_path), key)
    assert result.whole, (result.first_break_in_rows, result.first_break_in_segments)
    assert result.records == result.records_in_segments == 202
    with server.connect("log") as connection:
        connection.execute("UPDATE call SET patient = 'x' WHERE patient = '1-050'")
    with open_engine(url).connect() as connection:
        broken = verify(connection, RecordsFolder(tmp_path), key).first_break_in_rows
    assert broken is not None
    assert broken.kind == "changed"


def test_through_a_pooler_in_transaction_mode_records_are_drained_and_read(
    server: Postgres, url: str, tmp_path: Path, open_folder: Path
) -> None:
    with pooler(open_folder / "pgbouncer", server) as pooled:
        writer, drainer = drainer_of(tmp_path, pooled)
        for n in range(20):
            keep(writer, f"{n:02}")
            drained(drainer)
        with open_engine(pooled).connect() as connection:
            for _ in range(10):
                assert queries.count_calls(connection, TimeSpan()) == 20
        drainer.close()
    assert patients(server) == [f"{n:02}" for n in range(20)]


@contextmanager
def pooler(folder: Path, server: Postgres) -> Iterator[str]:
    """pgbouncer in transaction mode before the server's database "log"; its URL."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed (apt-get install pgbouncer)")
    folder.mkdir(exist_ok=True)
    port = free_port()
    (folder / "users").write_text('"covercard" ""\n')
    (folder / "ini").write_text(
        f"[databases]\nlog = host=127.0.0.1 port={server.port} dbname=log\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = trust\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 3\n"
        f"unix_socket_dir =\nignore_startup_parameters = extra_float_digits\n"
    )
    folder.chmod(0o755)
    user = "postgres" if os.geteuid() == 0 else None
    process = subprocess.Popen(
        [program, "-q", str(folder / "ini")], user=user, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"postgresql+psycopg://covercard@127.0.0.1:{port}/log"
    finally:
        process.terminate()
        process.wait(timeout=60)


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
