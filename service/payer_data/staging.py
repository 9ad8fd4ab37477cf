"""Staging of an import: a temporary table, compared and merged in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from service.database.database_errors import trouble
from service.database.engines import open_engine
from service.database.urls import is_sqlite
from service.errors import StoreUnavailable
from service.payer_data import payer_tables
from service.payer_data.record_rows import PayerRecordKind

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 2_000
_WAIT_SECONDS = 30
_SQLITE_CACHE_KIB = 65_536
_TABS = 7
_COLUMNS = "payer, key, id, member, record, version"
_NOTED = ", ".join(c.name for c in payer_tables.imports.columns if c.name != "import_id")
_SAME = "t.payer = s.payer AND t.key = s.key AND t.id = s.id"


class Staged(NamedTuple):
    """A row of the file, with its line number and whether it is to be removed (0 or 1)."""

    payer: str
    key: str
    id: str
    member: str
    record: str
    version: str
    line: int
    remove: int


class Compared(NamedTuple):
    """Preview of a merge: the differences, in records."""

    added: int
    changed: int
    removed: int


class Staging(Protocol):
    """One import's transaction. Leaving it without `commit` leaves everything as it was."""

    def fill(self, staged: Iterable[Staged]) -> None: ...

    def drop_repeated(self) -> int: ...

    def compare(self, records: int, *, whole: bool) -> Compared: ...

    def merge(self) -> None: ...

    def note(self, **values: int | str) -> None: ...

    def commit(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Dialect:
    """A database's own SQL: taking JSON apart, and finding a staged row again."""

    born: str
    alternates: str
    place: str


_SQLITE = _Dialect(
    born="json_extract(o.record, '$.birth_date')",
    alternates="json_each(o.record, '$.alternates') a",
    place="rowid",
)
_POSTGRES = _Dialect(
    born="(o.record::json ->> 'birth_date')",
    alternates="json_array_elements_text(o.record::json -> 'alternates') a(value)",
    place="ctid",
)


class _Statements:
    """The statements of an import, over three temporary tables.

    `stage` is the file, `fresh` its rows that are not in the table as they are, `gone` the table's
    rows that are to leave. A record is counted by its own row: a member has one for each number.
    """

    def __init__(self, kind: PayerRecordKind, dialect: _Dialect) -> None:
        table, place = kind.table, dialect.place
        members = kind.name == "members"
        self.identity = "payer, id" if members else "payer, key, id"
        own = "substr({0}.key, 1, length({0}.member) + 1) = {0}.member || ' '"
        of_stage, of_table = (own.format(t) if members else "1 = 1" for t in "st")
        as_it_is = f"{_SAME} AND t.version = s.version"
        self.is_empty = f"SELECT NOT EXISTS (SELECT 1 FROM {table})"
        self.removals = f"SELECT count(*) FROM stage s WHERE s.remove = 1 AND {of_stage}"
        self.repeated = (
            f"CREATE TEMP TABLE repeated AS SELECT {self.identity}, max(line) AS line FROM stage "
            f"GROUP BY {self.identity} HAVING min(line) <> max(line)"
        )
        of_repeated = (
            f"FROM stage s JOIN repeated r ON {_equal(self.identity, 's', 'r')} AND s.line < r.line"
        )
        self.superseded = f"SELECT count(*) {of_repeated} WHERE {of_stage}"
        self.drop_repeated = f"DELETE FROM stage WHERE {place} IN (SELECT s.{place} {of_repeated})"
        self.fresh = (
            f"CREATE TEMP TABLE fresh AS SELECT s.{place} AS place, {_of('s', self.identity)}, "
            f"{of_stage} AS own FROM stage s WHERE s.remove = 0 "
            f"AND NOT EXISTS (SELECT 1 FROM {table} t WHERE {as_it_is})"
        )
        self.gone_whole = (
            f"CREATE TEMP TABLE gone AS SELECT t.payer, t.key, t.id, {of_table} AS own "
            f"FROM {table} t WHERE t.payer IN (SELECT DISTINCT payer FROM stage) "
            f"AND NOT EXISTS (SELECT 1 FROM stage s WHERE {as_it_is})"
        )
        # Under whichever birth date: a corrected one changes a member, and adds none.
        found = (
            "o.payer = s.payer AND o.id = s.id AND o.key > s.member || ' ' "
            "AND o.key < s.member || '!'"
            if members
            else _SAME.replace("t.", "o.")
        )
        self.old = (
            f"CREATE TEMP TABLE old AS SELECT o.payer, o.key, o.id, o.record, s.remove "
            f"FROM stage s JOIN {table} o ON {found} "
            f"WHERE {of_stage} AND (s.remove = 1 OR o.version <> s.version)"
        )
        self.gone_delta = (
            "CREATE TEMP TABLE gone AS SELECT payer, key, id, remove, 1 = 1 AS own FROM old o"
        )
        self.gone_alternates = (
            f"INSERT INTO gone SELECT o.payer, a.value || ' ' || {dialect.born}, o.id, o.remove, "
            f"1 = 0 FROM old o, {dialect.alternates}"
        )
        same = _equal(self.identity, "g", "f")
        self.changed = f"SELECT count(*) FROM gone g JOIN fresh f ON {same} WHERE g.own AND f.own"
        self.removed = "SELECT count(*) FROM gone WHERE own"
        self.added = "SELECT count(*) FROM fresh WHERE own"
        self.remove = (
            f"DELETE FROM {table} WHERE (payer, key, id) IN (SELECT payer, key, id FROM gone)"
        )
        put = f"INSERT INTO {table} ({_COLUMNS}) SELECT {_of('s', _COLUMNS)} FROM stage s"
        # In the index's order, each page of it is written once.
        self.put_all = f"{put} WHERE s.remove = 0 ORDER BY s.payer, s.key, s.id"
        self.put = f"{put} JOIN fresh f ON f.place = s.{place} ORDER BY s.payer, s.key, s.id"


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{name}" for name in columns.split(", "))


def _equal(columns: str, one: str, other: str) -> str:
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in columns.split(", "))


class _Merging:
    """The common part of both databases. `_number` and `_run` take SQL without parameters."""

    def __init__(self, kind: PayerRecordKind, dialect: _Dialect) -> None:
        self._kind = kind
        self._sql = _Statements(kind, dialect)
        self._first = False

    def _number(self, query: str) -> int:
        raise NotImplementedError

    def _run(self, statement: str) -> None:
        raise NotImplementedError

    def drop_repeated(self) -> int:
        """Drop lines about records of which a later line tells more; their number."""
        self._run(self._sql.repeated)
        superseded = self._number(self._sql.superseded)
        self._run(self._sql.drop_repeated)
        return superseded

    def compare(self, records: int, *, whole: bool) -> Compared:
        """The differences of a file with so many records from the table."""
        sql = self._sql
        self._first = bool(self._number(sql.is_empty))
        if self._first:
            # Nothing to compare with.
            return Compared(records - (0 if whole else self._number(sql.removals)), 0, 0)
        self._run(sql.fresh)
        if whole:
            self._run(sql.gone_whole)
        else:
            self._run(sql.old)
            self._run(sql.gone_delta)
            if self._kind.name == "members":
                self._run(sql.gone_alternates)
        self._compared()
        changed = self._number(sql.changed)
        added, removed = self._number(sql.added), self._number(sql.removed)
        return Compared(added - changed, changed, removed - changed)

    def _compared(self) -> None:
        """The differences are known."""

    def merge(self) -> None:
        if self._first:
            self._run(self._sql.put_all)
        else:
            self._run(self._sql.remove)
            self._run(self._sql.put)


class _SqliteStaging(_Merging):
    def __init__(self, connection: sqlite3.Connection, kind: PayerRecordKind) -> None:
        super().__init__(kind, _SQLITE)
        self._connection = connection
        connection.execute("PRAGMA temp_store = FILE")
        # Deleted member data are overwritten.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA cache_size = -{_SQLITE_CACHE_KIB}")
        connection.execute(
            "CREATE TEMP TABLE stage (payer, key, id, member, record, version, line, remove)"
        )

    def fill(self, staged: Iterable[Staged]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", staged)
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def compare(self, records: int, *, whole: bool) -> Compared:
        if whole and not self._number(self._sql.is_empty):
            self._run("CREATE INDEX temp.stage_key ON stage (payer, key, id, version)")
        return super().compare(records, whole=whole)

    def note(self, **values: int | str) -> None:
        named = ", ".join(f":{name.strip()}" for name in _NOTED.split(","))
        self._connection.execute(f"INSERT INTO payer_import ({_NOTED}) VALUES ({named})", values)

    def commit(self) -> None:
        self._connection.execute("COMMIT")
        # The write-ahead log holds what was deleted, and is as long as the import.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    def _run(self, statement: str) -> None:
        self._connection.execute(statement)


class _PostgresStaging(_Merging):
    def __init__(self, connection: psycopg.Connection, kind: PayerRecordKind) -> None:
        super().__init__(kind, _POSTGRES)
        self._connection = connection
        columns = ", ".join(f'{name} text COLLATE "C" NOT NULL' for name in _COLUMNS.split(", "))
        connection.execute("SET LOCAL work_mem = '256MB'")
        # One import at a time: an import must not change what another compares.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('covercard payer data'))")
        connection.execute(
            f"CREATE TEMP TABLE stage ({columns}, line bigint, remove int) ON COMMIT DROP"
        )

    def fill(self, staged: Iterable[Staged]) -> None:
        copy_in = f"COPY stage ({_COLUMNS}, line, remove) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(copy_in) as copy:
            lines = map(_copied, staged)
            while some := "".join(islice(lines, _AT_ONCE)):
                copy.write(some)
        self._run("ANALYZE stage")

    def note(self, **values: int | str) -> None:
        named = ", ".join(f"%({name.strip()})s" for name in _NOTED.split(","))
        self._connection.execute(f"INSERT INTO payer_import ({_NOTED}) VALUES ({named})", values)

    def _compared(self) -> None:
        self._run("ANALYZE fresh")
        self._run("ANALYZE gone")

    def merge(self) -> None:
        super().merge()
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
    payer, key, own_id, member, record, version, line, remove = staged
    text = f"{payer}\t{key}\t{own_id}\t{member}\t{record}\t{version}\t{line}\t{remove}\n"
    if "\\" in text or "\r" in text or text.count("\t") != _TABS or text.count("\n") != 1:
        written = "\t".join(map(_escaped, staged[:6]))
        return f"{written}\t{line}\t{remove}\n"
    return text


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
