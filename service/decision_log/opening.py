"""Construction of the recorder from settings."""

from __future__ import annotations

from service.database.urls import is_sqlite
from service.decision_log.log_store import LogStore
from service.decision_log.recorder import Recorder, RecordsPlace


def open_recorder(database_url: str, place: RecordsPlace, *, drains: bool = True) -> Recorder:
    """A recorder with its segments at `place`, for the log at `database_url`.

    `drains`: it moves the segments to the rows; otherwise another process of the folder does.

    SQLAlchemy and the driver are imported by the thread that drains.
    """

    def new_store() -> LogStore:
        if is_sqlite(database_url):
            from service.decision_log.sqlite_store import SqliteStore

            return SqliteStore(database_url)
        from service.decision_log.postgres_store import PostgresStore

        return PostgresStore(database_url)

    def prepare() -> None:
        # An operator migrates PostgreSQL: there, ConfigurationError names the command.
        from service.database.table_revisions import prepare
        from service.decision_log.log_revision import DECISION_LOG

        prepare(database_url, DECISION_LOG)

    return Recorder(new_store, prepare, place, drains=drains)
