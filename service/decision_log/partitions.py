"""Partitions of the log on PostgreSQL: one for each month (UTC) of calls, determinations and cards.

Their keys begin with the time: call ids, and the uuids of cards. What has another key, or is of a
month without a partition, is in a default partition. Rows of before the partitions stay together
in one, which ends with the month of the migration.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from service.database.database_errors import trouble
from service.database.engines import open_engine
from service.database.urls import is_sqlite
from service.decision_log.instants import first_call_id
from service.errors import RecordsUnavailable, StoreUnavailable

PARTITIONED = {"call": "call_id", "determination": "call_id", "card": "card_uuid"}
"""Table → the column that tells the month."""

MONTHS_AHEAD = 12
_LOCK_TRIES = 60
_LOCK_WAIT = "500ms"
_PAUSE_SECONDS = 0.5
_DUPLICATE_TABLE = "42P07"
_UNDEFINED_TABLE = "42P01"
_PARTITIONS_LOCK = 0x636F766573
"""Number of the advisory lock of the partitions: PostgreSQL fails where one is dropped twice."""


def first_kept(connection: Connection, before: datetime) -> datetime:
    """The instant from which on calls are kept: on PostgreSQL the first of its month, UTC."""
    if connection.dialect.name != "postgresql":
        return before
    return month_of(before)


def month_of(at: datetime) -> datetime:
    """The beginning of an instant's month, UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The beginning of the month after."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def bound_of(table: str, month: datetime) -> str:
    """The lower bound of a table's keys of a month and later."""
    first = first_call_id(month)
    return f"{first[:8]}-{first[8:12]}-{first[12:]}" if table == "card" else first


def name_of(table: str, month: datetime) -> str:
    """The partition of a month: "call_2026_11"."""
    return f"{table}_{month:%Y_%m}"


def months(connection: Connection, table: str) -> list[datetime]:
    """The months that have a partition, oldest first."""
    found = []
    for name in _children(connection, table):
        year, _, month = name.removeprefix(f"{table}_").partition("_")
        if year.isdecimal() and month.isdecimal():
            found.append(datetime(int(year), int(month), 1, tzinfo=UTC))
    return sorted(found)


def make_months_ahead(connection: Connection, now: datetime) -> int:
    """Make the partitions of the coming months that are missing; returns their number.

    Needs the owner of the tables. Nothing to do on SQLite. Raises RecordsUnavailable where others
    hold the tables for long.
    """
    if connection.dialect.name != "postgresql":
        return 0
    made = 0
    for table in PARTITIONED:
        there = months(connection, table)
        first = next_month(there[-1]) if there else month_of(now)
        for month in coming_months(first, now):
            try:
                _alone(connection, partition_statement(table, month))
                made += 1
            except IntegrityError:
                connection.rollback()  # its first rows are in the default partition, and stay there
            except ProgrammingError as error:
                connection.rollback()
                if getattr(error.orig, "sqlstate", None) != _DUPLICATE_TABLE:
                    raise  # else another process has made it meanwhile
    connection.commit()
    return made


def make_coming_months(url: str) -> int:
    """The same for the log at a URL, now. Raises StoreUnavailable if it cannot be reached."""
    if is_sqlite(url):
        return 0
    try:
        with open_engine(url).connect() as connection:
            return make_months_ahead(connection, datetime.now(UTC))
    except SQLAlchemyError as error:
        raise StoreUnavailable(trouble(error)) from error


def coming_months(first: datetime, now: datetime) -> Iterator[datetime]:
    """The months from `first` to MONTHS_AHEAD after now."""
    month, left = month_of(now), MONTHS_AHEAD
    while left >= 0:
        if month >= first:
            yield month
        month, left = next_month(month), left - 1


def partition_statement(table: str, month: datetime) -> str:
    """The statement that makes a month's partition."""
    start, end = bound_of(table, month), bound_of(table, next_month(month))
    return (
        f"CREATE TABLE {name_of(table, month)} PARTITION OF {table}"
        f" FOR VALUES FROM ('{start}') TO ('{end}')"
    )


def drop_months_before(connection: Connection, before: datetime) -> Iterator[int]:
    """Drop the partitions of the months before; yields the calls of each, once it is gone.

    Feedback on their cards goes first. Raises RecordsUnavailable where others hold the tables for
    long.
    """
    if connection.dialect.name != "postgresql":
        return
    for month in sorted({m for table in PARTITIONED for m in months(connection, table)}):
        if month >= before:
            return
        yield _drop_month(connection, month)


def _drop_month(connection: Connection, month: datetime) -> int:
    """Drop what is there of a month's partitions; the number of its calls.

    What another process drops at this moment is that one's to count.
    """
    count = 0
    _hold(connection)
    if month in months(connection, "call"):
        calls = connection.execute(text(f"SELECT count(*) FROM {name_of('call', month)}"))  # noqa: S608
        count = int(calls.scalar() or 0)
    if month in months(connection, "card"):
        connection.execute(
            text(
                f"DELETE FROM feedback WHERE card_uuid IN"  # noqa: S608
                f" (SELECT card_uuid FROM {name_of('card', month)})"
            )
        )
    connection.commit()
    for table in PARTITIONED:
        dropped = False
        with _unless_gone(connection):
            _alone(connection, f"DROP TABLE {name_of(table, month)}")
            dropped = True
        if table == "call" and not dropped:
            count = 0
    return count


@contextlib.contextmanager
def _unless_gone(connection: Connection) -> Iterator[None]:
    """Leave the block where a partition that it names is not there."""
    try:
        yield
    except ProgrammingError as error:
        connection.rollback()
        if getattr(error.orig, "sqlstate", None) != _UNDEFINED_TABLE:
            raise


def _hold(connection: Connection) -> None:
    """Keep other processes from making or dropping partitions until this transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _PARTITIONS_LOCK})


def _alone(connection: Connection, statement: str) -> None:
    """Execute a statement that needs a table for itself, in a transaction of its own.

    It makes no others wait, who would queue behind it while it waits for a reader.
    """
    for _ in range(_LOCK_TRIES):
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
            _hold(connection)
            connection.execute(text(statement))
            connection.commit()
            return
        except OperationalError as error:
            connection.rollback()
            if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
                raise
            time.sleep(_PAUSE_SECONDS)
    raise RecordsUnavailable(
        "other programs hold the tables of the log for long; run this again when they have ended"
    )


def _children(connection: Connection, table: str) -> list[str]:
    wanted = text(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass(:table) ORDER BY c.relname"
    )
    return [str(name) for name in connection.execute(wanted, {"table": table}).scalars()]
