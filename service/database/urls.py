"""Database URLs, told apart without SQLAlchemy."""

from __future__ import annotations


def is_sqlite(url: str) -> bool:
    """Whether a database URL is of SQLite; else it is of PostgreSQL."""
    return url.startswith("sqlite:")
