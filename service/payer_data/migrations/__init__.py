"""Alembic migrations of the payer's records, run by `service.decision_log.schema`."""
