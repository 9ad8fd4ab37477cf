"""The interpreter's lock between a worker's threads: how long one may compute while others wait.

Python has one interval for the whole process, five milliseconds. A usual call ends before, and a
shorter interval would only have calls take the lock from one another. Beside a costly one a quick
call waits for it at each of its steps: as long as a costly call computes the interval is shorter,
which costs the costly one something. And it gives way: between two of its steps it lets the quick
calls of the process end, so that they have the interpreter to themselves, also where they come back
from a disk or a database.

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Protocol, TypeVar

T = TypeVar("T")

BESIDE_COSTLY_SECONDS = 0.0001
_LONGEST_AT_ONCE = 0.05
"""Seconds for which a costly call gives way: a quick one that takes longer waits for something."""
_LONGEST_IN_ALL = 0.25
"""The same of one large call altogether: where quick ones never end, it computes beside them."""
A_MOMENT = 0.05
"""The same of a small call that may be costly, and of all answers of an EHR to one call, which are
read within its time for fetching.
"""

_LONGEST_WITHOUT_COLLECTION = 2.0
"""Seconds: where one costly call follows another without a pause."""


class Collector(Protocol):
    """The collector of garbage: the module gc."""

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def collect(self) -> int: ...


class TimeToGive:
    """The seconds that a costly call, or a part of it in other threads, may still give way."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class CostlyCalls:
    """The costly calls that compute in this process now, and the number of quick ones.

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
        self._quick = 0
        self._quick_ended = threading.Condition(self._lock)
        self._before = 0.0
        self._collected = 0.0

    @contextmanager
    def computing(self, to_give: TimeToGive | None = None) -> Iterator[None]:
        """A block in which one computes. What a refused one has read is gone at its end."""
        _thread.to_give = to_give or TimeToGive(_LONGEST_IN_ALL)
        self.begin()
        try:
            yield
        except BaseException as error:
            _forget(error)
            raise
        finally:
            self.end()

    def reading_answers(self) -> Callable[[], AbstractContextManager[None]]:
        """Blocks in which one call's large answers are read, in any threads: each call makes one.

        All together give way for a moment only: an answer that is read too late counts as none.
        """
        return partial(self.computing, TimeToGive(A_MOMENT))

    def begin(self) -> None:
        """One more computes, in this thread."""
        _thread.costly = self
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
        """The one of this thread has ended, or waits."""
        _thread.costly = None
        with self._lock:
            self._computing -= 1
            if not self._computing:
                self._garbage.enable()
                self._change(self._before)

    def begin_quick(self) -> None:
        """One more call computes that is not costly, as far as is known."""
        with self._lock:
            self._quick += 1

    def end_quick(self) -> None:
        """One of them has ended, waits, or is costly after all."""
        with self._lock:
            self._quick -= 1
            if not self._quick and self._computing:
                self._quick_ended.notify_all()

    @contextmanager
    def not_quick(self) -> Iterator[None]:
        """A block in which a quick call is none: it waits, or is costly."""
        self.end_quick()
        try:
            yield
        finally:
            self.begin_quick()

    def give_way(self) -> None:
        """Wait until no quick call computes, as long as this thread's call has time to give."""
        to_give = _thread.to_give
        if not self._quick or to_give.seconds <= 0:
            return
        began = self._monotonic()
        with self._quick_ended:
            most = min(_LONGEST_AT_ONCE, to_give.seconds)
            self._quick_ended.wait_for(lambda: not self._quick, most)
        to_give.seconds -= self._monotonic() - began


class _Thread(threading.local):
    """The costly calls that one of this thread belongs to, and its time to give way."""

    costly: CostlyCalls | None = None
    to_give = TimeToGive(0)


_thread = _Thread()


def computes_at_length() -> bool:
    """Whether this thread computes a costly call."""
    return _thread.costly is not None


def giving_way(items: Iterable[T]) -> Iterable[T]:
    """The items; of a costly call each after giving way."""
    costly = _thread.costly
    return items if costly is None else _giving_way(items, costly)


def _giving_way(items: Iterable[T], costly: CostlyCalls) -> Iterator[T]:
    for item in items:
        costly.give_way()
        yield item


def _forget(error: BaseException) -> None:
    """Let go of what the functions held that an error has ended: it goes with them.

    An error keeps them until it is answered, and a collection would look at each value of the call.
    """
    told: BaseException | None = error
    while told is not None:
        traceback.clear_frames(told.__traceback__)
        told = told.__context__
