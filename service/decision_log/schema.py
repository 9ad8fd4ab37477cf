"""The tables' version: looked at cheaply, brought up to date by Alembic only where it is behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from service.deadline import run_with_deadline
from service.decision_log.database import database_file, make_private_file, open_engine
from service.decision_log.database_errors import trouble
from service.decision_log.log_store import StoreUnavailable, is_sqlite
from service.errors import ConfigurationError

REVISION = "0002"
"""The newest revision in `migrations/versions`; a test holds the two together."""

_VERSION_TABLE = "alembic_version"
_LOOK_SECONDS = 4


def prepare(url: str) -> None:
    """Make sure that the tables are up to date before the service uses them.

    An SQLite file is made and migrated on the way. A PostgreSQL schema is shared, so an operator
    migrates it, by `covercard db upgrade`: ConfigurationError if it is behind. StoreUnavailable
    if the database cannot be reached.
    """
    if is_sqlite(url):
        upgrade(url)
        return
    try:
        found = run_with_deadline(lambda: revision(url), _LOOK_SECONDS)
    except TimeoutError as error:
        raise StoreUnavailable(str(error)) from None
    if found != REVISION:
        raise ConfigurationError(
            f"the database's tables are at {found or 'nothing'}, this version needs {REVISION}: "
            "run `covercard db upgrade`"
        )


def revision(url: str) -> str | None:
    """The revision that the tables are at; None if there are none. StoreUnavailable if away."""
    with _reached(url) as connection:
        if not inspect(connection).has_table(_VERSION_TABLE):
            return None
        found = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608
        return str(found) if found is not None else None


def upgrade(url: str) -> bool:
    """Bring the tables to REVISION; whether there was anything to do.

    Raises StoreUnavailable if the database cannot be reached, ConfigurationError if its tables are
    of a newer version than this program.
    """
    with _one_at_a_time(url):
        found = revision(url)
        if found == REVISION:
            return False
        if found is not None and found > REVISION:
            raise ConfigurationError(
                f"the database's tables are at {found}, newer than this version's {REVISION}: "
                "run the newer version"
            )
        # Alembic is imported here only, so that workers need not pay for it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with _reached(url) as connection:
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
        raise StoreUnavailable(trouble(error)) from error


@contextlib.contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    """Several workers may start on one new SQLite file; PostgreSQL's migration is run by hand."""
    if not is_sqlite(url):
        yield
        return
    lock = database_file(url).with_suffix(".lock")
    try:
        make_private_file(lock)
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StoreUnavailable(trouble(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
