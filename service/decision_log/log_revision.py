"""Table revision of the decision log."""

from __future__ import annotations

from pathlib import Path

from service.database.table_revisions import Migrations

DECISION_LOG = Migrations(Path(__file__).parent / "migrations", "alembic_version", "0009")
"""With the newest revision in `migrations/versions`, as a test verifies."""
