"""Alembic's migrations of the decision log, run by `service.decision_log.schema`."""
