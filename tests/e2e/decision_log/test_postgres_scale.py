"""The log on PostgreSQL at scale: months as partitions, an index for each look-up, two roles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import ProgrammingError

from service.auth.auth_tables import AUTH
from service.auth.rate_limit import SqlCallCounts
from service.auth.replay_detection import SqlReplayStore
from service.database import table_revisions
from service.database.backup import back_up, restore
from service.database.engines import open_engine, open_pool
from service.decision_log import decision_detail, queries, tables
from service.decision_log.instants import new_call_id
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.partitions import (
    MONTHS_AHEAD,
    PARTITIONED,
    coming_months,
    make_months_ahead,
    month_of,
    months,
    next_month,
    partition_statement,
)
from service.decision_log.postgres_store import PostgresStore
from service.decision_log.queries import TimeSpan
from service.decision_log.retention import planned, prune
from service.decision_log.rows import AccessRow, LogEntry, entry_of, together
from service.decision_log.soundness import check_database
from service.decision_log.tables import metadata
from service.errors import ConfigurationError
from tests.e2e.decision_log.instances import covercard
from tests.e2e.decision_log.postgres import Postgres
from tests.unit.decision_log.builders import call, shown
from tests.unit.decision_log.test_stats_and_prune import said

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def new_database(server: Postgres, name: str) -> str:
    with server.connect("postgres") as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return server.url_of(name)


@pytest.fixture
def url(server: Postgres) -> str:
    url = new_database(server, "scale")
    table_revisions.upgrade(url, DECISION_LOG)
    return url


def write(url: str, *records: Any) -> None:
    store = PostgresStore(url)
    store.ping(time.monotonic() + 5)
    store.write(together(records), time.monotonic() + 5)
    store.close()


def write_as_before(url: str, *entries: LogEntry) -> None:
    """Writes rows as a version did that had neither partitions nor a chain."""
    with open_engine(url).begin() as connection:
        for entry in entries:
            for table, rows in (
                (tables.call, entry.calls),
                (tables.determination, entry.determinations),
                (tables.card, entry.cards),
            ):
                for row in rows:
                    columns = msgspec.structs.asdict(row)
                    columns.pop("policies_digest", None)
                    connection.execute(insert(table).values(columns))


def partition_of(connection: Connection, table: str) -> list[str]:
    """The partition of each row, in order of their keys."""
    key = PARTITIONED[table]
    rows = connection.execute(text(f"SELECT tableoid::regclass::text FROM {table} ORDER BY {key}"))
    return [str(name) for name in rows.scalars()]


def test_a_new_log_has_a_partition_for_this_month_and_each_of_the_next(url: str) -> None:
    wanted = list(coming_months(month_of(NOW), NOW))
    assert len(wanted) == MONTHS_AHEAD + 1
    write(url, entry_of(call(at=NOW, cards=[shown("no-uuid")])))
    with open_engine(url).connect() as connection:
        for table in PARTITIONED:
            assert months(connection, table) == wanted
        assert partition_of(connection, "call") == [f"call_{NOW:%Y_%m}"]
        assert partition_of(connection, "determination") == [f"determination_{NOW:%Y_%m}"]
        assert partition_of(connection, "card") == ["card_default"]


def test_the_coming_months_are_made_once_and_no_row_hinders_them(url: str) -> None:
    later = NOW + timedelta(days=31 * (MONTHS_AHEAD + 3))
    write(url, entry_of(call(at=later)))
    with open_engine(url).connect() as connection:
        assert partition_of(connection, "call") == ["call_default"]
        assert make_months_ahead(connection, NOW) == 0
        made = make_months_ahead(connection, later)
        assert make_months_ahead(connection, later) == 0
        assert month_of(later) not in months(connection, "call")
        assert month_of(later) in months(connection, "card")
        assert next_month(month_of(later)) in months(connection, "call")
    assert made > 3 * 10


def test_rows_of_an_old_installation_are_taken_over_where_they_are(server: Postgres) -> None:
    url = new_database(server, "former")
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(DECISION_LOG.folder))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    ahead = NOW + 4000 * DAY
    old = [
        entry_of(call(at=at, assertion_id=f"cc-{n}", cards=[shown(f"card-{n}")]))
        for n, at in enumerate((NOW - 900 * DAY, NOW - DAY, NOW, ahead))
    ]
    write_as_before(url, *old)
    with engine.connect() as connection:
        nodes = connection.execute(text("SELECT relfilenode FROM pg_class WHERE relname = 'call'"))
        (node,) = nodes.scalars()
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    write(url, *old)  # what comes again is still known
    after = next_month(month_of(NOW)) + DAY
    write(url, entry_of(call(at=after, assertion_id="cc-after")))
    with engine.connect() as connection:
        assert partition_of(connection, "call") == [
            *["call_before"] * 3,
            f"call_{after:%Y_%m}",
            "call_default",
        ]
        kept = connection.execute(
            text("SELECT relfilenode FROM pg_class WHERE relname = 'call_before'")
        )
        assert kept.scalar() == node  # not one row was copied
        for n, entry in enumerate(old):
            found = decision_detail.by_assertion(connection, f"cc-{n}")
            assert found is not None
            assert found.call.row == entry.calls[0]
        assert connection.execute(text("SELECT count(*) FROM card")).scalar() == 4


def test_the_migration_can_be_taken_back(server: Postgres, url: str) -> None:
    write(url, entry_of(call(at=NOW, cards=[shown("a")])))
    config = Config()
    config.set_main_option("script_location", str(DECISION_LOG.folder))
    with open_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    write_as_before(url, entry_of(call(at=NOW, assertion_id="cc-2")))
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    with open_engine(url).connect() as connection:
        assert queries.count_calls(connection, TimeSpan()) == 2


def test_whole_months_go_with_their_partitions_and_the_rest_row_by_row(url: str) -> None:
    engine = open_engine(url)
    first = month_of(NOW - 200 * DAY)
    following = [first]
    while len(following) < 3:
        following.append(next_month(following[-1]))
    with engine.begin() as connection:
        for table in PARTITIONED:
            for month in following:
                connection.execute(text(partition_statement(table, month)))
    ages = [first - 20 * DAY, *(m + 10 * DAY for m in following), NOW]
    write(
        url,
        *(entry_of(call(at=at, cards=[shown(f"card-{n}")])) for n, at in enumerate(ages)),
    )
    with engine.connect() as connection:
        removal = planned(connection, following[2] + 25 * DAY)
    assert (removal.before, removal.calls) == (following[2], 3)
    assert prune(engine, following[2] + 25 * DAY) == 3
    with engine.connect() as connection:
        assert months(connection, "call")[0] == following[2]
        assert partition_of(connection, "call") == [
            f"call_{following[2]:%Y_%m}",
            f"call_{NOW:%Y_%m}",
        ]
        assert connection.execute(text("SELECT count(*) FROM determination")).scalar() == 2
        assert connection.execute(text("SELECT count(*) FROM card")).scalar() == 2


def test_dropping_a_month_waits_for_no_one_and_lets_no_one_wait(url: str) -> None:
    """A reader that holds the table does not make writers queue behind the drop."""
    engine = open_engine(url)
    old = month_of(NOW - 400 * DAY)
    with engine.begin() as connection:
        for table in PARTITIONED:
            connection.execute(text(partition_statement(table, old)))
    write(url, entry_of(call(at=old + DAY)))
    reader = open_engine(url).connect()
    reader.execute(text("SELECT count(*) FROM call"))
    removed: list[int] = []
    pruning = threading.Thread(target=lambda: removed.append(prune(engine, NOW - 100 * DAY)))
    pruning.start()
    slowest = 0.0
    for n in range(8):
        begun = time.monotonic()
        write(url, entry_of(call(at=NOW + n * timedelta(seconds=1))))
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.1)
    assert removed == []
    reader.close()
    pruning.join(30)
    assert removed == [1]
    assert slowest < 3


# Roles -------------------------------------------------------------------------------------------


@pytest.fixture
def served(server: Postgres, url: str, open_folder: Path) -> Iterator[str]:
    """The URL of a database with its tables, for the role that serves."""
    with server.connect("postgres") as connection:
        connection.execute("DROP ROLE IF EXISTS serving")
        connection.execute("CREATE ROLE serving LOGIN")
    table_revisions.upgrade(url, AUTH)
    granted = covercard(open_folder, "db", "grant", "serving", database_url=url)
    assert granted.returncode == 0, granted.stderr
    assert 'GRANT SELECT, INSERT ON "call" TO "serving"' in granted.stdout
    yield url.replace("covercard@", "serving@")
    with server.connect("scale") as connection:
        connection.execute("DROP OWNED BY serving")
        connection.execute("DROP ROLE serving")


def test_the_serving_role_records_and_reads(served: str) -> None:
    table_revisions.prepare(served, DECISION_LOG)
    table_revisions.prepare(served, AUTH)
    record = call(at=NOW, cards=[shown("a")])
    write(served, entry_of(record), LogEntry(feedback=[said("a", "accepted", at=NOW)]))
    write(served, LogEntry(accesses=[AccessRow(new_call_id(NOW), 0, "ann", "show", "{}")]))
    with open_engine(served).connect() as connection:
        found = decision_detail.by_assertion(connection, "cc-1")
        assert found is not None
        assert found.call.row.call_id == record.id
    tokens = SqlReplayStore(open_pool(served, 2))
    assert tokens.first_use("a", "1", NOW + DAY)
    assert not tokens.first_use("a", "1", NOW + DAY)
    assert SqlCallCounts(open_pool(served, 2)).add("a", 7) == 1


CHANGES = [
    *(f"{verb} {table}" for table in metadata.tables for verb in ("DELETE FROM", "TRUNCATE")),
    "UPDATE call SET client = 'another'",
    "UPDATE determination SET covered = 'covered'",
    "UPDATE access_log SET who = 'nobody'",
    "DROP TABLE feedback",
    f"DROP TABLE call_{NOW:%Y_%m}",
    f"DELETE FROM call_{NOW:%Y_%m}",
    "DELETE FROM call_default",
    "ALTER TABLE call DETACH PARTITION call_default",
    "UPDATE alembic_version SET version_num = '0001'",
]


@pytest.mark.threat("files-at-rest")
def test_the_serving_role_changes_no_evidence(served: str) -> None:
    write(served, entry_of(call(at=NOW)))
    for statement in CHANGES:
        with (
            open_engine(served).connect() as connection,
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        ):
            connection.execute(text(statement))


def test_a_role_that_is_not_there_is_named(url: str, open_folder: Path) -> None:
    granted = covercard(open_folder, "db", "grant", "nobody", database_url=url)
    assert granted.returncode == 2
    assert "there is no role 'nobody'" in granted.stderr


# Backup ------------------------------------------------------------------------------------------


def test_a_backup_is_restored_into_an_empty_database_only(
    server: Postgres, url: str, open_folder: Path, tmp_path: Path
) -> None:
    record = call(at=NOW, cards=[shown("a")])
    write(url, entry_of(record))
    kept = (DECISION_LOG,)
    made = back_up(url, tmp_path / "records", tmp_path / "backup", kept, "0.1.0")
    assert made.database == "postgresql"
    with pytest.raises(ConfigurationError, match="has tables already"):
        restore(tmp_path / "backup", url, tmp_path / "other", kept)
    empty = new_database(server, "restored")
    restore(tmp_path / "backup", empty, tmp_path / "other", kept)
    with open_engine(empty).connect() as connection:
        found = queries.one_call(connection, record.id)
        assert found is not None
        assert found.row == entry_of(record).calls[0]
        assert months(connection, "call") == list(coming_months(month_of(NOW), NOW))
    assert check_database(empty, kept).wrong == ()


def test_without_pg_dump_a_backup_says_what_to_use(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="install PostgreSQL's client programs"):
        back_up(url, tmp_path / "records", tmp_path / "backup", (DECISION_LOG,), "0.1.0")
    assert not (tmp_path / "backup").exists()


# Replica -----------------------------------------------------------------------------------------


def test_commands_read_from_the_replica_and_put_the_access_on_record_in_the_database(
    server: Postgres, url: str, open_folder: Path
) -> None:
    """A second database stands for the replica: it has a call that the database itself has not."""
    replica = new_database(server, "replica")
    table_revisions.upgrade(replica, DECISION_LOG)
    write(url, entry_of(call(at=NOW, assertion_id="cc-in-the-database")))
    write(replica, entry_of(call(at=NOW, assertion_id="cc-in-the-replica")))
    found = covercard(open_folder, "decisions", "find", database_url=url, read_database_url=replica)
    assert found.returncode == 0, found.stderr
    assert "cc-in-the-replica" in found.stdout
    assert "cc-in-the-database" not in found.stdout
    for database, expected in ((url, 1), (replica, 0)):
        with open_engine(database).connect() as connection:
            seen = connection.execute(text("SELECT count(*) FROM access_log WHERE what = 'find'"))
            assert seen.scalar() == expected
