"""Tables of the embedded source (SQLAlchemy Core), the same on SQLite and PostgreSQL.

A record is JSON under its look-up key; a member has a row for each of its numbers. A look-up thus
uses one index of each table, for any number of rows. On PostgreSQL the keys are of collation "C".
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, ColumnElement, Integer, MetaData, Table, Text, func

from service.database.table_revisions import Migrations

REVISION = "0002"
"""The newest revision in `migrations/versions`, as a test verifies."""

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "payer_data_version", REVISION)

metadata = MetaData()


def _records(name: str) -> Table:
    """A table of records: `key` for the look-up, `id` unique within a key, `member` the owner.

    `record` is JSON without empty values, `version` the first digits of its hash.
    """
    return Table(
        name,
        metadata,
        Column("payer", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("id", Text, primary_key=True),
        Column("member", Text, nullable=False),
        Column("record", Text, nullable=False),
        Column("version", Text, nullable=False),
        sqlite_with_rowid=False,
    )


member = _records("payer_member")
"""By each number of the member, with the birth date (`record_rows.member_key`)."""


def is_own(row: Table) -> ColumnElement[bool]:
    """Whether a member's row is the one of its own number: each member has one of these."""
    c = row.c
    return func.substr(c.key, 1, func.length(c.member) + 1) == c.member + " "


authorization = _records("payer_authorization")
"""By the member's number."""

network = _records("payer_network")
"""By NPI."""

service = _records("payer_service")
"""By the member's number and the code."""

exemption = _records("payer_exemption")
"""By NPI."""

imports = Table(
    "payer_import",
    metadata,
    Column("import_id", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("whole", Integer, nullable=False),
    Column("file_sha256", Text, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("removed", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
)
"""Imports, without member data; `at` in microseconds since 1970 UTC."""
