"""Table revisions: a cheap check, and a migration with Alembic where a database is behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from service.database.database_errors import DAMAGED, is_damaged, trouble
from service.database.engines import database_file, open_engine
from service.database.urls import is_sqlite
from service.deadline import run_with_deadline
from service.errors import ConfigurationError, CovercardError, StoreUnavailable
from service.os_errors import with_repair
from service.private_files import make_folder_of, open_private

_LOOK_SECONDS = 4
_MIGRATING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Migrations:
    """Tables that are migrated together: Alembic's folder, the table of their version, the newest.

    Rooms that share a database have a version each.
    """

    folder: Path
    version_table: str
    revision: str


def prepare(url: str, tables: Migrations, *, later_ones_do: bool = False) -> None:
    """Make sure that the tables are up to date before the service uses them.

    Creates and migrates an SQLite file. A PostgreSQL schema is shared and migrated by an operator
    (`covercard db upgrade`): ConfigurationError if it is behind or, unless `later_ones_do`, of a
    later version. A service that runs goes on with those: a migration lets the version before it
    write on. StoreUnavailable if the database is unreachable.
    """
    if is_sqlite(url):
        upgrade(url, tables)
        return
    try:
        found = run_with_deadline(lambda: revision(url, tables), _LOOK_SECONDS)
    except TimeoutError as error:
        raise StoreUnavailable(str(error)) from None
    if later_ones_do and found is not None and found > tables.revision:
        return
    if found != tables.revision:
        raise ConfigurationError(f"the database's tables are {unfit(found, tables)}")


def unfit(found: str | None, tables: Migrations) -> str:
    """Words on tables at another revision than this version's, with what to run."""
    if found is not None and found > tables.revision:
        return f"at {found}, newer than this version's {tables.revision}: run the newer version"
    return (
        f"at {found or 'nothing'}, this version needs {tables.revision}: run `covercard db upgrade`"
    )


def revision(url: str, tables: Migrations) -> str | None:
    """The tables' revision, None without tables. StoreUnavailable if unreachable."""
    with _reached(url) as connection:
        if not inspect(connection).has_table(tables.version_table):
            return None
        version = text(f"SELECT version_num FROM {tables.version_table}")  # noqa: S608
        found = connection.execute(version).scalar()
        return str(found) if found is not None else None


def upgrade(url: str, tables: Migrations) -> bool:
    """Bring the tables to their newest revision; whether there was anything to do.

    Raises StoreUnavailable if the database is unreachable, ConfigurationError if its tables are
    newer than this program.
    """
    with _one_at_a_time(url):
        found = revision(url, tables)
        if found == tables.revision:
            return False
        if found is not None and found > tables.revision:
            raise ConfigurationError(f"the database's tables are {unfit(found, tables)}")
        # Imported here to keep Alembic out of the workers.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(tables.folder))
        # Alembic keeps the migration under way in its modules.
        with _MIGRATING, _reached(url) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    return True


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


@contextlib.contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    """Serialize migrations of one SQLite file; workers may start at the same time."""
    if not is_sqlite(url):
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
