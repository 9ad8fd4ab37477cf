"""The log on PostgreSQL at scale: months as partitions, an index for each look-up, two roles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from service.auth.replay_detection import SqlReplayStore, Use
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
    make_coming_months,
    make_months_ahead,
    month_of,
    months,
    name_of,
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
from tests.e2e.decision_log.instances import covercard, until
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.servers import free_port
from tests.token_uses import first_use
from tests.unit.decision_log.builders import call, shown
from tests.unit.decision_log.test_stats_and_prune import said

DAY = timedelta(days=1)


@pytest.fixture
def now() -> datetime:
    """The present, looked at as late as can be: the month may end while tests run."""
    return datetime.now(UTC)


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
    store.ping(time.monotonic() + 60)
    store.write(together(records), time.monotonic() + 60)
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
                    for later in ("policies_digest", "repeated"):
                        columns.pop(later, None)
                    connection.execute(insert(table).values(columns))


def partition_of(connection: Connection, table: str) -> list[str]:
    """The partition of each row, in order of their keys."""
    key = PARTITIONED[table]
    rows = connection.execute(text(f"SELECT tableoid::regclass::text FROM {table} ORDER BY {key}"))
    return [str(name) for name in rows.scalars()]


def test_a_new_log_has_a_partition_for_this_month_and_each_of_the_next(
    url: str, now: datetime
) -> None:
    wanted = list(coming_months(month_of(now), now))
    assert len(wanted) == MONTHS_AHEAD + 1
    write(url, entry_of(call(at=now, cards=[shown("no-uuid")])))
    with open_engine(url).connect() as connection:
        for table in PARTITIONED:
            assert months(connection, table) == wanted
        assert partition_of(connection, "call") == [f"call_{now:%Y_%m}"]
        assert partition_of(connection, "determination") == [f"determination_{now:%Y_%m}"]
        assert partition_of(connection, "card") == ["card_default"]


def test_the_coming_months_are_made_once_and_no_row_hinders_them(url: str, now: datetime) -> None:
    later = now + timedelta(days=31 * (MONTHS_AHEAD + 3))
    write(url, entry_of(call(at=later)))
    with open_engine(url).connect() as connection:
        assert partition_of(connection, "call") == ["call_default"]
        assert make_months_ahead(connection, now) == 0
        made = make_months_ahead(connection, later)
        assert make_months_ahead(connection, later) == 0
        assert month_of(later) not in months(connection, "call")
        assert month_of(later) in months(connection, "card")
        assert next_month(month_of(later)) in months(connection, "call")
    assert made > 3 * 10


def test_rows_of_an_old_installation_are_taken_over_where_they_are(
    server: Postgres, now: datetime
) -> None:
    url = new_database(server, "former")
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(DECISION_LOG.folder))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    ahead = now + 4000 * DAY
    old = [
        entry_of(call(at=at, assertion_id=f"cc-{n}", cards=[shown(f"card-{n}")]))
        for n, at in enumerate((now - 900 * DAY, now - DAY, now, ahead))
    ]
    write_as_before(url, *old)
    with engine.connect() as connection:
        nodes = connection.execute(text("SELECT relfilenode FROM pg_class WHERE relname = 'call'"))
        (node,) = nodes.scalars()
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    write(url, *old)  # what comes again is still known
    after = next_month(month_of(now)) + DAY
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


def test_the_migration_can_be_taken_back(server: Postgres, url: str, now: datetime) -> None:
    write(url, entry_of(call(at=now, cards=[shown("a")])))
    config = Config()
    config.set_main_option("script_location", str(DECISION_LOG.folder))
    with open_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    write_as_before(url, entry_of(call(at=now, assertion_id="cc-2")))
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    with open_engine(url).connect() as connection:
        assert queries.count_calls(connection, TimeSpan()) == 2


def test_whole_months_go_with_their_partitions_and_the_rest_row_by_row(
    url: str, now: datetime
) -> None:
    engine = open_engine(url)
    first = month_of(now - 200 * DAY)
    following = [first]
    while len(following) < 3:
        following.append(next_month(following[-1]))
    with engine.begin() as connection:
        for table in PARTITIONED:
            for month in following:
                connection.execute(text(partition_statement(table, month)))
    ages = [first - 20 * DAY, *(m + 10 * DAY for m in following), now]
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
            f"call_{now:%Y_%m}",
        ]
        assert connection.execute(text("SELECT count(*) FROM determination")).scalar() == 2
        assert connection.execute(text("SELECT count(*) FROM card")).scalar() == 2


def test_dropping_a_month_waits_for_no_one_and_lets_no_one_wait(url: str, now: datetime) -> None:
    """A reader that holds the table does not make writers queue behind the drop."""
    engine = open_engine(url)
    old = month_of(now - 400 * DAY)
    with engine.begin() as connection:
        for table in PARTITIONED:
            connection.execute(text(partition_statement(table, old)))
    write(url, entry_of(call(at=old + DAY)))
    reader = open_engine(url).connect()
    reader.execute(text("SELECT count(*) FROM call"))
    removed: list[int] = []
    pruning = threading.Thread(target=lambda: removed.append(prune(engine, now - 100 * DAY)))
    pruning.start()
    slowest = 0.0
    for n in range(8):
        begun = time.monotonic()
        write(url, entry_of(call(at=now + n * timedelta(seconds=1))))
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.1)
    assert removed == []
    reader.close()
    pruning.join(60)
    assert removed == [1]
    assert slowest < 20


def with_months(url: str, *wanted: datetime) -> None:
    with open_engine(url).begin() as connection:
        for table in PARTITIONED:
            for month in wanted:
                connection.execute(text(partition_statement(table, month)))


def test_what_a_pruning_that_was_killed_has_left_of_a_month_goes_the_next_time(
    url: str, now: datetime
) -> None:
    engine = open_engine(url)
    old = month_of(now - 400 * DAY)
    with_months(url, old)
    write(url, entry_of(call(at=old + DAY, cards=[shown("card")])))
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {name_of('call', old)}"))
    assert prune(engine, now - 100 * DAY) == 0
    with engine.connect() as connection:
        for table in PARTITIONED:
            assert old not in months(connection, table)
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


def test_two_prunings_at_once_remove_it_all_and_neither_fails(url: str, now: datetime) -> None:
    """As of two machines whose timers are alike."""
    engine = open_engine(url)
    wanted = [month_of(now - 900 * DAY)]
    while len(wanted) < 24:
        wanted.append(next_month(wanted[-1]))
    with_months(url, *wanted)
    write(url, *(entry_of(call(at=month + DAY)) for month in wanted))
    with ThreadPoolExecutor(3) as pool:
        removed = [pool.submit(prune, engine, now - 100 * DAY) for _ in range(3)]
        assert sum(each.result() for each in removed) == len(wanted)
    assert months_of(url)[0] == month_of(now)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM determination")).scalar() == 0


def test_making_a_month_waits_for_no_one_and_lets_no_one_wait(server: Postgres, url: str) -> None:
    """A reader that holds the tables does not make others queue behind the new partition."""
    last = months_of(url)[-1]
    with open_engine(url).begin() as connection:
        for table in PARTITIONED:
            connection.execute(text(f"DROP TABLE {name_of(table, last)}"))
    reader = open_engine(url).connect()
    reader.execute(text("SELECT count(*) FROM call"))
    made: list[int] = []
    making = threading.Thread(target=lambda: made.append(make_coming_months(url)))
    making.start()
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'scale'"
        " AND wait_event_type = 'Lock' AND query LIKE 'CREATE TABLE%'"
    )
    with server.connect("scale") as connection:
        until(lambda: connection.execute(waits).fetchone() == (1,), "it waits for the reader")
        connection.execute("SET lock_timeout = '20s'")
        assert connection.execute("SELECT count(*) FROM call").fetchone() == (0,)
    reader.close()
    making.join(60)
    assert made == [3]
    assert months_of(url)[-1] == last


def months_of(url: str) -> list[datetime]:
    with open_engine(url).connect() as connection:
        return months(connection, "call")


def test_a_limit_on_the_time_of_statements_ends_no_migration(server: Postgres) -> None:
    url = new_database(server, "limited")
    with server.connect("limited") as connection:
        connection.execute("ALTER DATABASE limited SET statement_timeout = '20s'")
        connection.execute(
            "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO public.seen VALUES (current_setting('statement_timeout')); END $$"
        )
        connection.execute("CREATE TABLE seen (setting text)")
        connection.execute("CREATE EVENT TRIGGER wait ON ddl_command_end EXECUTE FUNCTION wait()")
    table_revisions.upgrade(url, DECISION_LOG)
    with server.connect("limited") as connection:
        seen = connection.execute("SELECT DISTINCT setting FROM seen").fetchall()
    assert seen == [("0",)]


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


def test_the_serving_role_records_and_reads(served: str, now: datetime) -> None:
    table_revisions.prepare(served, DECISION_LOG)
    table_revisions.prepare(served, AUTH)
    record = call(at=now, cards=[shown("a")])
    write(served, entry_of(record), LogEntry(feedback=[said("a", "accepted", at=now)]))
    write(served, LogEntry(accesses=[AccessRow(new_call_id(now), 0, "ann", "show", "{}")]))
    with open_engine(served).connect() as connection:
        found = decision_detail.by_assertion(connection, "cc-1")
        assert found is not None
        assert found.call.row.call_id == record.id
    tokens = SqlReplayStore(open_pool(served, 2))
    assert first_use(tokens, "a", "1", now + DAY)
    assert not first_use(tokens, "a", "1", now + DAY)
    assert [tokens.use("a", "2", now + DAY, "b" * 64) for _ in "12"] == [Use.FIRST, Use.REPEATED]
    assert SqlCallCounts(open_pool(served, 2)).add("a", 7) == 1


CHANGES = [
    *(f"{verb} {table}" for table in metadata.tables for verb in ("DELETE FROM", "TRUNCATE")),
    "UPDATE call SET client = 'another'",
    "UPDATE determination SET covered = 'covered'",
    "UPDATE access_log SET who = 'nobody'",
    "DROP TABLE feedback",
    "DROP TABLE call_{now:%Y_%m}",
    "DELETE FROM call_{now:%Y_%m}",
    "DELETE FROM call_default",
    "ALTER TABLE call DETACH PARTITION call_default",
    "UPDATE alembic_version SET version_num = '0001'",
]


@pytest.mark.threat("files-at-rest")
def test_the_serving_role_changes_no_evidence(served: str, now: datetime) -> None:
    write(served, entry_of(call(at=now)))
    for statement in CHANGES:
        with (
            open_engine(served).connect() as connection,
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        ):
            connection.execute(text(statement.format(now=now)))


def test_another_role_than_the_owner_grants_nothing_and_says_so(
    served: str, open_folder: Path
) -> None:
    granted = covercard(open_folder, "db", "grant", "serving", database_url=served)
    assert granted.returncode == 2
    assert "the tables are another role's: run this with the URL of their owner" in granted.stderr


def test_without_tables_nothing_is_granted_and_it_is_said(
    server: Postgres, served: str, open_folder: Path
) -> None:
    empty = new_database(server, "untouched")
    granted = covercard(open_folder, "db", "grant", "serving", database_url=empty)
    assert granted.returncode == 2
    assert "run `covercard db upgrade` first" in granted.stderr


def test_three_upgrades_at_once_do_it_once(
    server: Postgres, open_folder: Path, now: datetime
) -> None:
    empty = new_database(server, "at_once")
    with ThreadPoolExecutor() as pool:
        upgrades = [
            pool.submit(covercard, open_folder, "db", "upgrade", database_url=empty)
            for _ in range(3)
        ]
    done = [upgrade.result() for upgrade in upgrades]
    assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
    said = sorted(each.stdout.partition(" at ")[0] for each in done)
    assert said == ["the tables are already", "the tables are already", "the tables are now"]
    with open_engine(empty).connect() as connection:
        assert months(connection, "call") == list(coming_months(month_of(now), now))


def test_a_role_that_is_not_there_is_named(url: str, open_folder: Path) -> None:
    granted = covercard(open_folder, "db", "grant", "nobody", database_url=url)
    assert granted.returncode == 2
    assert "there is no role 'nobody'" in granted.stderr


# Backup ------------------------------------------------------------------------------------------


def test_a_backup_is_restored_into_an_empty_database_only(
    server: Postgres, url: str, open_folder: Path, tmp_path: Path, now: datetime
) -> None:
    record = call(at=now, cards=[shown("a")])
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
        assert months(connection, "call") == list(coming_months(month_of(now), now))
    assert check_database(empty, kept).wrong == ()


def test_a_backup_goes_by_every_host_and_option_of_the_url(
    server: Postgres, url: str, tmp_path: Path, now: datetime
) -> None:
    """As with two servers of which one takes rows; what holds of hosts holds of TLS."""
    hosts = f"host=127.0.0.1:{free_port()}&host=127.0.0.1:{server.port}"
    both = f"postgresql+psycopg://covercard@/{{}}?{hosts}&target_session_attrs=read-write"
    record = call(at=now)
    write(url, entry_of(record))
    kept = (DECISION_LOG,)
    back_up(both.format("scale"), tmp_path / "records", tmp_path / "backup", kept, "0.1.0")
    new_database(server, "restored")
    restore(tmp_path / "backup", both.format("restored"), tmp_path / "other", kept)
    with open_engine(server.url_of("restored")).connect() as connection:
        assert queries.one_call(connection, record.id) is not None


def test_a_user_without_rights_and_a_server_that_takes_no_rows_are_told(
    server: Postgres, url: str, open_folder: Path
) -> None:
    table_revisions.upgrade(url, AUTH)
    with server.connect("postgres") as connection:
        connection.execute("DROP ROLE IF EXISTS stranger")
        connection.execute("CREATE ROLE stranger LOGIN")
    stranger = url.replace("covercard@", "stranger@")
    for words in (("db", "check"), ("decisions", "find", "--since", "1d")):
        told = covercard(open_folder, *words, database_url=stranger)
        assert told.returncode == 3
        assert "its user has not the right): run `covercard db grant`" in told.stderr
    with server.connect("scale") as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger")
    checked = covercard(open_folder, "db", "check", database_url=stranger)
    assert checked.returncode == 1
    assert "its user may not add to call: run `covercard db grant`" in checked.stderr
    with server.connect("scale") as connection:
        connection.execute("DROP OWNED BY stranger")
        connection.execute("ALTER DATABASE scale SET default_transaction_read_only = on")
    checked = covercard(open_folder, "db", "check", database_url=url)
    assert checked.returncode == 1
    assert "it takes no rows: it is a replica, or set to" in checked.stderr


def test_a_check_tells_of_a_server_without_room(
    server: Postgres, url: str, open_folder: Path
) -> None:
    """A server whose disk is full refuses a new table; here it is told to."""
    table_revisions.upgrade(url, AUTH)
    assert covercard(open_folder, "db", "check", database_url=url).returncode == 0
    with server.connect("scale") as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER without_room ON ddl_command_start EXECUTE FUNCTION refuse()"
        )
    checked = covercard(open_folder, "db", "check", database_url=url)
    assert checked.returncode == 1
    assert "it cannot be written to (DiskFull 53100: its disk is full)" in checked.stderr


def test_without_pg_dump_a_backup_says_what_to_use(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="install PostgreSQL's client programs"):
        back_up(url, tmp_path / "records", tmp_path / "backup", (DECISION_LOG,), "0.1.0")
    assert not (tmp_path / "backup").exists()


# Replica -----------------------------------------------------------------------------------------


def test_commands_read_from_the_replica_and_put_the_access_on_record_in_the_database(
    server: Postgres, url: str, open_folder: Path, now: datetime
) -> None:
    """A second database stands for the replica: it has a call that the database itself has not."""
    replica = new_database(server, "replica")
    table_revisions.upgrade(replica, DECISION_LOG)
    write(url, entry_of(call(at=now, assertion_id="cc-in-the-database")))
    write(replica, entry_of(call(at=now, assertion_id="cc-in-the-replica")))
    found = covercard(open_folder, "decisions", "find", database_url=url, read_database_url=replica)
    assert found.returncode == 0, found.stderr
    assert "cc-in-the-replica" in found.stdout
    assert "cc-in-the-database" not in found.stdout
    for database, expected in ((url, 1), (replica, 0)):
        with open_engine(database).connect() as connection:
            seen = connection.execute(text("SELECT count(*) FROM access_log WHERE what = 'find'"))
            assert seen.scalar() == expected
