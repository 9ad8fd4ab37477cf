"""Soundness of the database: revision, SQLite's own check, and rows whose call is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from service.database.backup import unsound_sqlite
from service.database.database_errors import trouble, what_next
from service.database.engines import database_file, open_engine
from service.database.table_revisions import Migrations, TablesFound, of_another, tables_at
from service.database.urls import is_sqlite
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.tables import call, card, determination, metadata
from service.errors import StoreUnavailable

_INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class Soundness:
    """Findings of a check: rows by table, and what is wrong, in words."""

    rows: Mapping[str, int] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()


def check_database(url: str, tables: Sequence[Migrations]) -> Soundness:
    """Check the database at `url`, which must be there; `tables` are the log's and others of it.

    Raises StoreUnavailable.
    """
    found = {wanted: tables_at(url, wanted) for wanted in tables}
    if not any(there.revision for there in found.values()):
        return Soundness(
            wrong=(
                "it has no tables of this program: correct COVERCARD_DATABASE_URL, or run"
                " `covercard db upgrade`",
            )
        )
    wrong = list(_wrong_revisions(url, found))
    if is_sqlite(url):
        told = unsound_sqlite(database_file(url))
        if told is not None:
            return Soundness(wrong=(*wrong, f"SQLite finds the file unsound: {told}"))
    if wrong:
        return Soundness(wrong=tuple(wrong))
    try:
        with open_engine(url).connect() as connection:
            there = {*inspect(connection).get_table_names()}
            if not found[DECISION_LOG].revision and not there.isdisjoint(metadata.tables):
                return Soundness(wrong=(of_another(url, found[DECISION_LOG]),))
            rows = {
                name: int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)
                for name, table in metadata.tables.items()
                if name in there
            }
            alone = _rows_without_call(connection) if call.name in there else ()
            return Soundness(rows, (*alone, *_unwritable(connection)))
    except SQLAlchemyError as error:
        raise StoreUnavailable(trouble(error)) from error


def _wrong_revisions(url: str, found: Mapping[Migrations, TablesFound]) -> Iterator[str]:
    for wanted, there in found.items():
        if there.revision is None and is_sqlite(url):
            continue  # made by the service when it needs them
        misfit = there.misfit(wanted)
        if misfit is not None:
            yield f"the tables of {wanted.version_table} are {misfit}"


def _unwritable(connection: Connection) -> Iterator[str]:
    """The reasons why no row could be added now: told by a page that is written, on PostgreSQL to a
    table of this session, and there also by settings and rights. A batch of rows needs more room.
    """
    if connection.dialect.name == "sqlite":
        try:
            number = connection.exec_driver_sql("PRAGMA user_version").scalar()
            connection.exec_driver_sql(f"PRAGMA user_version = {number}")  # writes a page
            connection.commit()
        except SQLAlchemyError as error:
            yield f"it cannot be written to ({trouble(error)}): make room, or give the right"
        return
    yield from _unwritable_postgres(connection)


def _unwritable_postgres(connection: Connection) -> Iterator[str]:
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on":
        yield (
            "it takes no rows: it is a replica, or set to default_transaction_read_only; name the"
            " server that can be written to, or end the setting"
        )
        return
    may = text("SELECT has_table_privilege(:name, 'INSERT')")
    for name in metadata.tables:
        if not connection.execute(may, {"name": name}).scalar():
            yield (
                f"its user may not add to {name}: run `covercard db grant` with that user's name,"
                " as the tables' owner"
            )
    try:
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE room_for_rows ON COMMIT DROP AS SELECT generate_series(1, 1000)"
        )
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:  # then it is not told
            yield f"it cannot be written to ({trouble(error)}): {what_next(error)}"
    connection.rollback()


def _rows_without_call(connection: Connection) -> Iterator[str]:
    """Rows are written and removed with their call."""
    for table in (determination, card):
        known = select(call.c.call_id).where(call.c.call_id == table.c.call_id).exists()
        alone = select(func.count()).select_from(table).where(~known)
        count = int(connection.execute(alone).scalar() or 0)
        if count:
            yield f"{count} rows of {table.name} are of calls that are not there"
