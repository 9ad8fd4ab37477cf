"""An index of the calls that a proxy repeated, for counting each call once.

Without it, SQLite reads each call's content to come to the column behind it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
usable_from = "0005"
branch_labels = None
depends_on = None

_IS_REPEATED = sa.text("repeated IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "call_repeated",
        "call",
        ["call_id"],
        sqlite_where=_IS_REPEATED,
        postgresql_where=_IS_REPEATED,
    )


def downgrade() -> None:
    op.drop_index("call_repeated", "call")
