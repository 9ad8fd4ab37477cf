"""Used tokens and call counts. Earlier versions created them without a revision: they stay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
usable_from = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "used_tokens",
        sa.Column("issuer", sa.String(255), primary_key=True),
        sa.Column("jti_sha256", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_used_tokens_expires_at", "used_tokens", ["expires_at"], if_not_exists=True)
    op.create_table(
        "client_calls",
        sa.Column("issuer", sa.String(255), primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True),
        sa.Column("calls", sa.Integer, nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("client_calls")
    op.drop_table("used_tokens")
