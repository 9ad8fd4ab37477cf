"""Construction of the recorder from settings."""

from __future__ import annotations

from pathlib import Path

from service.database.urls import is_sqlite
from service.decision_log.log_store import LogStore
from service.decision_log.recorder import Recorder


def open_recorder(database_url: str, spool_dir: Path, patience: float) -> Recorder:
    """A recorder for the log at `database_url`, opened on its first use.

    `patience` is the longest wait for the database in seconds. SQLAlchemy and the driver are
    imported by the first record, or by `Recorder.start`.
    """

    def new_store() -> LogStore:
        if is_sqlite(database_url):
            from service.decision_log.sqlite_store import SqliteStore

            return SqliteStore(database_url)
        from service.decision_log.postgres_store import PostgresStore

        return PostgresStore(database_url)

    def prepare() -> None:
        # An operator migrates PostgreSQL; `covercard serve` has checked the revision.
        if is_sqlite(database_url):
            from service.database.table_revisions import upgrade
            from service.decision_log.log_revision import DECISION_LOG

            upgrade(database_url, DECISION_LOG)

    return Recorder(new_store, prepare, spool_dir, patience)
