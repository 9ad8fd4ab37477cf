"""A log in a file of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log.call_record import CallRecord
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.rows import FeedbackRow, LogEntry, entry_of, together
from service.decision_log.sqlite_store import SqliteStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of an SQLite log with its tables."""
    url = f"sqlite:///{tmp_path}/log.sqlite3"
    table_revisions.upgrade(url, DECISION_LOG)
    return url


@pytest.fixture
def engine(url: str) -> Engine:
    return open_engine(url)


@pytest.fixture
def store(url: str) -> Iterator[SqliteStore]:
    """An open store."""
    store = SqliteStore(url)
    store.ping(time.monotonic() + 60)
    yield store
    store.close()


@pytest.fixture
def log(store: SqliteStore) -> Callable[..., None]:
    """Writes calls and feedback to the log."""

    def write(*items: CallRecord | FeedbackRow) -> None:
        entries = [
            LogEntry(feedback=[i]) if isinstance(i, FeedbackRow) else entry_of(i) for i in items
        ]
        store.write(together(entries), time.monotonic() + 60)

    return write
