"""Whether a proxy repeated a call after it had lost the instance that it came to first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
usable_from = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("call", sa.Column("repeated", sa.Integer))


def downgrade() -> None:
    op.drop_column("call", "repeated")
