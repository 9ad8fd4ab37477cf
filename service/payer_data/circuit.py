"""A circuit breaker: a source that fails again and again is left alone for a while.

While the circuit is open a question costs nothing. Then one question is let through: if it is
answered the circuit closes, if not it stays open for as long again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from service.errors import PayerDataUnavailable

T = TypeVar("T")

CIRCUIT_OPEN = "circuit open"


class Circuit:
    """Opens after `failures` in a row, for `seconds`. Called from several threads."""

    def __init__(
        self,
        failures: int = 3,
        seconds: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = failures
        self._seconds = seconds
        self._clock = monotonic
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._open_until: float | None = None
        self.asked = 0
        self.failed = 0
        self.refused = 0

    @property
    def closed(self) -> bool:
        return self._open_until is None

    def call(self, work: Callable[[], T]) -> T:
        """What `work` returns; PayerDataUnavailable as it raises it, or as the circuit is open."""
        self._admit()
        try:
            answer = work()
        except PayerDataUnavailable:
            self._note(well=False)
            raise
        self._note(well=True)
        return answer

    def _admit(self) -> None:
        with self._lock:
            now = self._clock()
            if self._open_until is not None and now < self._open_until:
                self.refused += 1
                raise PayerDataUnavailable(CIRCUIT_OPEN)
            if self._open_until is not None:
                # This one tries; those that come meanwhile are still turned away.
                self._open_until = now + self._seconds
            self.asked += 1

    def _note(self, *, well: bool) -> None:
        with self._lock:
            if well:
                self._in_a_row, self._open_until = 0, None
                return
            self.failed += 1
            self._in_a_row += 1
            if self._in_a_row >= self._most:
                self._open_until = self._clock() + self._seconds
