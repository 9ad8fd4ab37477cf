"""SQLAlchemy engines for SQLite and PostgreSQL.

`open_engine`: durable, without a pool; the decision log takes single connections of it.
`open_pool`: pooled, for small tables that lose little with a power failure.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from service.database.urls import is_sqlite
from service.errors import ConfigurationError, StoreUnavailable
from service.os_errors import with_repair
from service.private_files import check_private, make_private_file

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

CONNECT_SECONDS = 2
_READ_LOCK_SECONDS = 10

SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")
"""Endings of the names of the files that SQLite keeps beside a database."""


def database_file(url: str) -> Path:
    """The file of an SQLite URL."""
    return Path(make_url(url).database or "")


def is_there(url: str) -> bool:
    """Whether an SQLite URL's file is there; a server's database is taken to be.

    Raises ConfigurationError where this user cannot look.
    """
    if not is_sqlite(url):
        return True
    file = database_file(url)
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigurationError(f"the database, {with_repair(error, file)}") from error
    return True


def open_engine(url: str) -> Engine:
    """An engine without a connection pool, whose commits survive a power failure."""
    parsed: URL = make_url(url)
    arguments: dict[str, Any] = {}
    if is_sqlite(url):
        arguments = {"timeout": _READ_LOCK_SECONDS, "check_same_thread": False}
    else:
        # A vanished server is detected in seconds; TCP's defaults take hours.
        arguments = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            # A pooler in transaction mode may give each statement another session.
            "prepare_threshold": None,
        }
    engine = create_engine(parsed, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    if is_sqlite(url):
        make_database_private(database_file(url))
        event.listen(engine, "connect", _durable)
    else:
        # Before SQLAlchemy's own first question, whose answer it could not read.
        event.listen(engine, "connect", _in_unicode, insert=True)
    return engine


def open_pool(url: str, connections: int) -> Engine:
    """An engine with at most `connections` connections, opened on demand.

    A connection raises StoreUnavailable while an SQLite file can be neither made nor checked, as on
    a disk that is read-only: that may end. Raises ConfigurationError if the URL names no supported
    database, or a file that cannot be trusted.
    """
    try:
        if is_sqlite(url):
            file = database_file(url)
            with contextlib.suppress(OSError):
                make_database_private(file)
            engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 10})
            event.listen(engine, "do_connect", functools.partial(_private_first, file))
            event.listen(engine, "connect", _quick)
            return engine
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=min(5, connections),
            max_overflow=connections,
            connect_args={"connect_timeout": CONNECT_SECONDS, "prepare_threshold": None},
        )
    except (SQLAlchemyError, ImportError) as error:
        kind = type(error).__name__
        raise ConfigurationError(f"COVERCARD_DATABASE_URL: cannot be used ({kind})") from None


def _private_first(file: Path, *_: object) -> None:
    try:
        make_database_private(file)
    except OSError as error:
        raise StoreUnavailable(f"the database's file cannot be opened: {error.strerror}") from error


def make_database_private(file: Path) -> None:
    """Create an SQLite file for its owner only, or check it with the files beside it.

    SQLite gives the files that it creates the mode of the database. A file is checked once in a
    process: closing any descriptor of it would release the locks of this process's connections
    (POSIX), and another process would then delete the `-wal` file beneath them. Raises as
    `service.private_files`.
    """
    with _checking:
        if _identity(file) not in _checked:
            make_private_file(file)
            for suffix in SQLITE_COMPANIONS:
                check_private(file.with_name(file.name + suffix))
            _checked.add(_identity(file))
            _checked.discard(None)


_checking = threading.Lock()
_checked: set[tuple[int, int, int] | None] = set()


def _identity(file: Path) -> tuple[int, int, int] | None:
    """The file in this process, whatever its name; None where there is none.

    Nor is there one where something else has its name: that may have the number of a file that was
    checked and removed since.
    """
    try:
        found = file.stat(follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return (os.getpid(), found.st_dev, found.st_ino)


def _in_unicode(connection: DBAPIConnection, _record: object) -> None:
    """Raises ConfigurationError for a database that cannot keep every character of a call."""
    told = connection.pgconn.parameter_status(b"server_encoding")
    if told not in (None, b"UTF8"):  # a pooler may not tell it
        encoding = told.decode("ascii", "replace")
        raise ConfigurationError(
            f"the database is in {encoding}: make it with ENCODING 'UTF8' (TEMPLATE template0)"
        )


def _durable(connection: DBAPIConnection, _record: object) -> None:
    """Durable commits: on disk on return, safe from a power failure (WAL, FULL)."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _quick(connection: DBAPIConnection, _record: object) -> None:
    """Commits that are safe from a crash of the program, not from a power failure."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
