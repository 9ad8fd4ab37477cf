"""Embedded source: tables in SQLite or PostgreSQL, with one statement for each look-up.

A look-up sees the state before or after an import, never one in between, and never waits for it: an
import is one transaction, and both databases keep old rows for concurrent readers.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
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
_KNOWN = {"network known": "network_known", "history known": "history_known"}
"""Rows that say that a payer keeps such records at all → the field of `Records`."""
_FIELDS = {
    "members": "members",
    "authorizations": "authorizations",
    "network": "contracts",
    "history": "services",
    "exemptions": "exemptions",
}
_READ: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    kind.name: (_FIELDS[kind.name], kind.decoder()) for kind in KINDS.values()
}
"""Kind of a row → the field of `Records`, and the decoder of its record."""

_json = msgspec.json.Encoder().encode

_STATEMENT = """
WITH m AS (
  SELECT record, member FROM payer_member WHERE payer = {payer} AND key {numbers}
)
SELECT 'members', record FROM m
UNION ALL SELECT 'authorizations', a.record FROM {by_member} payer_authorization a
  WHERE a.payer = {payer} AND a.key {of_member}
UNION ALL SELECT 'history', s.record FROM {by_service} payer_service s
  WHERE s.payer = {payer} AND s.key {of_service}
UNION ALL SELECT 'network', record FROM payer_network WHERE payer = {payer} AND key {providers}
UNION ALL SELECT 'exemptions', record FROM payer_exemption
  WHERE payer = {payer} AND key {providers}
UNION ALL SELECT 'network known', ''
  WHERE EXISTS (SELECT 1 FROM payer_network WHERE payer = {payer})
UNION ALL SELECT 'history known', ''
  WHERE EXISTS (SELECT 1 FROM payer_service WHERE payer = {payer})
"""

POSTGRES = _STATEMENT.format(
    payer="%(payer)s",
    numbers="= ANY(%(numbers)s::text[])",
    providers="= ANY(%(providers)s::text[])",
    by_member="",
    of_member="= ANY(ARRAY(SELECT member FROM m))",
    by_service="",
    of_service="= ANY(ARRAY(SELECT m.member || ' ' || c FROM m, unnest(%(codes)s::text[]) c))",
)
"""With arrays, the plan is of index scans whatever the statistics of a table say."""


SQLITE = _STATEMENT.format(
    payer="?1",
    numbers="IN (SELECT value FROM json_each(?2))",
    providers="IN (SELECT value FROM json_each(?4))",
    by_member="m CROSS JOIN",
    of_member="= m.member",
    by_service="m CROSS JOIN json_each(?3) c CROSS JOIN",
    of_service="= m.member || ' ' || c.value",
)
"""With lists as JSON, of any length."""

_MOST_SEARCHES = 48
_MEMBERS = "SELECT 'members', record FROM payer_member WHERE payer = ?1 AND key = {number}"
_AUTHORIZATIONS = """SELECT 'authorizations', a.record
  FROM payer_member m CROSS JOIN payer_authorization a
  WHERE m.payer = ?1 AND m.key = {number} AND a.payer = ?1 AND a.key = m.member"""
_HISTORY = """SELECT 'history', s.record FROM payer_member m CROSS JOIN payer_service s
  WHERE m.payer = ?1 AND m.key = {number} AND s.payer = ?1 AND s.key = m.member || ' ' || {code}"""
_NETWORK = "SELECT 'network', record FROM payer_network WHERE payer = ?1 AND key = {npi}"
_EXEMPTIONS = "SELECT 'exemptions', record FROM payer_exemption WHERE payer = ?1 AND key = {npi}"
_KEPT_AT_ALL = """SELECT 'network known', ''
  WHERE EXISTS (SELECT 1 FROM payer_network WHERE payer = ?1)
UNION ALL SELECT 'history known', ''
  WHERE EXISTS (SELECT 1 FROM payer_service WHERE payer = ?1)"""


@functools.cache
def _of_few(numbers: int, codes: int, providers: int) -> str:
    """SQLite's statement for so many values, with a search for each: a list of values, or rows that
    searches share, would be a temporary table, and making that takes as long as the searches.
    """
    places = iter(range(2, 2 + numbers + codes + providers))
    by_number, by_code, by_npi = (
        [f"?{next(places)}" for _ in range(n)] for n in (numbers, codes, providers)
    )
    searches = [
        *(_MEMBERS.format(number=n) for n in by_number),
        *(_AUTHORIZATIONS.format(number=n) for n in by_number),
        *(_HISTORY.format(number=n, code=c) for n in by_number for c in by_code),
        *(_NETWORK.format(npi=n) for n in by_npi),
        *(_EXEMPTIONS.format(npi=n) for n in by_npi),
        _KEPT_AT_ALL,
    ]
    return "\nUNION ALL ".join(searches)


def sqlite_query(wanted: Wanted) -> tuple[str, tuple[str, ...]]:
    """A look-up on SQLite: the statement with its parameters."""
    lists = wanted.member_keys, sorted(wanted.codes), sorted(wanted.providers)
    numbers, codes, providers = map(len, lists)
    if numbers * (2 + codes) + 2 * providers <= _MOST_SEARCHES:
        return _of_few(numbers, codes, providers), (wanted.payer, *itertools.chain(*lists))
    return SQLITE, (wanted.payer, *(_json(each).decode() for each in lists))


def parameters(wanted: Wanted) -> dict[str, Any]:
    """The parameters of a look-up on PostgreSQL."""
    return {
        "payer": wanted.payer,
        "numbers": wanted.member_keys,
        "codes": sorted(wanted.codes),
        "providers": sorted(wanted.providers),
    }


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
            rows = connection.execute(*sqlite_query(wanted)).fetchall()
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
        job = _Job(parameters(wanted), deadline)
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
            try:
                threading.Thread(target=self._serve, name="payer-data", daemon=True).start()
            except RuntimeError:
                with self._lock:
                    self._threads -= 1
                raise PayerDataUnavailable("no more threads in the system") from None
        self._jobs.put(job)

    def _serve(self) -> None:
        connection: psycopg.Connection | None = None
        self._count_idle(1)
        while (job := self._jobs.get()) is not None:
            self._count_idle(-1)
            answer: Sequence[tuple[str, str]] | PayerDataUnavailable | None = None
            if time.monotonic() <= job.deadline:  # else its caller has given up
                connection, answer = self._answer(job, connection)
            # Idle before the caller goes on: its next look-up then needs no other connection.
            self._count_idle(1)
            if answer is not None:
                job.answer.put(answer)
        if connection is not None:
            connection.close()

    def _count_idle(self, more: int) -> None:
        with self._lock:
            self._idle += more

    def _answer(
        self, job: _Job, connection: psycopg.Connection | None
    ) -> tuple[psycopg.Connection | None, Sequence[tuple[str, str]] | PayerDataUnavailable]:
        import psycopg

        try:
            try:
                return _asked(self._url, connection, job)
            except psycopg.OperationalError:
                if connection is None:
                    raise
                # A kept connection that the server has closed in the meantime.
                return _asked(self._url, None, job)
        except Exception as error:
            # A thread's exception has no caller: the waiting one gets its type.
            if connection is not None:
                with contextlib.suppress(psycopg.Error):
                    connection.close()
            return None, PayerDataUnavailable(trouble(error))

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
    return connection, connection.execute(POSTGRES, job.parameters, prepare=True).fetchall()


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
    found: dict[str, list[Any]] = {}
    fields: dict[str, Any] = {}
    try:
        for kind, record in dict.fromkeys(rows):
            if kind in _KNOWN:
                fields[_KNOWN[kind]] = True
            else:
                field, decode = _READ[kind]
                found.setdefault(field, []).append(decode(record))
    except msgspec.DecodeError:
        # Its message would quote the record.
        raise PayerDataUnavailable("a record is not readable") from None
    for field, records in found.items():
        fields[field] = tuple(records)
    return Records(**fields)
