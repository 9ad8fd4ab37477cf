"""Used tokens of one instance, in an SQLite file of all its workers on its own disk.

It survives the end of the program. It may lose its last moments in a power failure, which the
shared database does not.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from service.auth.replay_detection import MOST_REPEATS, REPEATABLE_SECONDS, Use, hashed
from service.errors import Unavailable
from service.private_files import make_private_file

_LOCK_SECONDS = 2.0
_PRUNE_EVERY = 60.0
_TABLE = """
CREATE TABLE IF NOT EXISTS used_tokens (
    issuer VARCHAR(255) NOT NULL,
    jti_sha256 VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, jti_sha256)
)
"""
_REQUESTS = """
CREATE TABLE IF NOT EXISTS proxied_requests (
    issuer VARCHAR(255) NOT NULL,
    jti_sha256 VARCHAR(64) NOT NULL,
    request_sha256 VARCHAR(64) NOT NULL,
    repeatable_until BIGINT NOT NULL,
    repeats INTEGER NOT NULL,
    PRIMARY KEY (issuer, jti_sha256)
)
"""
"""Apart from the tokens, whose rows a former version writes without naming their columns."""
_REPEAT = """
UPDATE proxied_requests SET repeats = repeats + 1
WHERE issuer = ? AND jti_sha256 = ? AND request_sha256 = ? AND repeatable_until > ? AND repeats < ?
"""
_INDEX = "CREATE INDEX IF NOT EXISTS ix_used_tokens_expires_at ON used_tokens (expires_at)"


class InstanceTokens:
    """Used tokens until they expire: one row each, unique by primary key, in a file made on demand.

    `seconds` is the time in seconds since 1970.
    """

    def __init__(self, file: Path, seconds: Callable[[], float] = time.time) -> None:
        self._file = file
        self._seconds = seconds
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._prune_at = 0.0

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        """As UsedTokens; raises Unavailable if the file cannot be written."""
        token = (issuer, hashed(jti))
        # Rounded up: a row must not expire before its token.
        forget_after = int(expires.timestamp()) + 1
        with self._lock:
            try:
                connection = self._opened()
                if request is None:
                    use = _first(connection, token, forget_after) or Use.REPLAYED
                else:
                    use = self._use_of_request(connection, token, forget_after, request)
                self._prune(connection)
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise Unavailable("tokens cannot be checked for a second use now") from error
        return use

    def _use_of_request(
        self,
        connection: sqlite3.Connection,
        token: tuple[str, str],
        forget_after: int,
        request: str,
    ) -> Use:
        now = int(self._seconds())
        # Both rows or none, wherever the process is killed.
        connection.execute("BEGIN IMMEDIATE")
        use = _first(connection, token, forget_after)
        if use is not None:
            connection.execute(
                "INSERT OR REPLACE INTO proxied_requests VALUES (?, ?, ?, ?, 0)",
                (*token, request, now + REPEATABLE_SECONDS),
            )
        else:
            counted = connection.execute(_REPEAT, (*token, request, now, MOST_REPEATS))
            use = Use.REPEATED if counted.rowcount == 1 else Use.REPLAYED
        connection.execute("COMMIT")
        return use

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            make_private_file(self._file)
            self._connection = sqlite3.connect(
                self._file, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            for statement in (
                "PRAGMA journal_mode=WAL",
                "PRAGMA synchronous=NORMAL",
                _TABLE,
                _REQUESTS,
                _INDEX,
            ):
                self._connection.execute(statement)
        return self._connection

    def _prune(self, connection: sqlite3.Connection) -> None:
        now = self._seconds()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            connection.execute("DELETE FROM used_tokens WHERE expires_at < ?", (int(now),))
            connection.execute(
                "DELETE FROM proxied_requests WHERE repeatable_until < ?", (int(now),)
            )

    def _close(self) -> None:
        """Open the file anew the next time: it may have been replaced."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _first(connection: sqlite3.Connection, token: tuple[str, str], forget_after: int) -> Use | None:
    """Use.FIRST if the token is recorded now, None if it was before."""
    inserted = connection.execute(
        "INSERT OR IGNORE INTO used_tokens VALUES (?, ?, ?)", (*token, forget_after)
    )
    return Use.FIRST if inserted.rowcount == 1 else None
