"""Staging of an import: a temporary table, compared and merged in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from service.database.database_errors import trouble
from service.database.engines import open_engine
from service.database.urls import is_sqlite
from service.errors import StoreUnavailable
from service.payer_data import payer_tables
from service.payer_data.record_rows import PayerRecordKind, Row

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 2_000
_WAIT_SECONDS = 30
_COLUMNS = "payer, key, id, member, record, version"
_NOTED = ", ".join(c.name for c in payer_tables.imports.columns if c.name != "import_id")
_SAME = "t.payer = s.payer AND t.key = s.key AND t.id = s.id"


class Staged(NamedTuple):
    """A row of the file, with its line number and whether it is to be removed."""

    row: Row
    line: int
    remove: bool


class Compared(NamedTuple):
    """Preview of a merge, in records: size of the file, and differences."""

    records: int
    added: int
    changed: int
    removed: int


class Staging(Protocol):
    """One import's transaction. Leaving it without `commit` leaves everything as it was."""

    def fill(self, staged: Iterable[Staged]) -> None: ...

    def compare(self, *, whole: bool) -> Compared: ...

    def merge(self, *, whole: bool) -> None: ...

    def note(self, **values: int | str) -> None: ...

    def commit(self) -> None: ...


class _Statements:
    """The statements of a merge; the two databases differ in how they take JSON apart."""

    def __init__(self, kind: PayerRecordKind, alternates: str) -> None:
        table = kind.table
        # A member has a row for each number, and counts by the one that is its own.
        own = "{0}.key = {0}.member" if kind.name == "members" else "1 = 1"
        of_file, of_table = own.format("s"), own.format("t")
        whose = "payer IN (SELECT DISTINCT payer FROM stage)"
        gone = f"NOT EXISTS (SELECT 1 FROM stage s WHERE {_SAME})"
        differs = f"SELECT count(*) FROM stage s JOIN {table} t ON {_SAME} WHERE {of_file}"
        self.records = f"SELECT count(*) FROM stage s WHERE {of_file}"
        self.added = (
            f"SELECT count(*) FROM stage s LEFT JOIN {table} t ON {_SAME} "
            f"WHERE t.payer IS NULL AND s.remove = 0 AND {of_file}"
        )
        self.changed = f"{differs} AND s.remove = 0 AND t.version <> s.version"
        self.removed_whole = (
            f"SELECT count(*) FROM {table} t WHERE {whose} AND {of_table} AND {gone}"
        )
        self.removed_delta = f"{differs} AND s.remove = 1"
        self.remove_whole = f"DELETE FROM {table} AS t WHERE {whose} AND {gone}"
        # A changed member may have lost numbers.
        self.remove_numbers = (
            f"DELETE FROM {table} AS t WHERE (payer, key, id) IN ("
            f"SELECT o.payer, a.value, o.id FROM stage s JOIN {table} o "
            f"ON o.payer = s.payer AND o.key = s.key AND o.id = s.id, {alternates} "
            "WHERE o.version <> s.version OR s.remove = 1) "
            f"AND NOT EXISTS (SELECT 1 FROM stage s WHERE {_SAME} AND s.remove = 0)"
        )
        self.remove_delta = (
            f"DELETE FROM {table} AS t "
            f"WHERE EXISTS (SELECT 1 FROM stage s WHERE {_SAME} AND s.remove = 1)"
        )
        self.has_any = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1) t"
        self.put_first = (
            f"INSERT INTO {table} ({_COLUMNS}) SELECT DISTINCT ON (payer, key, id) {_COLUMNS} "
            "FROM raw WHERE remove = 0 ORDER BY payer, key, id, line DESC"
        )
        self.own_in_table = f"SELECT count(*) FROM {table} t WHERE {of_table}"
        # Not ON CONFLICT alone: it would lock, and so write, each unchanged row.
        self.put = (
            f"INSERT INTO {table} ({_COLUMNS}) "
            "SELECT s.payer, s.key, s.id, s.member, s.record, s.version "
            f"FROM stage s LEFT JOIN {table} t ON {_SAME} "
            "WHERE s.remove = 0 AND (t.payer IS NULL OR t.version <> s.version) "
            "ON CONFLICT (payer, key, id) DO UPDATE SET member = excluded.member, "
            "record = excluded.record, version = excluded.version"
        )


class _Merging:
    """The common part of both databases. `_number` and `_run` take SQL without parameters."""

    def __init__(self, kind: PayerRecordKind, alternates: str) -> None:
        self._kind = kind
        self._sql = _Statements(kind, alternates)

    def _number(self, query: str) -> int:
        raise NotImplementedError

    def _run(self, statement: str) -> None:
        raise NotImplementedError

    def compare(self, *, whole: bool) -> Compared:
        sql = self._sql
        removed = sql.removed_whole if whole else sql.removed_delta
        wanted = (sql.records, sql.added, sql.changed, removed)
        return Compared(*(self._number(query) for query in wanted))

    def merge(self, *, whole: bool) -> None:
        if whole:
            self._run(self._sql.remove_whole)
        else:
            if self._kind.name == "members":
                self._run(self._sql.remove_numbers)
            self._run(self._sql.remove_delta)
        self._run(self._sql.put)


class _SqliteStaging(_Merging):
    def __init__(self, connection: sqlite3.Connection, kind: PayerRecordKind) -> None:
        super().__init__(kind, "json_each(o.record, '$.alternates') a")
        self._connection = connection
        connection.execute("PRAGMA temp_store = FILE")
        # Deleted member data are overwritten.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(
            "CREATE TEMP TABLE stage (payer, key, id, member, record, version, line, remove, "
            "PRIMARY KEY (payer, key, id)) WITHOUT ROWID"
        )

    def fill(self, staged: Iterable[Staged]) -> None:
        rows = iter((*s.row, s.line, int(s.remove)) for s in staged)
        self._connection.execute("BEGIN")
        while some := list(islice(rows, _AT_ONCE)):
            self._connection.executemany(
                "INSERT OR REPLACE INTO stage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", some
            )
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def note(self, **values: int | str) -> None:
        named = ", ".join(f":{name.strip()}" for name in _NOTED.split(","))
        self._connection.execute(f"INSERT INTO payer_import ({_NOTED}) VALUES ({named})", values)

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    def _run(self, statement: str) -> None:
        self._connection.execute(statement)


_POSTGRES_ALTERNATES = "jsonb_array_elements_text(o.record::jsonb -> 'alternates') a(value)"


class _PostgresStaging(_Merging):
    def __init__(self, connection: psycopg.Connection, kind: PayerRecordKind) -> None:
        super().__init__(kind, _POSTGRES_ALTERNATES)
        self._connection = connection
        self._first = False
        columns = ", ".join(f"{name} text NOT NULL" for name in _COLUMNS.split(", "))
        connection.execute("SET LOCAL work_mem = '256MB'")
        # One import at a time: an import must not change what another compares.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('covercard payer data'))")
        connection.execute(
            f"CREATE TEMP TABLE raw ({columns}, line bigint, remove int) ON COMMIT DROP"
        )

    def fill(self, staged: Iterable[Staged]) -> None:
        copy_in = f"COPY raw ({_COLUMNS}, line, remove) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(copy_in) as copy:
            rows = iter(staged)
            while some := list(islice(rows, _AT_ONCE)):
                copy.write("".join(map(_copied, some)))

    def compare(self, *, whole: bool) -> Compared:
        if not self._number(self._sql.has_any):
            # The first of its kind: there is nothing to compare, and so no second copy to make.
            self._first = True
            self._run(self._sql.put_first)
            records = self._number(self._sql.own_in_table)
            return Compared(records, records, 0, 0)
        self._connection.execute(
            "CREATE TEMP TABLE stage ON COMMIT DROP AS SELECT DISTINCT ON (payer, key, id) * "
            "FROM raw ORDER BY payer, key, id, line DESC"
        )
        self._connection.execute("DROP TABLE raw")
        self._connection.execute("CREATE INDEX ON stage (payer, key, id)")
        self._connection.execute("ANALYZE stage")
        return super().compare(whole=whole)

    def note(self, **values: int | str) -> None:
        named = ", ".join(f"%({name.strip()})s" for name in _NOTED.split(","))
        self._connection.execute(f"INSERT INTO payer_import ({_NOTED}) VALUES ({named})", values)

    def merge(self, *, whole: bool) -> None:
        if not self._first:
            super().merge(whole=whole)
        self._run(f"ANALYZE {self._kind.table}")

    def commit(self) -> None:
        self._connection.commit()

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def _run(self, statement: str) -> None:
        self._connection.execute(statement)


def _copied(staged: Staged) -> str:
    """A line in COPY's text format."""
    text = "\t".join(staged.row)
    if "\\" in text or "\n" in text or "\r" in text or text.count("\t") != len(staged.row) - 1:
        text = "\t".join(map(_escaped, staged.row))
    return f"{text}\t{staged.line}\t{int(staged.remove)}\n"


def _escaped(value: str) -> str:
    value = value.replace("\\", "\\\\").replace("\t", "\\t")
    return value.replace("\n", "\\n").replace("\r", "\\r")


@contextlib.contextmanager
def open_staging(url: str, kind: PayerRecordKind) -> Iterator[Staging]:
    """A transaction for an import. Raises StoreUnavailable if the database is unavailable."""
    raw: Any = None
    try:
        raw = open_engine(url).raw_connection()
        connection: Any = raw.driver_connection
        if is_sqlite(url):
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}")
            yield _SqliteStaging(connection, kind)
        else:
            yield _PostgresStaging(connection, kind)
    except Exception as error:
        if not _is_the_databases(error):
            raise
        raise StoreUnavailable(trouble(error)) from error
    finally:
        if raw is not None:
            with contextlib.suppress(Exception):
                raw.rollback()
            raw.close()


def _is_the_databases(error: Exception) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    kinds = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, sqlite3.Error | SQLAlchemyError) or (
        type(error).__module__.startswith("psycopg") and "Error" in kinds
    )
