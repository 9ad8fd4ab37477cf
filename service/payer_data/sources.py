"""Construction of the payer data source from settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from service.database.urls import is_sqlite
from service.payer_data.port import PayerData

if TYPE_CHECKING:
    from service.decision.programs import ProgramTable
    from service.settings import Settings


def is_embedded(url: str) -> bool:
    """Whether a source's URL names a database; otherwise a FHIR server, or nothing."""
    return is_sqlite(url) or url.startswith("postgresql")


def open_source(
    settings: Settings,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    programs: ProgramTable | None = None,
) -> PayerData | None:
    """The configured source, None where there is none; nothing is opened before it is asked.

    `programs` are those of the snapshot; a FHIR server's members are read by them.
    Raises ConfigurationError if a setting or a file of it is wrong.
    """
    if not settings.payer_data:
        return None
    if is_embedded(settings.payer_data):
        from service.payer_data.embedded import open_embedded

        return open_embedded(settings.payer_data)
    from service.payer_data.payer_fhir import open_payer_fhir

    return open_payer_fhir(settings, clock, programs)


def prepare_source(url: str) -> None:
    """Create an SQLite file's tables, or check PostgreSQL's.

    Raises ConfigurationError if an operator must act first, StoreUnavailable if the database is
    unreachable.
    """
    if is_embedded(url):
        from service.database.table_revisions import prepare
        from service.payer_data.payer_tables import MIGRATIONS

        prepare(url, MIGRATIONS)


def upgrade_source(url: str) -> str | None:
    """Bring a database's tables to this version: "now at 0001", None if there is no database.

    Raises as `database.table_revisions.upgrade`.
    """
    if not is_embedded(url):
        return None
    from service.database.table_revisions import revision, upgrade
    from service.payer_data.payer_tables import MIGRATIONS

    return f"{'now' if upgrade(url, MIGRATIONS) else 'already'} at {revision(url, MIGRATIONS)}"
