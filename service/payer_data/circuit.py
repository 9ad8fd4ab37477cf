"""Circuit breaker before a source: repeated failures open it for a while.

While it is open, look-ups fail at once. Then one look-up is tried: success closes the circuit,
failure opens it for as long again.
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
        """The result of `work`; PayerDataUnavailable from it, or for an open circuit."""
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
                # This call tries; calls in the meantime are still refused.
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
