"""PostgreSQL store, shared by any number of instances: one synchronous commit a batch."""

from __future__ import annotations

import contextlib
import socket

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from service.database.database_errors import trouble
from service.database.engines import open_engine
from service.decision_log.inserts import PostgresInserts
from service.decision_log.rows import LogEntry
from service.errors import EntryRejected, StoreUnavailable


class PostgresStore:
    """A `LogStore` on one connection, made by `ping` and dropped after an error.

    Each statement is prepared, and is its own transaction.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._inserts = PostgresInserts()
        self._connection: psycopg.Connection | None = None
        self._line: socket.socket | None = None

    def write(self, entry: LogEntry, deadline: float) -> None:
        connection = self._connection
        if connection is None:
            raise StoreUnavailable("not connected")
        try:
            for statement, parameters in self._inserts.of(entry):
                connection.execute(statement, parameters, prepare=True)
        except (psycopg.DataError, OverflowError, UnicodeError) as error:
            self.close()
            raise EntryRejected(trouble(error)) from error
        except (psycopg.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(trouble(error)) from error

    def ping(self, deadline: float) -> None:
        try:
            connection = self._connection or self._connect()
            connection.execute("SELECT 1 FROM call LIMIT 1")
        except (psycopg.Error, SQLAlchemyError, OSError) as error:
            self.close()
            raise StoreUnavailable(trouble(error)) from error

    def interrupt(self) -> None:
        # A connection hangs as long as the kernel of a stopped server acknowledges. Shutting down
        # our end stops that; `_line` is a duplicate, so its number cannot be reused by another
        # file.
        line = self._line
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _connect(self) -> psycopg.Connection:
        raw = open_engine(self._url).raw_connection()
        connection = raw.driver_connection
        raw.detach()
        if not isinstance(connection, psycopg.Connection):
            raise StoreUnavailable("not PostgreSQL")
        connection.autocommit = True
        self._line = socket.socket(fileno=socket.dup(connection.fileno()))
        self._insist_on_durability(connection)
        self._connection = connection
        return connection

    def _insist_on_durability(self, connection: psycopg.Connection) -> None:
        """Override a server's asynchronous commits: the log is durable on return."""
        row = connection.execute("SHOW synchronous_commit").fetchone()
        if row is not None and row[0] == "off":
            connection.execute("SET synchronous_commit TO on")
