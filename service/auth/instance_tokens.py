"""Used tokens of one instance, in an SQLite file of all its workers on its own disk.

It survives the end of the program. It may lose its last moments in a power failure, which the
shared database does not. SQLite appends what it writes to a log, and moves it into the file from
time to time (a checkpoint), which waits for the disk: a thread does that beside the calls.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import structlog

from service.auth.replay_detection import MOST_REPEATS, REPEATABLE_SECONDS, Use, hashed
from service.errors import Unavailable
from service.private_files import make_private_file
from service.spare_threads import SpareThreads

log = structlog.get_logger(__name__)

_LOCK_SECONDS = 2.0
_PRUNE_EVERY = 60.0
_PRUNED_AT_ONCE = 100
"""Rows: no call waits for the removal of a minute's tokens."""
_CHECKPOINT_EVERY = 250
"""Uses, of one worker."""
_LARGE_LOG = 4_000
"""Pages of 4 KB: a log that always grows is begun anew only while its uses wait."""
_LARGEST_LOG = 16_000
"""Pages at which a call moves the log, where no thread has done it."""
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
_PRUNE = (
    """
    DELETE FROM used_tokens WHERE rowid IN
    (SELECT rowid FROM used_tokens WHERE expires_at < ? LIMIT ?)
    """,
    """
    DELETE FROM proxied_requests WHERE rowid IN
    (SELECT rowid FROM proxied_requests WHERE repeatable_until < ? LIMIT ?)
    """,
)
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
        self._opened_as: _Identity | None = None
        self._prune_at = 0.0
        self._uses = 0
        self._threads = SpareThreads("used tokens")

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
            self._uses += 1
            if self._uses % _CHECKPOINT_EVERY == 0:
                self._begin_checkpoint()
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
                f"PRAGMA wal_autocheckpoint={_LARGEST_LOG}",
                _TABLE,
                _REQUESTS,
                _INDEX,
            ):
                self._connection.execute(statement)
            self._opened_as = _identity(self._file)
        return self._connection

    def _prune(self, connection: sqlite3.Connection) -> None:
        now = self._seconds()
        if now >= self._prune_at:
            removed = [
                connection.execute(statement, (int(now), _PRUNED_AT_ONCE)).rowcount
                for statement in _PRUNE
            ]
            # The next use goes on where there may be more.
            if max(removed) < _PRUNED_AT_ONCE:
                self._prune_at = now + _PRUNE_EVERY

    def _begin_checkpoint(self) -> None:
        try:
            self._threads.begin(self._checkpoint)
        except RuntimeError:
            log.warning("used tokens' log not moved", kind="no more threads")

    def _checkpoint(self) -> None:
        # By a connection of its own: that of the calls has a lock. Never of another file that has
        # got the name: the log is not that one's, and SQLite would remove it or move it there.
        try:
            if _identity(self._file) != self._opened_as:
                log.warning("used tokens' log not moved", kind="another file, or none")
                return
            # One that is removed at this moment is not made anew, where others may read it.
            existing = f"{self._file.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(existing, timeout=_LOCK_SECONDS, uri=True)) as connection:
                moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if moved[1] > _LARGE_LOG:
                    # Nearly all of it is moved: what is left takes one wait for the disk.
                    connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except (sqlite3.Error, OSError) as error:
            # No call depends on it; the next one moves these pages too.
            log.warning("used tokens' log not moved", kind=type(error).__name__)

    def _close(self) -> None:
        """Open the file anew the next time: it may have been replaced."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_Identity = tuple[int, int]


def _identity(file: Path) -> _Identity | None:
    """The device and number of a file; None where there is none of this name."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _first(connection: sqlite3.Connection, token: tuple[str, str], forget_after: int) -> Use | None:
    """Use.FIRST if the token is recorded now, None if it was before."""
    inserted = connection.execute(
        "INSERT OR IGNORE INTO used_tokens VALUES (?, ?, ?)", (*token, forget_after)
    )
    return Use.FIRST if inserted.rowcount == 1 else None
