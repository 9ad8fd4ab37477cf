"""The interpreter's lock between a worker's threads: how long one may compute while others wait.

Python has one interval for the whole process, five milliseconds. A usual call ends before, and a
shorter interval would only have calls take the lock from one another. Beside a costly one a quick
call waits for it at each of its steps: as long as a costly call computes the interval is shorter,
which costs the costly one something.

Meanwhile no garbage is collected either: a collection looks at each value of the costly call, again
and again while it makes more of them, for tens of milliseconds in which no call computes. They are
no garbage, and go with the call.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

BESIDE_COSTLY_SECONDS = 0.0001

_LONGEST_WITHOUT_COLLECTION = 2.0
"""Seconds: where one costly call follows another without a pause."""


class Collector(Protocol):
    """The collector of garbage: the module gc."""

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def collect(self) -> int: ...


class CostlyCalls:
    """The costly calls that compute in this process now.

    `get` tells the switch interval in seconds, `change` sets it; `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        get: Callable[[], float] = sys.getswitchinterval,
        change: Callable[[float], None] = sys.setswitchinterval,
        garbage: Collector = gc,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._get = get
        self._change = change
        self._garbage = garbage
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._computing = 0
        self._before = 0.0
        self._collected = 0.0

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A block in which one computes. What a refused one has read is gone at its end."""
        self.begin()
        try:
            yield
        except BaseException as error:
            _forget(error)
            raise
        finally:
            self.end()

    def begin(self) -> None:
        """One more computes."""
        with self._lock:
            self._computing += 1
            now = self._monotonic()
            if self._computing == 1:
                self._before = self._get()
                self._change(BESIDE_COSTLY_SECONDS)
                self._garbage.disable()
                self._collected = now
            elif now - self._collected > _LONGEST_WITHOUT_COLLECTION:
                self._garbage.collect()
                self._collected = now

    def end(self) -> None:
        """One has ended, or waits."""
        with self._lock:
            self._computing -= 1
            if not self._computing:
                self._garbage.enable()
                self._change(self._before)


def _forget(error: BaseException) -> None:
    """Let go of what the functions held that an error has ended: it goes with them.

    An error keeps them until it is answered, and a collection would look at each value of the call.
    """
    told: BaseException | None = error
    while told is not None:
        traceback.clear_frames(told.__traceback__)
        told = told.__context__
