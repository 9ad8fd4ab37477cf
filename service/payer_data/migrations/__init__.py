"""Alembic migrations of the payer's records, run by `service.database.table_revisions`."""
