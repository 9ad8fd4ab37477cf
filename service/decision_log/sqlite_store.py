"""SQLite store: one transaction a batch (WAL, synchronous NORMAL).

A power failure may take the last transactions, whole: the rows then tell that they have not come as
far, and the segments, which are on disk and stay for hours, fill them again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from service.database.engines import database_file, open_engine
from service.decision_log.inserts import SqliteInserts
from service.decision_log.rows import LogEntry
from service.errors import EntryRejected, StoreUnavailable

_BUSY_SECONDS = 0.001


class SqliteStore:
    """A `LogStore` on one connection, made by `ping` and dropped after an error.

    A file that is deleted or replaced while it is open takes rows and keeps nothing: the store
    notices after each commit, and opens what is there now.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._file = database_file(url)
        self._inserts = SqliteInserts()
        self._connection: sqlite3.Connection | None = None
        self._wal_file = self._file.with_name(f"{self._file.name}-wal")
        self._identity: tuple[int, int] | None = None
        self._wal: tuple[int, int] | None = None

    def write(self, entry: LogEntry, deadline: float) -> None:
        connection = self._open_connection()
        try:
            _begin(connection, deadline)
            if self._wal is None:
                self._wal = _identity(self._wal_file)
            for statement, parameters in self._inserts.of(entry):
                connection.execute(statement, parameters)
            connection.execute("COMMIT")
        except (sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError) as error:
            self.close()
            raise EntryRejected(type(error).__name__) from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(_what(error)) from error
        self._insist_on_file()

    def newest(self, chain: int) -> tuple[int, bytes] | None:
        connection = self._open_connection()
        try:
            row = connection.execute(
                "SELECT sequence, hash FROM chain_record WHERE chain = ?"
                " ORDER BY sequence DESC LIMIT 1",
                (chain,),
            ).fetchone()
        except sqlite3.Error as error:
            self.close()
            raise StoreUnavailable(_what(error)) from error
        return None if row is None else (int(row[0]), bytes(row[1]))

    def ping(self, deadline: float) -> None:
        try:
            if self._connection is not None:
                self._insist_on_file()
            else:
                self._open()
            connection = self._open_connection()
            connection.execute("SELECT 1 FROM chain_record LIMIT 1").fetchone()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(_what(error)) from error

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed meanwhile
                connection.interrupt()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._wal = None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable("not open")
        return self._connection

    def _insist_on_file(self) -> None:
        """Raise StoreUnavailable if an open file is not the one under its name."""
        own_wal = self._wal is None or _identity(self._wal_file) == self._wal
        if _identity(self._file) != self._identity or not own_wal:
            self.close()
            raise StoreUnavailable("the database file was deleted, moved or replaced")

    def _open(self) -> None:
        raw = open_engine(self._url).raw_connection()
        connection = raw.driver_connection
        raw.detach()
        if not isinstance(connection, sqlite3.Connection):
            raise StoreUnavailable("not SQLite")
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=0")  # waiting is `_begin`'s
        connection.execute("PRAGMA synchronous=NORMAL")
        self._connection, self._identity = connection, _identity(self._file)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_dev)


def _begin(connection: sqlite3.Connection, deadline: float) -> None:
    """Begin a transaction. SQLite's own busy handler sleeps ever longer, and starves under load."""
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_SECONDS)
        else:
            return


def _what(error: BaseException) -> str:
    """SQLite's name of the error, else its type; messages are not passed on."""
    name = getattr(error, "sqlite_errorname", None)
    return name if isinstance(name, str) else type(error).__name__
