"""Pace of one client's calls in a worker: what it takes beyond its average, others get first.

A client may have all its calls and bytes of a minute. In which part of the minute is its own matter
as long as it is alone. Beside others, what it calls for faster than at so many times its average is
slowed, and so are costly calls in a row: their order and their answers stay the same, and none is
refused for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

TIMES_THE_AVERAGE = 2
FREE_SECONDS = 1.0
"""Time that a client may owe before it rests: what comes in bursts is not slowed."""
LONGEST_REST = 2.0
COSTLY_SECONDS = 0.02
"""Processor time of a costly call."""
REST_OF_COSTLY = 12
"""Such a call owes so many times what it has computed, a cheaper one as many times less as it is
cheaper: a usual one, of a millisecond or two, about what it took. With a threshold alone a client
could compute all the time by calls just below it.
"""


LARGE_CALL = 65_536
SECONDS_OF_A_LARGE_BYTE = 0.25e-6
"""What a large call owes by the byte, whatever the limits are: four megabytes a second are what a
disk takes beside others' records.
"""


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Calls and bytes a minute of one client; 0 is no limit, and no pace."""

    calls: int = 0
    bytes: int = 0


NO_PACE = PaceLimits()


class Pace:
    """The time that a client owes: each call adds to it, and time that passes pays it off.

    `monotonic` is a clock in seconds.
    """

    def __init__(self, limits: PaceLimits, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._a_call = _seconds_of_one(limits.calls)
        self._a_byte = _seconds_of_one(limits.bytes)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._owed = 0.0
        self._at = monotonic()

    def called(self, size: int) -> None:
        """A call has ended; `size` is the number of its bytes and of its answer's."""
        a_byte = max(self._a_byte, SECONDS_OF_A_LARGE_BYTE if size > LARGE_CALL else 0.0)
        self._owe(max(self._a_call, size * a_byte))

    def computed(self, seconds: float) -> None:
        """A call has computed so many seconds of processor time."""
        self._owe(min(1.0, seconds / COSTLY_SECONDS) * REST_OF_COSTLY * seconds)

    def rest(self) -> float:
        """Seconds to rest now, so that no more is owed than is free."""
        with self._lock:
            return max(0.0, self._pay() - FREE_SECONDS)

    def _owe(self, seconds: float) -> None:
        with self._lock:
            self._owed = min(self._pay() + seconds, FREE_SECONDS + LONGEST_REST)

    def _pay(self) -> float:
        now = self._monotonic()
        self._owed = max(0.0, self._owed - (now - self._at))
        self._at = now
        return self._owed


def _seconds_of_one(a_minute: int) -> float:
    return 60 / (TIMES_THE_AVERAGE * a_minute) if a_minute else 0.0
