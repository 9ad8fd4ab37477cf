"""Fallbacks for a slow or unavailable database.

Rate limits per worker: each worker counts calls alone, which still protects the service. Replay
detection per instance: each instance records tokens in a file of all its workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import structlog

from service.auth.rate_limit import CallCounts, MemoryCallCounts
from service.auth.replay_detection import FirstUses, ReplayStore, SqlReplayStore
from service.auth.tokens import DEFAULT_LIFETIME, LEEWAY
from service.circuit_breaker import CircuitBreaker
from service.database.engines import open_pool
from service.deadline import run_with_deadline
from service.errors import ConfigurationError, Unavailable

_PATIENCE_SECONDS = 0.25
_REST_SECONDS = 2.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Common:
    """The shared database, behind a circuit breaker that opens after one failure.

    `trouble` is the log message of an opening. `monotonic` is a clock in seconds.
    """

    def __init__(self, trouble: str, monotonic: Callable[[], float]) -> None:
        self._circuit = CircuitBreaker(
            (Unavailable, TimeoutError),
            lambda: Unavailable("the shared database is left alone for a while"),
            failures=1,
            seconds=_REST_SECONDS,
            on_open=lambda: log.warning(trouble),
            monotonic=monotonic,
        )

    def ask(self, work: Callable[[], T], seconds: float) -> T | None:
        """The result of `work`; None while the database is unavailable, slow or bypassed."""
        try:
            return self._circuit.call(lambda: run_with_deadline(work, seconds))
        except (Unavailable, TimeoutError):
            return None


class FallbackCallCounts:
    """Shared call counts, with this worker's own as fallback."""

    def __init__(self, common: CallCounts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._common = common
        self._own = MemoryCallCounts()
        self._asking = _Common("calls are counted by each worker for itself", monotonic)

    def add(self, issuer: str, minute: int) -> int:
        own = self._own.add(issuer, minute)
        common = self._asking.ask(lambda: self._common.add(issuer, minute), _PATIENCE_SECONDS)
        return own if common is None else common


class InstanceReplayStore:
    """Replay detection of one instance, in a file of all its workers, created on demand.

    `seconds` is the time in seconds since 1970, `lifetime` the longest of a token, in seconds.
    """

    def __init__(
        self,
        file: Path,
        seconds: Callable[[], float] = time.time,
        lifetime: int = DEFAULT_LIFETIME,
    ) -> None:
        self._lifetime = lifetime
        self._file = file
        self._seconds = seconds
        self._store: SqlReplayStore | None = None

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        if self._store is None:
            try:
                engine = open_pool(f"sqlite:///{self._file}", 1)
            except ConfigurationError as error:
                raise Unavailable("tokens cannot be checked for a second use now") from error
            self._store = SqlReplayStore(engine, self._seconds)
        return self._store.first_use(issuer, jti, expires)

    def may_know(self) -> bool:
        """Whether a recorded token may still be valid."""
        for file in (self._file, self._file.with_name(f"{self._file.name}-wal")):
            try:
                written = file.stat().st_mtime
            except OSError:
                continue
            if self._seconds() - written < self._lifetime + 3 * LEEWAY:
                return True
        return False


class FallbackReplayStore:
    """Shared replay detection, with this instance's own as fallback.

    Calls are answered, and tokens accepted once, while the shared database is unavailable; other
    instances do not see those tokens. They stay recorded when the database returns. Raises
    Unavailable only if the instance's own file fails too.
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
    """A ReplayStore that raises Unavailable at its deadline."""

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
