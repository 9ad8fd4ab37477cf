"""The shared database must not hold up a call: what it does not answer in time is done without it.

Counting goes on in each worker alone, for a limit is there to protect the service. Tokens are then
remembered by each instance for itself, in a file that its workers share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import structlog

from service.auth.auth_tables import open_engine
from service.auth.rate_limit import CallCounts, MemoryCallCounts
from service.auth.replay_detection import FirstUses, ReplayStore, SqlReplayStore
from service.auth.tokens import LEEWAY, LONGEST_LIFETIME
from service.deadline import run_with_deadline
from service.errors import ConfigurationError, Unavailable

_PATIENCE_SECONDS = 0.25
_REST_SECONDS = 2.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Common:
    """Asks the shared database; after trouble leaves it alone for a while, then asks once.

    `trouble` is what is logged as it is first missed. `monotonic` is a clock in seconds.
    """

    def __init__(self, trouble: str, monotonic: Callable[[], float]) -> None:
        self._trouble = trouble
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ask_again_at: float | None = None

    def ask(self, work: Callable[[], T], seconds: float) -> T | None:
        """What `work` returns; None while the database is away, slow or left alone."""
        if not self._may_ask():
            return None
        try:
            answer = run_with_deadline(work, seconds)
        except (Unavailable, TimeoutError):
            self._rest()
            return None
        self._ask_again_at = None
        return answer

    def _may_ask(self) -> bool:
        with self._lock:
            if self._ask_again_at is None:
                return True
            now = self._monotonic()
            if now < self._ask_again_at:
                return False
            self._ask_again_at = now + _REST_SECONDS
            return True

    def _rest(self) -> None:
        with self._lock:
            if self._ask_again_at is None:
                log.warning(self._trouble)
            self._ask_again_at = self._monotonic() + _REST_SECONDS


class FallbackCallCounts:
    """The common counts while they answer in time, this worker's own while they do not."""

    def __init__(self, common: CallCounts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._common = common
        self._own = MemoryCallCounts()
        self._asking = _Common("calls are counted by each worker for itself", monotonic)

    def add(self, issuer: str, minute: int) -> int:
        own = self._own.add(issuer, minute)
        common = self._asking.ask(lambda: self._common.add(issuer, minute), _PATIENCE_SECONDS)
        return own if common is None else common


class InstanceReplayStore:
    """What one instance remembers while the shared database is away: a file, for all its workers.

    The file is made when it is first needed. `seconds` is the time in seconds since 1970.
    """

    def __init__(self, file: Path, seconds: Callable[[], float] = time.time) -> None:
        self._file = file
        self._seconds = seconds
        self._store: SqlReplayStore | None = None

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        if self._store is None:
            try:
                engine = open_engine(f"sqlite:///{self._file}", 1)
            except ConfigurationError as error:
                raise Unavailable("tokens cannot be checked for a second use now") from error
            self._store = SqlReplayStore(engine, self._seconds)
        return self._store.first_use(issuer, jti, expires)

    def may_know(self) -> bool:
        """Whether a token that it remembers may still be valid."""
        for file in (self._file, self._file.with_name(f"{self._file.name}-wal")):
            try:
                written = file.stat().st_mtime
            except OSError:
                continue
            if self._seconds() - written < LONGEST_LIFETIME + 3 * LEEWAY:
                return True
        return False


class FallbackReplayStore:
    """The common record of used tokens while it answers in time, else this instance's own.

    So a call is answered, and its token counts once, also while the shared database is away; only
    another instance would then not know of it. When the database is back, what was remembered
    meanwhile still counts. Unavailable only where the instance cannot remember either.
    """

    def __init__(
        self,
        common: FirstUses,
        own: InstanceReplayStore,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._common = common
        self._own = own
        self._asking = _Common("used tokens are remembered by this instance alone", monotonic)

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        first = self._asking.ask(
            lambda: self._common.first_use(issuer, jti, expires), _PATIENCE_SECONDS * 4
        )
        if first is None or (first and self._own.may_know()):
            return self._own.first_use(issuer, jti, expires)
        return first


class DeadlineReplayStore:
    """A ReplayStore that says in time that it cannot say."""

    def __init__(self, store: ReplayStore) -> None:
        self._store = store

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        return self._told(lambda: self._store.first_use(issuer, jti, expires))

    def used(self, issuer: str, jti: str) -> bool:
        return self._told(lambda: self._store.used(issuer, jti))

    def _told(self, look: Callable[[], bool]) -> bool:
        try:
            return run_with_deadline(look, _PATIENCE_SECONDS * 4)
        except TimeoutError:
            raise Unavailable("tokens cannot be checked for a second use now") from None
