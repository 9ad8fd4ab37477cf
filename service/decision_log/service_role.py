"""The service's role on PostgreSQL: it adds to the log and reads it, and changes nothing.

The owner of the tables migrates and prunes. What authentication counts and forgets is no evidence,
and the service's to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Engine, Table, inspect, text

from service.decision_log.tables import metadata
from service.errors import ConfigurationError

_ADDED_TO = "SELECT, INSERT"
_CHANGED = "SELECT, INSERT, UPDATE, DELETE"


def grant_to(
    engine: Engine, role: str, changed: Sequence[Table], versions: Sequence[str]
) -> list[str]:
    """Give a role what the service needs, and no more; returns the statements.

    `changed` are the tables that the service may also change, `versions` those of revisions, to be
    read. Raises ConfigurationError for an unknown role, without the tables or as another role than
    their owner, and on SQLite, which has no roles.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "COVERCARD_DATABASE_URL: SQLite has no roles; its file is for its owner only"
        )
    with engine.begin() as connection:
        known = connection.execute(
            text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}
        )
        if known.scalar() is None:
            raise ConfigurationError(
                f"there is no role {role!r} in the database; create it first:"
                f" CREATE ROLE {_quoted(engine, role)} LOGIN"
            )
        there = {*inspect(connection).get_table_names()}
        if not there.issuperset(metadata.tables):
            raise ConfigurationError(
                "the tables are not all there: run `covercard db upgrade` first, as their owner"
            )
        own = connection.scalar(
            text(
                "SELECT pg_has_role(tableowner, 'USAGE') FROM pg_tables"
                " WHERE schemaname = current_schema() AND tablename = 'call'"
            )
        )
        if not own:
            raise ConfigurationError(
                "the tables are another role's: run this with the URL of their owner"
            )
        statements = [
            s for name, s in _statements(engine, role, changed, versions) if name in there
        ]
        for statement in statements:
            connection.execute(text(statement))
    return statements


def _statements(
    engine: Engine, role: str, changed: Sequence[Table], versions: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(table, statement) pairs. What a table was granted before is taken back first."""
    to = _quoted(engine, role)
    rights = dict.fromkeys(metadata.tables, _ADDED_TO)
    rights |= {table.name: _CHANGED for table in changed}
    rights |= dict.fromkeys(versions, "SELECT")
    for name, right in rights.items():
        table = _quoted(engine, name)
        yield name, f"REVOKE ALL ON {table} FROM {to}"
        yield name, f"GRANT {right} ON {table} TO {to}"


def _quoted(engine: Engine, name: str) -> str:
    return engine.dialect.identifier_preparer.quote_identifier(name)
