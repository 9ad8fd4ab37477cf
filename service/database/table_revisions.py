"""Table revisions: a cheap check, and a migration with Alembic where a database is behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from service.database.database_errors import DAMAGED, is_damaged, is_of_other_tables, trouble
from service.database.engines import database_file, open_engine
from service.database.urls import is_sqlite
from service.deadline import run_with_deadline
from service.errors import ConfigurationError, CovercardError, StoreUnavailable
from service.os_errors import with_repair
from service.private_files import make_folder_of, open_private

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, MigrationInfo

_LOOK_SECONDS = 4
_MIGRATING = threading.Lock()
_MIGRATION_LOCK = 0x636F766572
"""Number of the advisory lock of migrations on PostgreSQL."""
_USABLE_FROM = "usable_from"
"""A migration's word, and the column of the version table, on the oldest program for its tables."""


@dataclass(frozen=True, slots=True)
class Migrations:
    """Tables that are migrated together: Alembic's folder, the table of their version, the newest.

    Rooms that share a database have a version each. Each migration says by `usable_from` the oldest
    revision whose program may use the tables after it: read them, write them, and prune them.
    """

    folder: Path
    version_table: str
    revision: str


@dataclass(frozen=True, slots=True)
class TablesFound:
    """Tables in a database: their revision, and the oldest whose program may use them.

    Without tables, neither; without the latter where a version that did not tell it made them.
    """

    revision: str | None = None
    usable_from: str | None = None

    def misfit(self, wanted: Migrations) -> str | None:
        """The reason why this version cannot use them, with the repair; None if it can."""
        if self.revision == wanted.revision:
            return None
        if self.revision is None or self.revision < wanted.revision:
            at = self.revision or "nothing"
            return f"at {at}, this version needs {wanted.revision}: run `covercard db upgrade`"
        if self.usable_from is None:
            whom = ""
        elif self.usable_from <= wanted.revision:
            return None
        else:
            whom = f" and of use from {self.usable_from} on"
        return (
            f"at {self.revision}, newer than this version's {wanted.revision}{whom}: run the newer"
            " version, or `covercard db restore` a backup of before it"
        )


def prepare(url: str, tables: Migrations) -> None:
    """Make sure that this version can use the tables.

    Creates and migrates an SQLite file. A PostgreSQL schema is shared and migrated by an operator
    (`covercard db upgrade`): ConfigurationError if it is behind. Tables of a later version do where
    they say so, and are a ConfigurationError otherwise: in a rolling upgrade, and after one that is
    taken back, the version before goes on with them. StoreUnavailable if the database is
    unreachable.
    """
    if is_sqlite(url):
        upgrade(url, tables)
        return
    try:
        found = run_with_deadline(lambda: tables_at(url, tables), _LOOK_SECONDS)
    except TimeoutError as error:
        raise StoreUnavailable(str(error)) from None
    _insist_on_use(found, tables)


def tables_at(url: str, tables: Migrations) -> TablesFound:
    """The tables that are there. StoreUnavailable if the database is unreachable."""
    with _reached(url) as connection:
        if not inspect(connection).has_table(tables.version_table):
            return TablesFound()
        told = text(f"SELECT * FROM {tables.version_table}")  # noqa: S608
        row = connection.execute(told).mappings().first()
        if row is None:
            return TablesFound()
        return TablesFound(str(row["version_num"]), row.get(_USABLE_FROM))


def revision(url: str, tables: Migrations) -> str | None:
    """The tables' revision, None without tables. StoreUnavailable if unreachable."""
    return tables_at(url, tables).revision


def upgrade(url: str, *rooms: Migrations) -> bool:
    """Bring the tables of all rooms to this version; whether there was anything to do.

    Tables of a later version that this one can use stay as they are. The rooms are migrated under
    one lock: of several upgrades at once one does it all, the others find it done. Raises
    StoreUnavailable if the database is unreachable, ConfigurationError if its tables are those of a
    later version only, or another program's.
    """
    with _one_at_a_time(url):
        changed = [_upgrade(url, tables) for tables in rooms]
    return any(changed)


def tell_whom_they_serve(
    ctx: MigrationContext,
    step: MigrationInfo,
    heads: Collection[object],
    run_args: Mapping[str, object],
) -> None:
    """Write beside the tables' revision whose programs may use them: for Alembic, which calls it
    in the transaction of each migration.
    """
    from alembic.script import Script

    connection, table = ctx.connection, ctx.version_table
    if connection is None:
        raise TypeError("migrations are run with a connection")
    there = {column["name"] for column in inspect(connection).get_columns(table)}
    if _USABLE_FROM not in there:
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {_USABLE_FROM} VARCHAR(32)"))
    for reached in step.revision_map.get_revisions(tuple(step.destination_revision_ids)):
        if isinstance(reached, Script):
            connection.execute(
                text(f"UPDATE {table} SET {_USABLE_FROM} = :oldest WHERE version_num = :at"),  # noqa: S608
                {"oldest": vars(reached.module)[_USABLE_FROM], "at": reached.revision},
            )


def _insist_on_use(found: TablesFound, tables: Migrations) -> None:
    misfit = found.misfit(tables)
    if misfit is not None:
        raise ConfigurationError(f"the database's tables are {misfit}")


def _upgrade(url: str, tables: Migrations) -> bool:
    found = tables_at(url, tables)
    if found.revision is not None and found.revision >= tables.revision:
        _insist_on_use(found, tables)
        return False
    # Imported here to keep Alembic out of the workers.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(tables.folder))
    # Alembic keeps the migration under way in its modules.
    with _MIGRATING, _reached(url) as connection:
        _begin_all_or_nothing(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            if is_of_other_tables(error):
                raise ConfigurationError(of_another(url, found)) from error
            raise
        connection.commit()
    return True


def of_another(url: str, found: TablesFound) -> str:
    """Words on tables that a migration does not find as it must."""
    place = f"the database, {database_file(url)}" if is_sqlite(url) else "the database"
    if found.revision is None:
        what = "has tables of these names, and no revision of this program"
    else:
        what = f"says that its tables are at {found.revision}, and they are not"
    return (
        f"{place}: {what}: they are another program's, or an upgrade was cut off; name another"
        " database, or move this one away and run `covercard db restore` with a backup"
    )


def _begin_all_or_nothing(connection: Connection) -> None:
    """Begin a transaction that a migration's statements are in, also on SQLite.

    Python's driver commits before each statement that makes a table, and one that is cut off
    between two could neither be gone on with nor be begun anew.
    """
    raw = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        raw.isolation_level = None
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        _without_time_limits(connection)


@contextlib.contextmanager
def _reached(url: str) -> Iterator[Connection]:
    try:
        with open_engine(url).connect() as connection:
            yield connection
    except (SQLAlchemyError, OSError) as error:
        raise _unreached(url, error) from error


def _unreached(url: str, error: SQLAlchemyError | OSError) -> CovercardError:
    """ConfigurationError for an SQLite file that wants a repair; else StoreUnavailable."""
    if not is_sqlite(url):
        return StoreUnavailable(trouble(error))
    file = database_file(url)
    if isinstance(error, PermissionError | IsADirectoryError):
        return ConfigurationError(f"the database, {with_repair(error, error.filename or file)}")
    if is_damaged(error.__cause__ or error):
        return ConfigurationError(f"the database, {file}: {DAMAGED}")
    return StoreUnavailable(trouble(error))


def _without_time_limits(connection: Connection) -> None:
    """Begin a transaction that no limit of the server on its calls' time ends."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


@contextlib.contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    """Serialize migrations of one database; several may start at the same time."""
    if not is_sqlite(url):
        with _reached(url) as connection:
            _without_time_limits(connection)
            # Of a transaction: it holds behind a pooler too, and ends with this process.
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK}
            )
            yield
        return
    lock = database_file(url).with_suffix(".lock")
    try:
        make_folder_of(lock)
        descriptor = open_private(lock, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _unreached(url, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
