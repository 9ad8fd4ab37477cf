"""Tables as a later version leaves them: one more migration, made up here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from service.database.table_revisions import Migrations, upgrade

LATER = "9999"
_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{later}"
down_revision = "{head}"
usable_from = "{usable_from}"


def upgrade() -> None:
    op.add_column("{table}", sa.Column("of_a_later_version", sa.String(64)))
    op.create_index("ix_{table}_of_a_later_version", "{table}", ["of_a_later_version"])
    op.create_table("{table}_of_a_later_version", sa.Column("id", sa.BigInteger, primary_key=True))
"""


def later(folder: Path, tables: Migrations, table: str, *, usable_from: str) -> Migrations:
    """The migrations of a later version, in a new folder: it adds to a table and makes another."""
    shutil.copytree(tables.folder, folder)
    (folder / "versions" / f"{LATER}_later.py").write_text(
        _MIGRATION.format(later=LATER, head=tables.revision, table=table, usable_from=usable_from)
    )
    return replace(tables, folder=folder, revision=LATER)


def migrated(url: str, folder: Path, tables: Migrations, table: str, *, usable_from: str) -> None:
    """Bring tables that are there, or none, to that later version."""
    upgrade(url, later(folder, tables, table, usable_from=usable_from))
