"""Members are found by number and birth date; keys are compared by bytes on PostgreSQL."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
usable_from = "0002"
branch_labels = None
depends_on = None

_KEYED = (
    "payer_member",
    "payer_authorization",
    "payer_network",
    "payer_service",
    "payer_exemption",
)
_COLUMNS = ("payer", "key", "id", "member")
_BORN = {
    "sqlite": "json_extract(record, '$.birth_date')",
    "postgresql": "(record::json ->> 'birth_date')",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    _collate(dialect, '"C"')
    born = _BORN[dialect]
    op.execute(f"UPDATE payer_member SET key = key || ' ' || {born}")


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    bare = f"substr(key, 1, length(key) - length({_BORN[dialect]}) - 1)"
    op.execute(f"UPDATE payer_member SET key = {bare}")
    _collate(dialect, '"default"')


def _collate(dialect: str, collation: str) -> None:
    """By bytes, an index is smaller work, and a range of keys is what it is on SQLite."""
    if dialect != "postgresql":
        return
    for table in _KEYED:
        columns = ", ".join(f"ALTER {c} TYPE text COLLATE {collation}" for c in _COLUMNS)
        op.execute(f"ALTER TABLE {table} {columns}")
