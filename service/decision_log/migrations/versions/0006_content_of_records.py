"""An index of the records that hold their own content, for its retention."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
usable_from = "0005"
branch_labels = None
depends_on = None

_HAS_CONTENT = sa.text("content IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "chain_record_content",
        "chain_record",
        ["recorded_at"],
        sqlite_where=_HAS_CONTENT,
        postgresql_where=_HAS_CONTENT,
    )


def downgrade() -> None:
    op.drop_index("chain_record_content", "chain_record")
