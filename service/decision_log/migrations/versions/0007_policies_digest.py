"""The digest of the policies that a call was answered by; former calls have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
usable_from = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("call", sa.Column("policies_digest", sa.Text))


def downgrade() -> None:
    op.drop_column("call", "policies_digest")
