"""The payer's records: members, authorizations, network, services rendered, exemptions; imports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
usable_from = "0001"
branch_labels = None
depends_on = None

_RECORDS = (
    "payer_member",
    "payer_authorization",
    "payer_network",
    "payer_service",
    "payer_exemption",
)


def upgrade() -> None:
    for name in _RECORDS:
        op.create_table(
            name,
            sa.Column("payer", sa.Text, primary_key=True),
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("member", sa.Text, nullable=False),
            sa.Column("record", sa.Text, nullable=False),
            sa.Column("version", sa.Text, nullable=False),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "payer_import",
        sa.Column("import_id", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("whole", sa.Integer, nullable=False),
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column("added", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("removed", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for name in ("payer_import", *reversed(_RECORDS)):
        op.drop_table(name)
