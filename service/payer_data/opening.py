"""From the settings to a source of the payer's records."""

from __future__ import annotations

from service.decision_log.log_store import is_sqlite
from service.payer_data.port import PayerData


def open_source(url: str) -> PayerData | None:
    """The source at a URL; None for an empty one. Nothing is opened before the first question."""
    if not url:
        return None
    from service.payer_data.embedded import open_embedded

    return open_embedded(url)


def prepare_source(url: str) -> None:
    """Make an SQLite file's tables, or look whether PostgreSQL's are there.

    Raises ConfigurationError if an operator must act first, StoreUnavailable if the database cannot
    be reached.
    """
    if is_sqlite(url) or url.startswith("postgresql"):
        from service.decision_log.schema import prepare
        from service.payer_data.tables import MIGRATIONS

        prepare(url, MIGRATIONS)
