"""Alembic's migrations of the decision log, run by `service.records.schema`."""
