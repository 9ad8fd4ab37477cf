"""Alembic environment: `service.database.table_revisions` hands in the connection."""

from __future__ import annotations

from alembic import context

from service.payer_data.payer_tables import MIGRATIONS, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # The decision log may be in the same database, at a revision of its own.
    version_table=MIGRATIONS.version_table,
)
with context.begin_transaction():
    context.run_migrations()
