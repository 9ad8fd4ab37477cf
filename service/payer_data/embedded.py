"""Embedded source: tables in SQLite or PostgreSQL, with one statement for each look-up.

A look-up sees the state before or after an import, never one in between, and never waits for it: an
import is one transaction, and both databases keep old rows for concurrent readers.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from service.circuit_breaker import CircuitBreaker
from service.database.database_errors import trouble
from service.database.engines import database_file, open_engine
from service.database.urls import is_sqlite
from service.errors import PayerDataUnavailable
from service.payer_data.port import PayerData, Records, SourceHealth, Wanted, source_circuit
from service.payer_data.record_rows import KINDS

if TYPE_CHECKING:
    import psycopg

_CONNECTIONS = 4
_NETWORK_KNOWN, _HISTORY_KNOWN = "network known", "history known"
"""Rows that say that a payer keeps such records at all."""

_json = msgspec.json.Encoder().encode
_DECODERS: Mapping[str, Callable[[str], Any]] = {k.name: k.decoder() for k in KINDS.values()}

_STATEMENT = """
WITH m AS (
  SELECT record, member FROM payer_member WHERE payer = {payer} AND key {numbers}
)
SELECT 'members', record FROM m
UNION ALL SELECT 'authorizations', record FROM payer_authorization
  WHERE payer = {payer} AND key IN (SELECT member FROM m)
UNION ALL SELECT 'history', record FROM payer_service
  WHERE payer = {payer} AND key IN (SELECT m.member || ' ' || c.value FROM m, {codes} c)
UNION ALL SELECT 'network', record FROM payer_network WHERE payer = {payer} AND key {providers}
UNION ALL SELECT 'exemptions', record FROM payer_exemption
  WHERE payer = {payer} AND key {providers}
UNION ALL SELECT 'network known', ''
  WHERE EXISTS (SELECT 1 FROM payer_network WHERE payer = {payer})
UNION ALL SELECT 'history known', ''
  WHERE EXISTS (SELECT 1 FROM payer_service WHERE payer = {payer})
"""

_SQLITE = _STATEMENT.format(
    payer=":payer",
    numbers="IN (SELECT value FROM json_each(:numbers))",
    codes="json_each(:codes)",
    providers="IN (SELECT value FROM json_each(:providers))",
)
_POSTGRES = _STATEMENT.format(
    payer="%(payer)s",
    numbers="= ANY(%(numbers)s::text[])",
    codes="unnest(%(codes)s::text[])",
    providers="= ANY(%(providers)s::text[])",
).replace("c.value", "c")


def open_embedded(url: str, circuit: CircuitBreaker | None = None) -> PayerData:
    """The source at a database URL; nothing is opened before the first question."""
    circuit = circuit or source_circuit()
    return SqliteSource(url, circuit) if is_sqlite(url) else PostgresSource(url, circuit)


class SqliteSource:
    """A source on a few connections to one file, shared by threads.

    Look-ups run in the calling thread: the file is local, and readers never wait.
    """

    def __init__(self, url: str, circuit: CircuitBreaker) -> None:
        self._file = database_file(url)
        self._circuit = circuit
        self._idle: deque[sqlite3.Connection] = deque()

    def look_up(self, wanted: Wanted, deadline: float) -> Records:
        return self._circuit.call(lambda: self._look_up(wanted))

    def _look_up(self, wanted: Wanted) -> Records:
        try:
            connection = self._taken()
            rows = connection.execute(
                _SQLITE,
                {
                    "payer": wanted.payer,
                    "numbers": _json(wanted.member_keys).decode(),
                    "codes": _json(list(wanted.codes)).decode(),
                    "providers": _json(list(wanted.providers)).decode(),
                },
            ).fetchall()
        except sqlite3.Error as error:
            # Not returned: a failed connection is not used again.
            raise PayerDataUnavailable(type(error).__name__) from None
        self._idle.append(connection)
        return _records(rows)

    def _taken(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            path = f"{self._file.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(
                path, uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA query_only=ON")
            return connection

    def health(self) -> SourceHealth:
        c = self._circuit
        return SourceHealth("embedded", c.closed, c.called, c.failed, c.refused)

    def close(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


class _Job:
    """A look-up for a thread with a connection, and its result."""

    __slots__ = ("answer", "deadline", "parameters")

    def __init__(self, parameters: Mapping[str, Any], deadline: float) -> None:
        self.parameters = parameters
        self.deadline = deadline
        self.answer: SimpleQueue[Sequence[tuple[str, str]] | PayerDataUnavailable] = SimpleQueue()


class PostgresSource:
    """A source on a few connections to a server, each with its own thread.

    A look-up ends at its deadline whatever the server does: a hanging connection blocks its own
    thread only.
    """

    def __init__(self, url: str, circuit: CircuitBreaker, connections: int = _CONNECTIONS) -> None:
        self._url = url
        self._circuit = circuit
        self._most = connections
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def look_up(self, wanted: Wanted, deadline: float) -> Records:
        return self._circuit.call(lambda: self._look_up(wanted, deadline))

    def _look_up(self, wanted: Wanted, deadline: float) -> Records:
        parameters = {
            "payer": wanted.payer,
            "numbers": wanted.member_keys,
            "codes": sorted(wanted.codes),
            "providers": sorted(wanted.providers),
        }
        job = _Job(parameters, deadline)
        self._hand_over(job)
        try:
            answer = job.answer.get(timeout=max(deadline - time.monotonic(), 0))
        except Empty:
            raise PayerDataUnavailable("timeout") from None
        if isinstance(answer, PayerDataUnavailable):
            raise answer
        return _records(answer)

    def _hand_over(self, job: _Job) -> None:
        with self._lock:
            start = self._idle == 0 and self._threads < self._most
            self._threads += start
        if start:
            threading.Thread(target=self._serve, name="payer-data", daemon=True).start()
        self._jobs.put(job)

    def _serve(self) -> None:
        connection: psycopg.Connection | None = None
        while True:
            with self._lock:
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            if job is None:
                break
            if time.monotonic() > job.deadline:  # its caller has given up
                continue
            connection = self._answer(job, connection)
        if connection is not None:
            connection.close()

    def _answer(
        self, job: _Job, connection: psycopg.Connection | None
    ) -> psycopg.Connection | None:
        import psycopg

        try:
            try:
                connection, rows = _asked(self._url, connection, job)
            except psycopg.OperationalError:
                if connection is None:
                    raise
                # A kept connection that the server has closed in the meantime.
                connection, rows = _asked(self._url, None, job)
        except Exception as error:
            # A thread's exception has no caller: the waiting one gets its type.
            job.answer.put(PayerDataUnavailable(trouble(error)))
            if connection is not None:
                with contextlib.suppress(psycopg.Error):
                    connection.close()
            return None
        job.answer.put(rows)
        return connection

    def health(self) -> SourceHealth:
        c = self._circuit
        return SourceHealth("embedded", c.closed, c.called, c.failed, c.refused)

    def close(self) -> None:
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._jobs.put(None)


def _asked(
    url: str, connection: psycopg.Connection | None, job: _Job
) -> tuple[psycopg.Connection, Sequence[tuple[str, str]]]:
    connection = connection or _connected(url)
    return connection, connection.execute(_POSTGRES, job.parameters, prepare=True).fetchall()


def _connected(url: str) -> psycopg.Connection:
    import psycopg

    raw = open_engine(url).raw_connection()
    connection = raw.driver_connection
    raw.detach()
    if not isinstance(connection, psycopg.Connection):
        raise PayerDataUnavailable("not PostgreSQL")
    connection.autocommit = True
    connection.execute("SET default_transaction_read_only = on")
    return connection


def _records(rows: Iterable[tuple[str, str]]) -> Records:
    """The records without duplicates: a member is found by each of its numbers."""
    found: dict[str, list[Any]] = {name: [] for name in KINDS}
    kept: set[str] = set()
    for kind, record in dict.fromkeys(rows):
        if kind in (_NETWORK_KNOWN, _HISTORY_KNOWN):
            kept.add(kind)
        else:
            found[kind].append(_DECODERS[kind](record))
    return Records(
        members=tuple(found["members"]),
        authorizations=tuple(found["authorizations"]),
        contracts=tuple(found["network"]),
        services=tuple(found["history"]),
        exemptions=tuple(found["exemptions"]),
        network_known=_NETWORK_KNOWN in kept,
        history_known=_HISTORY_KNOWN in kept,
    )
