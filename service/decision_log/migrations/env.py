"""Alembic environment: `service.database.table_revisions` hands in the connection."""

from __future__ import annotations

from alembic import context

from service.decision_log.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
