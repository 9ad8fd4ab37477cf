"""Alembic environment: `service.database.table_revisions` hands in the connection."""

from __future__ import annotations

from alembic import context

from service.auth.auth_tables import AUTH, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # The decision log is in the same database, at a revision of its own.
    version_table=AUTH.version_table,
)
with context.begin_transaction():
    context.run_migrations()
