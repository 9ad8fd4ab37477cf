"""Columns renamed to the specifications' terms: program and undetermined."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
usable_from = "0002"
branch_labels = None
depends_on = None

_RENAMED = {"programme": "program", "gap": "undetermined"}


def upgrade() -> None:
    for old, new in _RENAMED.items():
        op.alter_column("determination", old, new_column_name=new)


def downgrade() -> None:
    for old, new in _RENAMED.items():
        op.alter_column("determination", new, new_column_name=old)
