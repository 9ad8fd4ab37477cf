"""Database of the log: SQLAlchemy engines for COVERCARD_DATABASE_URL.

The hot path (`sqlite_store`, `postgres_store`) takes single connections; readers use the engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.pool import NullPool

from service.decision_log.log_store import is_sqlite

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

CONNECT_SECONDS = 2
_READ_LOCK_SECONDS = 10


def database_file(url: str) -> Path:
    """The file of an SQLite URL."""
    return Path(make_url(url).database or "")


def open_engine(url: str) -> Engine:
    """An engine for the log, without a connection pool."""
    parsed: URL = make_url(url)
    arguments: dict[str, Any] = {}
    if is_sqlite(url):
        arguments = {"timeout": _READ_LOCK_SECONDS, "check_same_thread": False}
    else:
        # A vanished server is detected in seconds; TCP's defaults take hours.
        arguments = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
    engine = create_engine(parsed, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    if is_sqlite(url):
        make_private_file(database_file(url))
        event.listen(engine, "connect", _durable)
    return engine


def make_private_file(path: Path) -> None:
    """Create a file readable by its owner only, with its folder: it will contain patient data."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=True)


def _durable(connection: DBAPIConnection, _record: object) -> None:
    """Durable commits: on disk on return, safe from a power failure (WAL, FULL)."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
