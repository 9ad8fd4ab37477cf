"""Alembic runs this for each command; the connection is handed in by `service.records.schema`."""

from __future__ import annotations

from alembic import context

from service.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
