"""Soundness of the database: revision, SQLite's own check, and rows whose call is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from service.database.backup import unsound_sqlite
from service.database.database_errors import trouble
from service.database.engines import database_file, open_engine
from service.database.table_revisions import Migrations, revision, unfit
from service.database.urls import is_sqlite
from service.decision_log.tables import call, card, determination, metadata
from service.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Soundness:
    """Findings of a check: rows by table, and what is wrong, in words."""

    rows: Mapping[str, int] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()


def check_database(url: str, tables: Sequence[Migrations]) -> Soundness:
    """Check the database at `url`, which must be there. Raises StoreUnavailable."""
    wrong = list(_wrong_revisions(url, tables))
    if is_sqlite(url):
        told = unsound_sqlite(database_file(url))
        if told is not None:
            return Soundness(wrong=(*wrong, f"SQLite finds the file unsound: {told}"))
    if wrong:
        return Soundness(wrong=tuple(wrong))
    try:
        with open_engine(url).connect() as connection:
            there = {*inspect(connection).get_table_names()}
            rows = {
                name: int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)
                for name, table in metadata.tables.items()
                if name in there
            }
            alone = _rows_without_call(connection) if call.name in there else ()
            return Soundness(rows, tuple(alone))
    except SQLAlchemyError as error:
        raise StoreUnavailable(trouble(error)) from error


def _wrong_revisions(url: str, tables: Sequence[Migrations]) -> Iterator[str]:
    for wanted in tables:
        found = revision(url, wanted)
        if found is None and is_sqlite(url):
            continue  # made by the service when it needs them
        if found != wanted.revision:
            yield f"the tables of {wanted.version_table} are {unfit(found, wanted)}"


def _rows_without_call(connection: Connection) -> Iterator[str]:
    """Rows are written and removed with their call."""
    for table in (determination, card):
        known = select(call.c.call_id).where(call.c.call_id == table.c.call_id).exists()
        alone = select(func.count()).select_from(table).where(~known)
        count = int(connection.execute(alone).scalar() or 0)
        if count:
            yield f"{count} rows of {table.name} are of calls that are not there"
