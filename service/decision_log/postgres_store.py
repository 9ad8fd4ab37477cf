"""PostgreSQL store, shared by any number of instances: one synchronous commit a batch."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from service.database.database_errors import trouble
from service.database.engines import open_engine
from service.decision_log.inserts import PostgresInserts
from service.decision_log.rows import LogEntry
from service.errors import EntryRejected, StoreUnavailable

_NEWEST = "SELECT sequence, hash FROM chain_record WHERE chain = %s ORDER BY sequence DESC LIMIT 1"


class PostgresStore:
    """A `LogStore` on one connection, made by `ping` and dropped after an error.

    Each statement is its own transaction and is not prepared, so that a pooler in transaction mode
    may stand between.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._inserts = PostgresInserts()
        self._connection: psycopg.Connection | None = None
        self._line: socket.socket | None = None
        self._asynchronous = False

    def write(self, entry: LogEntry, deadline: float) -> None:
        connection = self._connection
        if connection is None:
            raise StoreUnavailable("not connected")
        try:
            with self._durable(connection):
                connection.execute(*self._inserts.of(entry), prepare=False)
        except (psycopg.DataError, OverflowError, UnicodeError) as error:
            self.close()
            raise EntryRejected(trouble(error)) from error
        except (psycopg.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(trouble(error)) from error

    def newest(self, chain: int) -> tuple[int, bytes] | None:
        connection = self._connection
        if connection is None:
            raise StoreUnavailable("not connected")
        try:
            row = connection.execute(_NEWEST, (chain,), prepare=False).fetchone()
        except (psycopg.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(trouble(error)) from error
        return None if row is None else (int(row[0]), bytes(row[1]))

    def ping(self, deadline: float) -> None:
        try:
            connection = self._connection or self._connect()
            connection.execute("SELECT 1 FROM chain_record LIMIT 1", prepare=False)
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
        self._asynchronous = self._is_asynchronous(connection)
        self._connection = connection
        return connection

    @contextlib.contextmanager
    def _durable(self, connection: psycopg.Connection) -> Iterator[None]:
        """Override a server's asynchronous commits: rows are durable on return.

        Within the transaction, for a session may be another's a moment later.
        """
        if not self._asynchronous:
            yield
            return
        with connection.transaction():
            connection.execute("SET LOCAL synchronous_commit TO on", prepare=False)
            yield

    def _is_asynchronous(self, connection: psycopg.Connection) -> bool:
        row = connection.execute("SHOW synchronous_commit", prepare=False).fetchone()
        return row is not None and row[0] == "off"
