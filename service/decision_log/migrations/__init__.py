"""Alembic's migrations of the decision log, run by `service.database.table_revisions`."""
