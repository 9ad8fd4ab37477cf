"""Alembic migrations of authentication's tables, run by `service.database.table_revisions`."""
