"""Overview of the embedded source: numbers of records and last imports."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from service.database.engines import open_engine
from service.decision_log.instants import instant
from service.payer_data import payer_tables
from service.payer_data.record_rows import KINDS


def overview(url: str) -> Iterator[str]:
    """One line for each kind, without member data."""
    with open_engine(url).connect() as connection:
        for kind in KINDS.values():
            table = payer_tables.metadata.tables[kind.table]
            count = select(func.count()).select_from(table)
            if kind.name == "members":  # a row for each number
                count = count.where(payer_tables.is_own(table))
            last = (
                select(payer_tables.imports.c.at, payer_tables.imports.c.whole)
                .where(payer_tables.imports.c.kind == kind.name)
                .order_by(payer_tables.imports.c.import_id.desc())
                .limit(1)
            )
            records = connection.execute(count).scalar_one()
            row = connection.execute(last).first()
            when = "never imported"
            if row is not None:
                how = "whole" if row.whole else "delta"
                when = f"{how} of {instant(row.at).isoformat(timespec='seconds')}"
            yield f"{kind.name}: {records} ({when})"


def ever_imported(url: str) -> bool:
    """Whether any file was imported before."""
    with open_engine(url).connect() as connection:
        return (
            connection.execute(select(payer_tables.imports.c.import_id).limit(1)).first()
            is not None
        )
