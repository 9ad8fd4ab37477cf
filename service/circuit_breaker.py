"""Circuit breaker: a dependency that fails is left alone for a while, then tried once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class CircuitBreaker:
    """Opens after `failures` in a row, for `seconds`. Safe for several threads.

    While it is open nothing is called. Then one call is let through: its success closes the
    circuit, its failure keeps it open for as long again. `counted` are the errors that are failures
    of the dependency; `refusal` makes the one that is raised while the circuit is open; `on_open`
    is told when it opens; `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        counted: tuple[type[Exception], ...],
        refusal: Callable[[], Exception],
        *,
        failures: int,
        seconds: float,
        on_open: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counted = counted
        self._refusal = refusal
        self._failures = failures
        self._seconds = seconds
        self._on_open = on_open
        self._clock = monotonic
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._open_until: float | None = None
        self.called = 0
        self.failed = 0
        self.refused = 0

    @property
    def closed(self) -> bool:
        return self._open_until is None

    def call(self, work: Callable[[], T]) -> T:
        """The result of `work`, or its exception; the refusal without a call, while open."""
        self._admit()
        try:
            answer = work()
        except self._counted:
            self._failure()
            raise
        self._success()
        return answer

    def _admit(self) -> None:
        with self._lock:
            if self._open_until is not None:
                now = self._clock()
                if now < self._open_until:
                    self.refused += 1
                    raise self._refusal()
                # This call tries; those that come meanwhile are still refused.
                self._open_until = now + self._seconds
            self.called += 1

    def _success(self) -> None:
        if self._in_a_row:
            with self._lock:
                self._in_a_row, self._open_until = 0, None

    def _failure(self) -> None:
        with self._lock:
            self.failed += 1
            self._in_a_row += 1
            if self._in_a_row >= self._failures:
                if self._open_until is None:
                    self._on_open()
                self._open_until = self._clock() + self._seconds
