"""Fallbacks for a slow or unavailable database.

Rate limits per instance: each instance counts calls alone, which still protects the service. Replay
detection per instance: each instance has a record of its own (service.auth.instance_tokens).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import structlog

from service.auth.rate_limit import CallCounts
from service.auth.replay_detection import ReplayStore, Use, UsedTokens
from service.auth.tokens import DEFAULT_LIFETIME, LEEWAY
from service.circuit_breaker import CircuitBreaker
from service.deadline import run_with_deadline
from service.errors import Unavailable

_PATIENCE_SECONDS = 0.25
_REST_SECONDS = 2.0

T = TypeVar("T")
InTime = Callable[[Callable[[], Use], float], Use]
"""A way to do work within so many seconds: its result; raises TimeoutError."""

log = structlog.get_logger(__name__)


def without_deadline(work: Callable[[], T], _seconds: float) -> T:
    """The result of work that ends its own waits, such as for the lock of a file of this machine.

    It starts no thread.
    """
    return work()


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

    def ask(
        self,
        work: Callable[[], T],
        seconds: float,
        in_time: Callable[[Callable[[], T], float], T] = run_with_deadline,
    ) -> T | None:
        """The result of `work`; None while the database is unavailable, slow or bypassed."""
        try:
            return self._circuit.call(lambda: in_time(work, seconds))
        except (Unavailable, TimeoutError):
            return None


class FallbackCallCounts:
    """Call counts of all instances, with this instance's `own` as fallback."""

    def __init__(
        self,
        common: CallCounts,
        own: CallCounts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._common = common
        self._own = own
        self._asking = _Common("calls are counted by each instance for itself", monotonic)

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

    What the proxy repeats must be a repetition, or new, for each of the two: so the database counts
    those of all instances, and the instance goes on by its own count while that is unavailable.

    `lifetime` is the longest of a token, in seconds. `in_time` holds the database to its time.
    """

    def __init__(
        self,
        own: UsedTokens,
        common: UsedTokens,
        lifetime: int = DEFAULT_LIFETIME,
        monotonic: Callable[[], float] = time.monotonic,
        in_time: InTime = run_with_deadline,
    ) -> None:
        self._own = own
        self._common = common
        self._in_time = in_time
        self._unsure_seconds = lifetime + 3 * LEEWAY
        self._unsure_until = 0.0
        self._clock = monotonic
        self._asking = _Common("used tokens are known to this instance alone", monotonic)

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        """As UsedTokens; raises Unavailable only where neither record can tell."""
        own = Use.FIRST
        try:
            own = self._own.use(issuer, jti, expires, request)
            if own is Use.REPLAYED:
                return own
        except Unavailable:
            if self._clock() >= self._unsure_until:
                log.error("used tokens cannot be recorded at this instance")
            self._unsure_until = self._clock() + self._unsure_seconds
        common = self._asking.ask(
            lambda: self._common.use(issuer, jti, expires, request),
            _PATIENCE_SECONDS * 4,
            self._in_time,
        )
        if common is None:
            if self._clock() < self._unsure_until:
                raise Unavailable("tokens cannot be checked for a second use now")
            return own
        # New to the database, which was away at the first use.
        return own if common is Use.FIRST else common


class DeadlineReplayStore:
    """A ReplayStore that raises Unavailable at its deadline."""

    def __init__(self, store: ReplayStore) -> None:
        self._store = store

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        return self._told(lambda: self._store.use(issuer, jti, expires, request))

    def used(self, issuer: str, jti: str) -> bool:
        return self._told(lambda: self._store.used(issuer, jti))

    def _told(self, look: Callable[[], T]) -> T:
        try:
            return run_with_deadline(look, _PATIENCE_SECONDS * 4)
        except TimeoutError:
            raise Unavailable("tokens cannot be checked for a second use now") from None
