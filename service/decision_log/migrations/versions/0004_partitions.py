"""Monthly partitions on PostgreSQL, and indexes for look-ups by EHR and by a card's call.

Existing rows are not copied: their tables become the first partitions, up to the end of this month.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from service.decision_log.partitions import (
    bound_of,
    coming_months,
    month_of,
    next_month,
    partition_statement,
)

revision = "0004"
down_revision = "0002"
usable_from = "0004"
branch_labels = None
depends_on = None

_KEYS = {"call": "call_id", "determination": "call_id, position", "card": "card_uuid"}
_BY = {"call": "call_id", "determination": "call_id", "card": "card_uuid"}
_FORMER_INDEXES = {
    "call": {"call_patient": "patient, call_id"},
    "determination": {
        "determination_assertion": "assertion_id, call_id",
        "determination_order": "order_ref, call_id",
    },
    "card": {},
}
_NEW_INDEXES = {
    "call_ehr": ("call", ["ehr", "call_id"]),
    "call_client": ("call", ["client", "call_id"]),
    "card_call": ("card", ["call_id"]),
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in _KEYS:
            _partition(table, datetime.now(UTC))
    for name, (table, columns) in _NEW_INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in _NEW_INDEXES.items():
        op.drop_index(name, table)
    if op.get_bind().dialect.name == "postgresql":
        for table in _KEYS:
            _unite(table)


def _partition(table: str, now: datetime) -> None:
    former = f"{table}_before"
    op.execute(f"ALTER TABLE {table} RENAME TO {former}")
    op.execute(f"ALTER INDEX {table}_pkey RENAME TO {former}_pkey")
    for index in _FORMER_INDEXES[table]:
        op.execute(f"ALTER INDEX {index} RENAME TO {index}_before")
    op.execute(f"CREATE TABLE {table} (LIKE {former}) PARTITION BY RANGE ({_BY[table]})")
    op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({_KEYS[table]})")
    for index, columns in _FORMER_INDEXES[table].items():
        op.execute(f"CREATE INDEX {index} ON {table} ({columns})")
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    first = month_of(now)
    some = sa.text(f"SELECT EXISTS (SELECT FROM {former})")  # noqa: S608
    if op.get_bind().execute(some).scalar():
        first = next_month(first)
        bound = bound_of(table, first)
        op.execute(
            f"WITH late AS (DELETE FROM {former} WHERE {_BY[table]} >= '{bound}' RETURNING *)"  # noqa: S608
            f" INSERT INTO {table}_default SELECT * FROM late"
        )
        op.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {former}"
            f" FOR VALUES FROM (MINVALUE) TO ('{bound}')"
        )
    else:
        op.execute(f"DROP TABLE {former}")
    for month in coming_months(first, now):
        _make_month(table, month)


def _make_month(table: str, month: datetime) -> None:
    """Make a month's partition, unless rows of it (of a clock that was wrong) are in the default
    partition already.
    """
    start, end = bound_of(table, month), bound_of(table, next_month(month))
    taken = sa.text(
        f"SELECT EXISTS (SELECT FROM {table}_default"  # noqa: S608
        f" WHERE {_BY[table]} >= '{start}' AND {_BY[table]} < '{end}')"
    )
    if not op.get_bind().execute(taken).scalar():
        op.execute(partition_statement(table, month))


def _unite(table: str) -> None:
    op.execute(f"CREATE TABLE {table}_whole (LIKE {table})")
    op.execute(f"INSERT INTO {table}_whole SELECT * FROM {table}")  # noqa: S608
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE {table}_whole RENAME TO {table}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({_KEYS[table]})")
    for index, columns in _FORMER_INDEXES[table].items():
        op.execute(f"CREATE INDEX {index} ON {table} ({columns})")
