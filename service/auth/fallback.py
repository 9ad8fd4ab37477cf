"""Fallbacks for a slow or unavailable database.

Rate limits per worker: each worker counts calls alone, which still protects the service. Replay
detection per instance: each instance has a record of its own (service.auth.instance_tokens).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import structlog

from service.auth.rate_limit import CallCounts, MemoryCallCounts
from service.auth.replay_detection import FirstUses, ReplayStore
from service.auth.tokens import DEFAULT_LIFETIME, LEEWAY
from service.circuit_breaker import CircuitBreaker
from service.deadline import run_with_deadline
from service.errors import Unavailable

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


class InstanceFirstReplayStore:
    """Replay detection that never depends on the shared database: this instance's record first.

    A token is recorded at this instance, for all its workers, and then in the shared database, for
    the others. So no token is accepted twice at an instance, whatever the database does: hang,
    refuse, go away and come back, or return from a backup. Where the instance's record fails, the
    database alone decides, and must answer as long as a token of that time is valid.

    `lifetime` is the longest of a token, in seconds.
    """

    def __init__(
        self,
        own: FirstUses,
        common: FirstUses,
        lifetime: int = DEFAULT_LIFETIME,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._common = common
        self._unsure_seconds = lifetime + 3 * LEEWAY
        self._unsure_until = 0.0
        self._clock = monotonic
        self._asking = _Common("used tokens are known to this instance alone", monotonic)

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        """As FirstUses; raises Unavailable only where neither record can tell."""
        try:
            if not self._own.first_use(issuer, jti, expires):
                return False
        except Unavailable:
            if self._clock() >= self._unsure_until:
                log.error("used tokens cannot be recorded at this instance")
            self._unsure_until = self._clock() + self._unsure_seconds
        first = self._asking.ask(
            lambda: self._common.first_use(issuer, jti, expires), _PATIENCE_SECONDS * 4
        )
        if first is None and self._clock() < self._unsure_until:
            raise Unavailable("tokens cannot be checked for a second use now")
        return first is not False


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
