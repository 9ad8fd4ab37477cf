"""The proxy's request that a token came with: what it repeats is no replay.

A former version, which names its columns, goes on beside it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
usable_from = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("used_tokens", sa.Column("request_sha256", sa.String(64)))
    op.add_column("used_tokens", sa.Column("repeatable_until", sa.BigInteger))
    op.add_column("used_tokens", sa.Column("repeats", sa.Integer))


def downgrade() -> None:
    op.drop_column("used_tokens", "repeats")
    op.drop_column("used_tokens", "repeatable_until")
    op.drop_column("used_tokens", "request_sha256")
