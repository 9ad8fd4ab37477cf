"""Alembic environment: `service.database.table_revisions` hands in the connection."""

from __future__ import annotations

from alembic import context

from service.database.table_revisions import tell_whom_they_serve
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # Several groups of tables are in one database, each at a revision of its own.
    version_table=DECISION_LOG.version_table,
    on_version_apply=tell_whom_they_serve,
)
with context.begin_transaction():
    context.run_migrations()
