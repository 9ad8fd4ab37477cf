"""The shared database must not hold up a call: what it does not answer in time is done without it.

Counting goes on in this worker alone, for a limit is there to protect the service. Whether a token
was used before cannot be told alone: then nobody is let in, but nobody waits for long either.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from service.errors import Unavailable
from service.in_time import in_time
from service.trust.calls import CallCounts, MemoryCallCounts
from service.trust.replay import ReplayStore

_PATIENCE_SECONDS = 0.25
_REST_SECONDS = 2.0

log = structlog.get_logger(__name__)


class SteadyCallCounts:
    """The common counts while they answer in time, this worker's own while they do not.

    After trouble the common ones are left alone for a while, and then asked by one call only.
    `monotonic` is a clock in seconds.
    """

    def __init__(self, common: CallCounts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._common = common
        self._own = MemoryCallCounts()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ask_again_at: float | None = None

    def add(self, issuer: str, minute: int) -> int:
        own = self._own.add(issuer, minute)
        if not self._may_ask():
            return own
        try:
            common = in_time(lambda: self._common.add(issuer, minute), _PATIENCE_SECONDS)
        except (Unavailable, TimeoutError):
            self._rest()
            return own
        self._ask_again_at = None
        return common

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
                log.warning("calls are counted by each worker for itself")
            self._ask_again_at = self._monotonic() + _REST_SECONDS


class TimelyReplayStore:
    """A ReplayStore that says in time that it cannot say."""

    def __init__(self, store: ReplayStore) -> None:
        self._store = store

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        return self._told(lambda: self._store.first_use(issuer, jti, expires))

    def used(self, issuer: str, jti: str) -> bool:
        return self._told(lambda: self._store.used(issuer, jti))

    def _told(self, look: Callable[[], bool]) -> bool:
        try:
            return in_time(look, _PATIENCE_SECONDS * 4)
        except TimeoutError:
            raise Unavailable("tokens cannot be checked for a second use now") from None
