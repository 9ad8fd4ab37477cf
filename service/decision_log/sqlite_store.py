"""SQLite store: one durable transaction a batch (WAL, synchronous FULL)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator

from service.database.engines import database_file, open_engine
from service.decision_log.inserts import SqliteInserts
from service.decision_log.rows import LogEntry
from service.errors import EntryRejected, StoreUnavailable
from service.private_files import open_private

_TURN_SECONDS = 0.001
_BUSY_SECONDS = 0.001


class SqliteStore:
    """A `LogStore` on one connection, made by `ping` and dropped after an error.

    Processes take turns with a lock file, released by the death of its process. SQLite's own busy
    handler sleeps ever longer, so that a process would starve under load.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._inserts = SqliteInserts()
        self._connection: sqlite3.Connection | None = None
        self._turn: int | None = None

    def write(self, entry: LogEntry, deadline: float) -> None:
        connection, turn = self._connection, self._turn
        if connection is None or turn is None:
            raise StoreUnavailable("not open")
        try:
            with _turn_taken(turn, deadline):
                _begin(connection, deadline)
                for statement, parameters in self._inserts.of(entry):
                    connection.execute(statement, parameters)
                connection.execute("COMMIT")
        except (sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError) as error:
            self.close()
            raise EntryRejected(type(error).__name__) from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(_what(error)) from error

    def ping(self, deadline: float) -> None:
        try:
            if self._connection is None:
                self._open()
            if self._connection is not None:
                self._connection.execute("SELECT 1 FROM call LIMIT 1").fetchone()
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
        turn, self._turn = self._turn, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        if turn is not None:
            os.close(turn)

    def _open(self) -> None:
        raw = open_engine(self._url).raw_connection()
        connection = raw.driver_connection
        raw.detach()
        if not isinstance(connection, sqlite3.Connection):
            raise StoreUnavailable("not SQLite")
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=0")  # waiting is `_begin`'s
        lock = database_file(self._url).with_suffix(".lock")
        self._connection, self._turn = connection, open_private(lock, os.O_RDWR | os.O_CREAT)


@contextlib.contextmanager
def _turn_taken(turn: int, deadline: float) -> Iterator[None]:
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnavailable("other processes are writing") from None
            time.sleep(_TURN_SECONDS)
    try:
        yield
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)


def _begin(connection: sqlite3.Connection, deadline: float) -> None:
    """Begin a transaction. A writer outside the turns is an operator's command, and is brief."""
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
